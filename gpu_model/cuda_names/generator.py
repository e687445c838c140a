"""`torch.Generator(device="cuda")`."""

from typing import Any

import torch

from gpu_model.cuda_names.devices import CUDA_0, named_device

_HostGenerator = torch._C.Generator


class _AnyGenerator(type(_HostGenerator)):
    """Generators made before the names were active are generators too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _HostGenerator)


class Generator(_HostGenerator, metaclass=_AnyGenerator):
    """A generator that may be of cuda:0; its numbers are the CPU generator's.

    Raises:
        torch.AcceleratorError: a CUDA device other than cuda:0.
    """

    _on_cuda: bool

    def __new__(cls, device: Any = "cpu") -> "Generator":
        """Make a generator."""
        where = named_device(device)
        make: Any = _HostGenerator.__new__
        made = make(cls, "cpu" if where == CUDA_0 else where)
        made._on_cuda = where == CUDA_0
        return made

    @property
    def device(self) -> torch.device:
        """The device it was made for."""
        return CUDA_0 if self._on_cuda else super().device
