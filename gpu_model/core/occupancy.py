"""How many blocks an SM holds, and which resource says so (CUDA C++ programming guide)."""

from dataclasses import dataclass

from gpu_model.errors import LaunchError
from hw.gpu_spec import GpuSpec

_LANES = 32


@dataclass(frozen=True)
class Occupancy:
    """Blocks and warps that fit on an SM.

    Attributes:
        blocks: blocks per SM.
        warps: warps per SM.
        limited_by: "warps", "blocks", "registers" or "shared memory".
    """

    blocks: int
    warps: int
    limited_by: str


def occupancy(spec: GpuSpec, *, block_threads: int, registers: int, shared_bytes: int) -> Occupancy:
    """Blocks of a launch that one SM holds at a time.

    Args:
        spec: the GPU.
        block_threads: threads of a block.
        registers: registers a thread uses.
        shared_bytes: shared memory a block uses, static and dynamic, bytes.

    Raises:
        LaunchError: a block that no SM can hold, naming the resource, what is asked and what there is.
    """
    limits = spec.limits
    warps = -(-block_threads // _LANES)
    asked = {
        "threads per block": (block_threads, limits.threads_per_block),
        "registers per thread": (registers, 255),
        "bytes of shared memory per block": (shared_bytes, limits.shared_bytes_per_block),
    }
    for what, (value, limit) in asked.items():
        if value > limit:
            raise LaunchError(f"the launch asks for {value} {what}, {spec.name} has {limit}; use a smaller block")
    per_warp = _round_up(max(registers, 1) * _LANES, limits.register_granularity)
    shared = max(1, _round_up(shared_bytes + limits.shared_reserved_bytes, limits.shared_granularity))
    room = {
        "warps": limits.warps // warps,
        "registers": limits.registers // (per_warp * warps),
        "shared memory": limits.shared_bytes // shared,
        "blocks": limits.blocks,
    }
    limited_by = min(room, key=lambda name: room[name])
    if room[limited_by] == 0:
        raise LaunchError(
            f"no SM of {spec.name} holds one block: {block_threads} threads of {registers} registers with "
            f"{shared_bytes} bytes of shared memory; the limit is {limited_by}"
        )
    return Occupancy(room[limited_by], room[limited_by] * warps, limited_by)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
