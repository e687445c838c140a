"""The precision-scalable hybrid MX MAC, one block a file.

    word a, word b -> operands -> quadrant (x 4) -> align_add -> accumulate -> normalise -> accumulator
                                                         scales enter here

`design` says what to generate, `step` connects the blocks. The rule they obey is in `hw.mac`; the structure is KU
Leuven's hybrid reduction tree, arXiv 2511.06313.
"""

from rtl.mac.design import MacDesign
from rtl.mac.step import Mac, MacStep

__all__ = ["Mac", "MacDesign", "MacStep"]
