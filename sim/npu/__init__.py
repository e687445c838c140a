"""Networks on the NPU: their matrix products layer by layer, and what they take."""
