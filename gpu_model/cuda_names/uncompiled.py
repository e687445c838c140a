"""`torch.compile` while CUDA's names are active: functions run as written, because there is no CUDA to compile for."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from gpu_model.cuda_names.replace import replaced


def _as_written(model: Callable | None = None, **_: Any) -> Any:
    """What `torch.compile` returns where compilation is disabled: the function itself, or a decorator that does."""
    return (lambda function: function) if model is None else model


@contextmanager
def uncompiled() -> Iterator[None]:
    """Make `torch.compile` a formality; what was compiled before runs as written too.

    A function that is given to `torch.compile` in here stays as written afterwards.
    """
    with replaced([(torch, "compile", _as_written)]):
        # Seconds to import, and nothing to hold back where no function was compiled yet.
        if "torch._dynamo" in sys.modules:
            with torch.compiler.set_stance("force_eager"):
                yield
        else:
            yield
