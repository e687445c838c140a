"""The functional SASS machine: lower a Program to micro-ops, run them 32 lanes at a time."""

import mx_formats.kernel_cache  # noqa: F401 - before any kernel is compiled
