"""Checks that otherwise need a GPU and compute-sanitizer: uninitialised reads, shared-memory races, convergence.

The machine stays as it is. With checks on, the steps of the memory, copy, matrix and exchange families are
replaced by ones that call the original and then look at what it touched (`steps`), a few waits and fences
that change no value become watched micro-ops (`watch`), and barriers tell the clocks who met (`clocks`).

A race is two accesses to a byte of shared memory, at least one a write and not both atomic, that no barrier
orders. Order between warps is kept with vector clocks: an entry for each warp and for each asynchronous agent,
whose accesses are ordered only once somebody waited for them (a warp's LDGSTS groups, its matrix products'
reads, its bulk stores' reads, and each phase of an mbarrier). Order between the lanes of one warp comes from
convergence that the code asks for (BSYNC, WARPSYNC, BAR), not from lanes that happen to meet.

Arrivals at and waits for an mbarrier order whole warps, not lanes. Of the lanes of a warp that read a byte,
the last one is remembered for a later write by the same warp. Atomics order nothing but themselves.
"""
