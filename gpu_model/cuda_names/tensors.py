"""The torch function mode that gives every storage a place, and shows it.

A result is where its `device=` argument says, else on cuda if an argument is; a storage that no torch function was
seen to make is the CPU's. In a backward pass, where torch makes gradients by itself, it is where the pass began.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils import _device

from gpu_model.cuda_names.devices import CUDA_0, named_device
from gpu_model.cuda_names.memory import MemoryMeter
from gpu_model.cuda_names.places import Place, on_host, place_of, put, tensors_in

_CONSTRUCTORS = _device._device_constructors()
_FROM_DATA = (torch.tensor, torch.as_tensor, torch.asarray)  # constructors that follow a tensor they are given
_SHARING = (torch.as_tensor, torch.asarray)  # these may view the memory of what they are given
_PARSE_TO = vars(vars(torch._C)["_nn"])["_parse_to"]
_REPR_TAIL = re.compile(r"((?:, (?:dtype|grad_fn|requires_grad|names)=[^\n]*)?\))\Z")

# Functions of two or more operands that a GPU refuses to run across devices.
_STRICT_NAMES = (
    "add", "sub", "mul", "div", "true_divide", "floor_divide", "remainder", "pow", "matmul", "mm", "bmm", "addmm",
    "baddbmm", "eq", "ne", "lt", "le", "gt", "ge", "where", "cat", "stack", "maximum", "minimum", "allclose", "isclose",
    "equal", "dot", "mv", "logical_and", "logical_or", "bitwise_and", "bitwise_or", "bitwise_xor", "lerp", "einsum",
)  # fmt: skip


def _strict_functions() -> set[Any]:
    forms = [
        form for name in _STRICT_NAMES for form in (name, f"{name}_", f"__{name}__", f"__i{name}__", f"__r{name}__")
    ]
    found = {getattr(owner, form, None) for form in forms for owner in (torch, torch.Tensor)} - {None}
    return found | {torch.nn.functional.linear}


_STRICT = _strict_functions()


class CudaTensors(TorchFunctionMode):
    """Runs torch functions on host memory, and keeps track of what is on cuda:0.

    A mode belongs to a thread; all share the device's meter.
    """

    def __init__(self, meter: MemoryMeter):
        super().__init__()
        self._meter, self._unknown = meter, Place.CPU

    @classmethod
    @contextmanager
    def during_backward(cls, meter: MemoryMeter, roots: Any) -> Iterator["CudaTensors"]:
        """The mode for a backward pass from `roots`, which torch starts with no mode active."""
        with torch._C.DisableTorchFunction():
            places = [place_of(root) for root in tensors_in([roots]) if on_host(root)]
        tensors = cls(meter)
        tensors._unknown = Place.CUDA if Place.CUDA in places else Place.CPU
        with tensors:
            yield tensors

    def place_gradients(self, gradients: Any) -> Any:
        """Give the results of a backward pass their places."""
        with torch._C.DisableTorchFunction():
            self._place_results(gradients, self._unknown)
        return gradients

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one torch function."""
        kwargs = kwargs or {}
        if func == _PARSE_TO:  # of `Module.to`: only parses
            return func(*_with_named_index(args), **kwargs)
        special = _SPECIAL.get(func)
        if special is not None and args and on_host(args[0]):
            return special(self, func, args, kwargs)
        if func in _CONSTRUCTORS or "device" in kwargs or "pin_memory" in kwargs:
            return self._create(func, args, kwargs)
        places = self._places(args, kwargs)
        if func in _STRICT:
            _require_one_device(args, kwargs)
        return self._place_results(func(*args, **kwargs), Place.CUDA if Place.CUDA in places else Place.CPU)

    def place(self, tensor: torch.Tensor) -> Place | None:
        """Place of a tensor, None if its memory is not the host's; a storage without one gets it now."""
        if not on_host(tensor):
            return None
        put(tensor, self._unknown, self._meter)
        return place_of(tensor)

    def shown_device(self, tensor: torch.Tensor) -> torch.device:
        """The device a tensor says it is on."""
        return CUDA_0 if self.place(tensor) is Place.CUDA else tensor.device

    def _places(self, args: Any, kwargs: Any) -> set[Place | None]:
        return {self.place(tensor) for tensor in tensors_in((args, kwargs))}

    def _place_results(self, results: Any, place: Place) -> Any:
        for tensor in tensors_in((results,)):
            if on_host(tensor):
                put(tensor, place, self._meter)
        return results

    def _create(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """A function that may say where its result lies."""
        constructs, source = func in _CONSTRUCTORS, args[0] if args else None
        device = named_device(kwargs.get("device"))
        if device is None and constructs:
            device = named_device(_device.CURRENT_DEVICE)
            if func in _FROM_DATA and isinstance(source, torch.Tensor):
                device = self.shown_device(source)
        elif device is None and Place.CUDA in self._places(args, kwargs):
            device = CUDA_0
        if device is not None and device.type not in ("cpu", "cuda"):
            return func(*args, **kwargs)
        place = Place.CUDA if device == CUDA_0 else Place.PINNED if kwargs.get("pin_memory") else Place.CPU
        if not constructs or func in _FROM_DATA:
            self._places(() if isinstance(source, (list, tuple)) and constructs else args, kwargs)
        kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
        if constructs or kwargs.get("device") is not None:
            kwargs["device"] = "cpu"
        return self._fresh(func(*args, **kwargs), place, shares=func in _SHARING)

    def _fresh(self, result: Any, place: Place, *, shares: bool) -> Any:
        """A result at a place; copied if its memory belongs to another one."""
        if not isinstance(result, torch.Tensor):
            return self._place_results(result, place)
        before = place_of(result)
        foreign = shares if before is None else before is not place
        if foreign and Place.CUDA in (before, place):
            result = result.clone()
        put(result, place, self._meter)
        return result

    def move(self, tensor: torch.Tensor, place: Place | None, *, dtype: Any = None, copy: bool = False,
             memory_format: Any = None) -> torch.Tensor:  # fmt: skip
        """The tensor at a place (None: where it is), cast; itself if nothing changes, else a copy."""
        here = self.place(tensor)
        there = here if place is None or (place is Place.CPU and here is Place.PINNED) else place
        options = {} if memory_format is None else {"memory_format": memory_format}
        moved = tensor.to(dtype=tensor.dtype if dtype is None else dtype, copy=copy or here is not there, **options)
        if there is not None:
            put(moved, there, self._meter)
        return moved


def _require_one_device(args: Any, kwargs: Any) -> None:
    """Refuse operands on both devices; a CPU tensor without dimensions is a scalar, which a GPU takes.

    Raises:
        RuntimeError: in torch's words.
    """
    tensors = [tensor for tensor in tensors_in((args, kwargs)) if on_host(tensor)]
    cuda = [place_of(tensor) is Place.CUDA for tensor in tensors]
    if any(cuda) and any(not on_cuda and tensor.dim() for tensor, on_cuda in zip(tensors, cuda, strict=True)):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
        )


