"""Tensors that a kernel reaches through addresses: given as integers, or stored in other tensors.

A launch may touch its arguments' memory only, so these have to be found: an address in the memory of a living tensor,
be it an argument (`x.data_ptr()`) or an element of a 64-bit integer tensor (grouped matrix products), makes that memory
reachable, and what addresses in there point to as well.
"""

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from gpu_model.launch import Segment

Named = tuple[str, torch.Tensor]


def may_be_address(value: Any) -> Any:
    """Whether a user process may have this address on x86-64: of an integer, or of each in an array."""
    return (value >= 1 << 16) & (value < 1 << 47)


def _addresses(tensor: torch.Tensor, known: list[Segment]) -> tuple[np.ndarray, np.ndarray]:
    """Elements that may be addresses outside known memory, each once, and the index of its first occurrence."""
    if tensor.dtype not in (torch.int64, torch.uint64) or tensor.layout is not torch.strided or not tensor.numel():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    values, first = np.unique(tensor.detach().reshape(-1).cpu().numpy().view(np.int64), return_index=True)
    wanted = may_be_address(values)
    for segment in known if wanted.any() else ():
        wanted &= (values < segment.address) | (values >= segment.address + segment.size)
    return values[wanted], first[wanted]


def _living() -> Iterator[torch.Tensor]:
    for thing in gc.get_objects():
        if (
            issubclass(type(thing), torch.Tensor)
            and type(thing).__torch_dispatch__ is torch._C._disabled_torch_dispatch_impl
            and thing.layout is torch.strided
            and thing.device.type in ("cpu", "cuda")
        ):
            yield thing


def _owners() -> tuple[np.ndarray, np.ndarray, list[torch.Tensor]]:
    """First byte, end and a tensor of every living storage, by address."""
    found = {}
    for tensor in _living():
        storage = tensor.untyped_storage()
        if storage.nbytes():
            found.setdefault(storage.data_ptr(), (storage.data_ptr() + storage.nbytes(), tensor))
    starts = sorted(found)
    ends, tensors = [found[start][0] for start in starts], [found[start][1] for start in starts]
    return np.array(starts, np.int64), np.array(ends, np.int64), tensors


def pointed_to(arguments: list[Named], addresses: list[tuple[str, int]], known: list[Segment]) -> list[Named]:
    """Living tensors that addresses among a launch's arguments, or elements of its tensors, point into.

    Args:
        arguments: the launch's tensors by argument name.
        addresses: its pointers that were given as integers.
        known: memory that is reachable already.
    """
    found: list[Named] = []
    with torch._C.DisableTorchFunction():
        given = [(name, torch.tensor(value, dtype=torch.int64, device="cpu")) for name, value in addresses]
        waiting, owners = [*given, *arguments], None
        seen: set[int] = set()
        while waiting:
            name, tensor = waiting.pop(0)
            values, indices = _addresses(tensor, known)
            if not len(values):
                continue
            if owners is None:
                owners = _owners()
            starts, ends, tensors = owners
            places = np.searchsorted(starts, values, side="right") - 1
            for value, index, place in zip(values.tolist(), indices.tolist(), places.tolist(), strict=True):
                if place >= 0 and value < ends[place] and place not in seen:
                    seen.add(place)
                    source = f"{name}[{index}]" if tensor.dim() else name
                    found.append((f"what {source} points to", tensors[place]))
                    waiting.append(found[-1])
    return found
