"""The cycle-level core: lower a program to numbers, replay its trace on an SM, one issue at a time.

Reading order: `stalls` (why a warp waits), `opcodes` and `lower` (program to numeric table), `coalesce`
(trace to transactions), `state` (all state, as arrays), then one file per pipeline part: `events`,
`frontend`, `registers`, `memory_unit`, `issue`, joined by `sm`; `chip` adds L2, DRAM and the block scheduler.
"""

import mx_formats.kernel_cache  # noqa: F401 - before any kernel is compiled
