"""Energy from toggles: the mapped netlist runs a kernel's operands and every net that changes is charged.

mapped      a component mapped to simple gates, as arrays
toggles     64 samples at once through the gates, glitches included, changes of every net counted
activity    what an output-stationary array of MACs switches: gates, registers, broadcast wires
array       what a technology charges for that
system      the array with scratchpad, streams and requantiser
cells       the same MAC in the cells of a Liberty file, charged cell by cell
"""
