"""Streams and devices that a script may choose, of which there is one each: work is done when its call returns."""

from typing import Any

from gpu_model.cuda_names.devices import CUDA_0, device_index


class Stream:
    """A stream; all share the one order in which the script makes its calls.

    Raises:
        torch.AcceleratorError: a device other than cuda:0.
    """

    cuda_stream = 0
    stream_id = 0
    device_index = 0
    device_type = 1
    device = CUDA_0

    def __init__(self, device: Any = None, priority: int = 0, **_: Any):
        device_index(device)
        self.priority = priority

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        """Work is done when its call returns."""

    def query(self) -> bool:
        """Always done."""
        return True

    def is_capturing(self) -> bool:
        """CUDA graphs are not modelled."""
        return False

    def wait_event(self, event: Any) -> None:
        """What was recorded is done."""

    def wait_stream(self, stream: Any) -> None:
        """The other stream's work is done."""

    def record_event(self, event: Any = None) -> Any:
        """Record an event, a new one unless given."""
        import torch

        event = torch.cuda.Event() if event is None else event
        event.record(self)
        return event


DEFAULT_STREAM = Stream()


class ChosenDevice:
    """`torch.cuda.device(...)`: a context in which cuda:0 is current, as it is outside.

    Raises:
        torch.AcceleratorError: a device other than cuda:0.
    """

    def __init__(self, device: Any):
        self.idx, self.prev_idx = device_index(device), 0

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class DeviceOf(ChosenDevice):
    """`torch.cuda.device_of(tensor)`."""

    def __init__(self, obj: Any):
        super().__init__(obj.device if obj.is_cuda else None)
