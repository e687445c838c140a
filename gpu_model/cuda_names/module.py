"""What `torch.cuda` answers for the virtual GPU; numbers come from its `GpuSpec`."""

import contextlib
import functools
from dataclasses import dataclass
from typing import Any

import torch
import torch.backends.cuda
import torch.cuda.nvtx
import torch.version

from gpu_model.cuda_names.devices import device_index
from gpu_model.cuda_names.generator import Generator
from gpu_model.cuda_names.memory import MemoryMeter
from gpu_model.cuda_names.replace import Replacement
from gpu_model.cuda_names.streams import DEFAULT_STREAM, ChosenDevice, DeviceOf, Stream
from gpu_model.triton_backend.utilities import Event
from hw.gpu_spec import GpuSpec

_L2_LINE_BYTES = 128
_STATIC_SHARED_BYTES = 48 * 1024  # a block's shared memory unless a kernel opts in; CUDA programming guide


@dataclass(frozen=True)
class DeviceProperties:
    """The fields of torch's CUDA device properties that a `GpuSpec` knows; bytes and kHz."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    regs_per_multiprocessor: int
    max_threads_per_block: int
    max_threads_per_multi_processor: int
    shared_memory_per_block: int
    shared_memory_per_block_optin: int
    shared_memory_per_multiprocessor: int
    L2_cache_size: int
    clock_rate: int
    warp_size: int = 32
    is_integrated: int = 0
    is_multi_gpu_board: int = 0


def device_properties(spec: GpuSpec) -> DeviceProperties:
    """A GPU's properties in torch's words."""
    limits, l2 = spec.limits, spec.memory.l2
    major, minor = divmod(spec.arch, 10)
    return DeviceProperties(
        name=spec.product,
        major=major,
        minor=minor,
        total_memory=spec.memory.dram_bytes,
        multi_processor_count=spec.sm_count,
        regs_per_multiprocessor=limits.registers,
        max_threads_per_block=limits.threads_per_block,
        max_threads_per_multi_processor=32 * limits.warps,
        shared_memory_per_block=_STATIC_SHARED_BYTES,
        shared_memory_per_block_optin=limits.shared_bytes_per_block,
        shared_memory_per_multiprocessor=limits.shared_bytes,
        L2_cache_size=spec.memory.l2_slices * l2.sets * l2.ways * _L2_LINE_BYTES,
        clock_rate=spec.core_clock_mhz * 1000,
    )


@functools.cache
def _cuda_version() -> str:
    """Version of the CUDA toolkit that Triton's `ptxas` belongs to."""
    from triton import knobs

    return knobs.nvidia.ptxas.version


def answers(gpu: Any, meter: MemoryMeter) -> list[Replacement]:
    """Replacements that make `torch.cuda`, and torch's names for "the accelerator", speak of a virtual GPU."""
    properties = device_properties(gpu.spec)
    capability = properties.major, properties.minor
    functions = _devices(properties, capability) | _memory(properties, meter) | _order(gpu) | _random()
    places = [
        (torch.version, "cuda", _cuda_version()),
        (torch, "Generator", Generator),
        (torch.backends.cuda, "is_built", lambda: True),
        (torch.cuda.nvtx, "range_push", lambda message: 0),
        (torch.cuda.nvtx, "range_pop", lambda: 0),
        (torch.cuda.nvtx, "mark", lambda message: None),
        (torch.accelerator, "is_available", lambda: True),
        (torch.accelerator, "device_count", lambda: 1),
        (torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cuda")),
        (torch.accelerator, "current_device_index", lambda: 0),
        (torch.accelerator, "current_stream", functions["current_stream"]),
        (torch.accelerator, "synchronize", functions["synchronize"]),
    ]
    return [(torch.cuda, name, value) for name, value in functions.items()] + places


def _devices(properties: DeviceProperties, capability: tuple[int, int]) -> dict[str, Any]:
    def get_device_properties(device: Any = None) -> DeviceProperties:
        device_index(device)
        return properties

    def get_device_capability(device: Any = None) -> tuple[int, int]:
        device_index(device)
        return capability

    def get_device_name(device: Any = None) -> str:
        device_index(device)
        return properties.name

    def set_device(device: Any) -> None:
        device_index(device)

    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "init": lambda: None,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": set_device,
        "device": ChosenDevice,
        "device_of": DeviceOf,
        "get_device_name": get_device_name,
        "get_device_capability": get_device_capability,
        "get_device_properties": get_device_properties,
        "get_arch_list": lambda: [f"sm_{capability[0]}{capability[1]}"],
    }


def _memory(properties: DeviceProperties, meter: MemoryMeter) -> dict[str, Any]:
    def held(device: Any = None) -> int:
        device_index(device)
        return meter.held

    def most(device: Any = None) -> int:
        device_index(device)
        return meter.most

    def mem_get_info(device: Any = None) -> tuple[int, int]:
        device_index(device)
        return properties.total_memory - meter.held, properties.total_memory

    def reset(device: Any = None) -> None:
        device_index(device)
        meter.reset_most()

    return {
        "memory_allocated": held,
        "memory_reserved": held,
        "max_memory_allocated": most,
        "max_memory_reserved": most,
        "reset_peak_memory_stats": reset,
        "reset_max_memory_allocated": reset,
        "mem_get_info": mem_get_info,
        "empty_cache": lambda: None,
        "ipc_collect": lambda: None,
    }


def _order(gpu: Any) -> dict[str, Any]:
    def synchronize(device: Any = None) -> None:
        device_index(device)

    def current_stream(device: Any = None) -> Stream:
        device_index(device)
        return DEFAULT_STREAM

    def event(enable_timing: bool = False, blocking: bool = False, interprocess: bool = False,
              external: bool = False) -> Event:  # fmt: skip
        return Event(gpu)

    return {
        "synchronize": synchronize,
        "current_stream": current_stream,
        "default_stream": current_stream,
        "is_current_stream_capturing": lambda: False,
        "set_stream": lambda stream: None,
        "stream": lambda stream: contextlib.nullcontext() if stream is None else stream,
        "Stream": Stream,
        "Event": event,
    }


def _random() -> dict[str, Any]:
    generator = torch.default_generator

    def get_rng_state(device: Any = "cuda") -> torch.Tensor:
        device_index(device)
        return generator.get_state()

    def set_rng_state(state: torch.Tensor, device: Any = "cuda") -> None:
        device_index(device)
        generator.set_state(state)

    return {
        "manual_seed": lambda seed: generator.manual_seed(int(seed)) and None,
        "manual_seed_all": lambda seed: generator.manual_seed(int(seed)) and None,
        "seed": lambda: generator.seed() and None,
        "seed_all": lambda: generator.seed() and None,
        "initial_seed": generator.initial_seed,
        "get_rng_state": get_rng_state,
        "get_rng_state_all": lambda: [generator.get_state()],
        "set_rng_state": set_rng_state,
        "set_rng_state_all": lambda states: generator.set_state(states[0]) and None,
        "default_generators": (generator,),
    }
