"""CUDA's names for the virtual GPU, so that code written for a CUDA device runs unmodified.

While `CudaNames` is active, `torch.device("cuda")` is the virtual GPU: tensors made there lie in host memory, say that
they are on `cuda:0`, and are copied by `.cpu()` and `.cuda()` as on a GPU; `torch.cuda` answers from the `GpuSpec`.
"""

import functools
import threading
from contextlib import ExitStack
from typing import Any

import torch
import torch.autograd

from gpu_model.cuda_names.autocast import follow_cuda_autocast
from gpu_model.cuda_names.memory import MemoryMeter
from gpu_model.cuda_names.module import answers
from gpu_model.cuda_names.replace import Replacement, replaced
from gpu_model.cuda_names.tensors import CudaTensors
from gpu_model.cuda_names.uncompiled import uncompiled

__all__ = ("CudaNames",)


class CudaNames:
    """Makes torch's CUDA names mean one virtual GPU; a context, whose end restores everything.

    Random numbers "on cuda" come from torch's CPU generator: reproducible from a seed, but not a GPU's numbers.
    A name of `torch.cuda` that is not modelled keeps torch's own error.

    Args:
        gpu: the `gpu_model.device.VirtualGPU`.
    """

    def __init__(self, gpu: Any):
        self._gpu, self._meter, self._open = gpu, MemoryMeter(), ExitStack()

    def __enter__(self) -> "CudaNames":
        """Install the names."""
        with ExitStack() as stack:
            stack.enter_context(replaced(answers(self._gpu, self._meter)))
            stack.enter_context(replaced(follow_cuda_autocast()))
            stack.enter_context(replaced(self._everywhere()))
            stack.enter_context(uncompiled())
            stack.enter_context(CudaTensors(self._meter))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the names."""
        self._open.close()

    def _everywhere(self) -> list[Replacement]:
        """Reach code that torch calls with no function mode active: backward passes, and new threads."""
        engine: Any = vars(torch.autograd)["_engine_run_backward"]
        start, meter = threading.Thread.start, self._meter

        @functools.wraps(engine)
        def run_backward(outputs: Any, *arguments: Any, **keywords: Any) -> Any:
            with CudaTensors.during_backward(meter, outputs) as tensors:
                return tensors.place_gradients(engine(outputs, *arguments, **keywords))

        @functools.wraps(start)
        def start_with_names(thread: threading.Thread) -> None:
            run = thread.run

            def run_with_names() -> None:
                with CudaTensors(meter):
                    run()

            thread.run = run_with_names  # type: ignore[method-assign]
            start(thread)

        return [
            (torch.autograd, "_engine_run_backward", run_backward),
            (threading.Thread, "start", start_with_names),
        ]