def _destination(device: torch.device | None) -> Place | None:
    return None if device is None else Place.CUDA if device == CUDA_0 else Place.CPU


def _with_named_index(args: Any) -> list[Any]:
    """Arguments of a `to` whose first may be a bare device index, which a torch without CUDA cannot read."""
    first = args[0] if args else None
    is_index = isinstance(first, int) and not isinstance(first, bool)
    return [named_device(first), *args[1:]] if is_index else list(args)


def _to(mode: CudaTensors, func: Any, args: Any, kwargs: Any) -> torch.Tensor:
    tensor, rest = args[0], _with_named_index(args[1:])
    flags = [at for at, value in enumerate(rest) if isinstance(value, bool)]  # non_blocking, copy
    copy = rest.pop(flags[1]) if len(flags) > 1 else kwargs.get("copy", False)
    options = {name: value for name, value in kwargs.items() if name != "copy"}  # _parse_to knows none
    if isinstance(options.get("device"), int):
        options["device"] = named_device(options["device"])
    device, dtype, _, memory_format = _PARSE_TO(*rest, **options)
    other = next(tensors_in((*rest, options.get("other"))), None)
    device = named_device(device) if other is None else mode.shown_device(other)
    if device is not None and device.type not in ("cpu", "cuda"):
        return func(*args, **kwargs)
    return mode.move(tensor, _destination(device), dtype=dtype, copy=copy, memory_format=memory_format)


