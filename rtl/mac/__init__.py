"""The precision-scalable hybrid MX MAC, one block a file.

    word a, word b -> operands -> quadrant (x 4) -> align_add -> accumulate -> normalise -> accumulator
                                                         scales enter here

`design` says what to generate, `step` connects the blocks, `pipelined` adds registers where `pipeline` says. In the
other trees `float_add` or `long_integer` takes the place of what follows `align_add` or `quadrant`. The rules are in
`hw.mac` and `hw.mx_macs`; the structure is KU Leuven's hybrid reduction tree, arXiv 2511.06313.
"""

from rtl.mac.design import MacDesign, Tree
from rtl.mac.pipeline import Cut, Pipeline, pipeline
from rtl.mac.pipelined import PipelinedMac
from rtl.mac.step import Mac, MacStep

__all__ = ["Cut", "Mac", "MacDesign", "MacStep", "Pipeline", "PipelinedMac", "Tree", "pipeline"]
