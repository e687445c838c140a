"""Design-space studies: one workload's dot products on many MX datapaths, beside the GPU's own cycles.

`experiment` is the file a user writes, `recording` runs its script once and keeps the operands, `evaluate` takes them
through a design, `store` keeps the rows, `search` says which designs come next, `sweep` drives all of it over local
processes or a cluster, `pareto`, `page` and `export` answer.
"""