def _cuda(mode: CudaTensors, func: Any, args: Any, kwargs: Any) -> torch.Tensor:
    named_device(args[1] if len(args) > 1 else kwargs.get("device"))
    return mode.move(args[0], Place.CUDA, memory_format=kwargs.get("memory_format"))


def _cpu(mode: CudaTensors, func: Any, args: Any, kwargs: Any) -> torch.Tensor:
    return mode.move(args[0], Place.CPU, memory_format=kwargs.get("memory_format"))


def _type_as(mode: CudaTensors, func: Any, args: Any, kwargs: Any) -> torch.Tensor:
    other = args[1] if len(args) > 1 else kwargs["other"]
    return mode.move(args[0], _destination(mode.shown_device(other)), dtype=other.dtype)


def _type(mode: CudaTensors, func: Any, args: Any, kwargs: Any) -> Any:
    tensor, wanted = args[0], args[1] if len(args) > 1 else kwargs.get("dtype")
    on_cuda = mode.place(tensor) is Place.CUDA
    if wanted is None:
        name = func(tensor)
        return name.replace("torch.", "torch.cuda.", 1) if on_cuda else name
    if not isinstance(wanted, str):
        return mode.move(tensor, None, dtype=wanted)
    dtype = torch.empty(0).type(wanted.replace("torch.cuda.", "torch.", 1)).dtype
    return mode.move(tensor, Place.CUDA if wanted.startswith("torch.cuda.") else Place.CPU, dtype=dtype)


def _pin_memory(mode: CudaTensors, func: Any, args: Any, kwargs: Any) -> torch.Tensor:
    place = mode.place(args[0])
    if place is Place.CUDA:
        raise RuntimeError(f"cannot pin '{args[0].type()}' on cuda:0: only dense CPU tensors can be pinned")
    return args[0] if place is Place.PINNED else mode.move(args[0], Place.PINNED)


def _refuse_numpy(mode: CudaTensors, func: Any, args: Any, kwargs: Any) -> Any:
    if mode.place(args[0]) is Place.CUDA and not kwargs.get("force"):
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. "
            "Use Tensor.cpu() to copy the tensor to host memory first."
        )
    return func(*args, **kwargs)


def _grad(mode: CudaTensors, func: Any, args: Any, kwargs: Any) -> torch.Tensor | None:
    place = mode.place(args[0])
    return mode._place_results(func(*args, **kwargs), place or Place.CPU)


def _repr(mode: CudaTensors, func: Any, args: Any, kwargs: Any) -> str:
    text = func(*args, **kwargs)
    return _REPR_TAIL.sub(r", device='cuda:0'\1", text) if mode.place(args[0]) is Place.CUDA else text


def _record_stream(mode: CudaTensors, func: Any, args: Any, kwargs: Any) -> None:
    """Streams run in order; nothing to remember."""


Special = Callable[[CudaTensors, Any, Any, Any], Any]
_Tensor: Any = torch.Tensor
_SPECIAL: dict[Any, Special] = {
    _Tensor.device.__get__: lambda mode, func, args, kwargs: mode.shown_device(args[0]),
    _Tensor.is_cuda.__get__: lambda mode, func, args, kwargs: mode.place(args[0]) is Place.CUDA,
    _Tensor.is_cpu.__get__: lambda mode, func, args, kwargs: mode.place(args[0]) is not Place.CUDA,
    _Tensor.get_device: lambda mode, func, args, kwargs: 0 if mode.place(args[0]) is Place.CUDA else -1,
    _Tensor.is_pinned: lambda mode, func, args, kwargs: mode.place(args[0]) is Place.PINNED,
    _Tensor.grad.__get__: _grad,
    _Tensor.to: _to,
    _Tensor.cuda: _cuda,
    _Tensor.cpu: _cpu,
    _Tensor.type: _type,
    _Tensor.type_as: _type_as,
    _Tensor.pin_memory: _pin_memory,
    _Tensor.numpy: _refuse_numpy,
    _Tensor.__array__: _refuse_numpy,
    _Tensor.__repr__: _repr,
    _Tensor.record_stream: _record_stream,
}


def in_this_thread() -> bool:
    """Whether CUDA's names mean a virtual GPU in this thread."""
    return any(isinstance(mode, CudaTensors) for mode in _get_current_function_mode_stack())
