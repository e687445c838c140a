"""What a MAC must answer in a cycle, whichever way it sums: the value models of `hw.mac` and `hw.mx_macs`."""

import numpy as np

from hw import mac
from hw.evaluate import evaluate_steps
from mx_formats.scale import E8M0
from rtl.mac.design import MacDesign, Tree


def model_step(
    design: MacDesign, element: str, a: np.ndarray, b: np.ndarray, xa: np.ndarray, xb: np.ndarray, acc: np.ndarray
) -> np.ndarray:
    """The accumulators after one cycle; arguments and result as those of `rtl.simulate.rtl_mac_step`.

    Raises:
        ValueError: unknown element, or shapes that do not fit.
    """
    spec = design.spec(element)
    if design.tree is Tree.HYBRID:
        return mac.step(spec, a, b, xa, xb, acc)
    tree = design.reduction_tree(element)
    return evaluate_steps(tree, spec.element, a, spec.element, b, acc, xa[:, None], xb[:, None], E8M0)
