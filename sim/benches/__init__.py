"""One benchmark a module: `measure(budget_seconds)` yields its measurements."""
