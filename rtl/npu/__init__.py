"""The tile engine made whole: a banked scratchpad, streamers that walk over it, a DMA port and registers.

design      what to generate: engine, scratchpad, loops and queues; how many channels a stream has in each mode
ports       how streamers, DMA, crossbar and banks ask each other
scratchpad  banks behind a crossbar
crossbar    an arbiter for each bank, a way back for each reader
loops       addresses of nested loops
queue       a few words between memory and array
reader      a streamer towards the array
writer      the streamer of outputs
scales      a word of scales, held for as many steps as it serves
layout      packed words to operands, and outputs to packed words
registers   what the control core writes
system      all of it
parts       each of them for synthesis
product     a matrix product as steps, and where everything lies
image       operands and outputs as words
cosim       the whole in cocotb
"""

from rtl.npu.design import NpuDesign
from rtl.npu.system import Npu

__all__ = ["Npu", "NpuDesign"]
