"""The GPU: decode a cubin, execute its SASS, time it on a cycle-level core."""
