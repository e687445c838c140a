"""Where a host tensor says it is: on the CPU, in pinned memory, or on the virtual CUDA device.

A place belongs to a storage, so that views, detached copies and tensors saved for a backward pass agree.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

import torch

from gpu_model.cuda_names.memory import Allocation, MemoryMeter

_functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue] - missing in torch's stubs

_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
_WITH_STORAGE = (torch.strided, torch.jagged, torch.sparse_coo, *_COMPRESSED)


class Place(Enum):
    """Where a tensor says it is."""

    CPU = "cpu"
    PINNED = "pinned"  # host memory that a GPU may read
    CUDA = "cuda"


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage:
    """The storage that carries a tensor's place: of a sparse tensor its values', inside `vmap` the whole batch's."""
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    if tensor.layout in _COMPRESSED:
        tensor = tensor.values()
    elif tensor.layout is torch.sparse_coo:
        tensor = tensor._values()
    return tensor.untyped_storage()


def place_of(tensor: torch.Tensor) -> Place | None:
    """The place of a host tensor, None if it was never given one.

    Call it where no function mode is active.
    """
    return getattr(_storage(tensor), "place", None)


def put(tensor: torch.Tensor, place: Place, meter: MemoryMeter) -> None:
    """Give a tensor's storage its place, which it keeps; a storage that has one is left alone."""
    storage: Any = _storage(tensor)
    if not hasattr(storage, "place"):
        storage.place = place
        if place is Place.CUDA:
            storage.allocation = Allocation(meter, storage.nbytes())


def on_host(tensor: torch.Tensor) -> bool:
    """Whether a tensor has memory of this machine, so that it has a place."""
    return tensor.device.type == "cpu" and tensor.layout in _WITH_STORAGE


def tensors_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Tensors among arguments or results, inside lists, tuples and dictionaries too."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)
        elif isinstance(value, dict):
            yield from tensors_in(value.values())
