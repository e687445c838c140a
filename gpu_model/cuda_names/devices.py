"""Device names as scripts write them, checked against the one device there is."""

from typing import Any

import torch

CUDA_0 = torch.device("cuda", 0)


def device_index(device: Any) -> int:
    """Index of a CUDA device given as number, string, `torch.device` or None for the current one: always 0.

    Raises:
        ValueError: another kind of device.
        torch.AcceleratorError: an index other than 0, in the words CUDA has for it.
    """
    if isinstance(device, str):
        device = torch.device(device)
    if isinstance(device, torch.device):
        if device.type != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {device}")
        device = device.index
    if device not in (None, -1, 0):
        raise torch.AcceleratorError(f"CUDA error: invalid device ordinal {device}: the virtual GPU is cuda:0 alone")
    return 0


def named_device(device: Any) -> torch.device | None:
    """What a `device=` argument names: None if nothing, `cuda:0` for CUDA in any spelling, others as they are.

    Raises:
        torch.AcceleratorError: a CUDA index other than 0.
    """
    if device is None:
        return None
    if isinstance(device, int):
        device = torch.device("cuda", device)
    device = torch.device(device)
    if device.type == "cuda":
        device_index(device)
        return CUDA_0
    return device
