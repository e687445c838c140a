"""`torch.autocast("cuda")` on tensors that torch sees on the CPU.

A CUDA autocast region keeps its own state, so that `torch.is_autocast_enabled("cuda")` and `custom_fwd` answer as on a
GPU, and opens a CPU region of the same dtype inside it, which is what casts. Which operations cast is the CPU's list.
"""

import weakref
from typing import Any

from torch.amp.autocast_mode import autocast

from gpu_model.cuda_names.replace import Replacement


def follow_cuda_autocast() -> list[Replacement]:
    """Replacements for `torch.autocast`'s entry and exit."""
    enter, leave = autocast.__enter__, autocast.__exit__
    inner: weakref.WeakKeyDictionary[autocast, list[autocast]] = weakref.WeakKeyDictionary()

    def enter_both(region: autocast) -> Any:
        result = enter(region)
        if region.device == "cuda":
            same = autocast("cpu", dtype=region.fast_dtype, enabled=region._enabled)
            inner.setdefault(region, []).append(same)  # a region may be entered again, as a decorator is
            enter(same)
        return result

    def leave_both(region: autocast, *exception: Any) -> Any:
        if region.device == "cuda":
            leave(inner[region].pop(), *exception)
        return leave(region, *exception)

    return [(autocast, "__enter__", enter_both), (autocast, "__exit__", leave_both)]
