"""Specs of datapaths and machines, and their bit-exact value models."""

import mx_formats.kernel_cache  # noqa: F401 - before any kernel is compiled
