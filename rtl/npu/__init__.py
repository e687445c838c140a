"""The tile engine made whole: a banked scratchpad, streamers that walk over it, a DMA port and registers.

design      what to generate: engine, scratchpad, loops and queues; how many channels a stream has in each mode
scratchpad  banks and the crossbar in front of them
loops       addresses of nested loops
queue       a few words between memory and array
reader      a streamer towards the array
writer      the streamer of outputs
scales      a word of scales, held for as many steps as it serves
layout      packed words to operands, and outputs to packed words
registers   what the control core writes
system      all of it
"""

from rtl.npu.design import NpuDesign
from rtl.npu.system import Npu

__all__ = ["Npu", "NpuDesign"]
