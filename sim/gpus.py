"""What a virtual GPU is made of: every field by the name that `--set` takes, and what dependences cost in area."""

from collections.abc import Iterator, Sequence
from typing import Any

from hw.dependence_area import dependence_areas
from hw.gpu_settings import flatten, parse_settings, setting_text
from hw.gpu_spec import GPU_DIRECTORY, gpu_names, load_gpu
from sim.errors import SimError


def describe(name: str | None, settings: Sequence[str]) -> Iterator[str]:
    """Lines about one GPU with its settings, or the list of all.

    Raises:
        GpuSpecError: an unknown GPU or field, or an impossible value.
        SimError: settings without a GPU.
    """
    if name is None:
        if settings:
            raise SimError("--set changes one GPU: name it, as in `warptree gpus rtx_a6000 --set core.rf.read_ports=2`")
        for known in gpu_names():
            gpu = load_gpu(known)
            yield f"{known:<16} {gpu.product}, sm_{gpu.arch}, {gpu.sm_count} SMs, {gpu.core_clock_mhz} MHz"
        return
    overrides = parse_settings(settings)
    own, gpu = dict(flatten(load_gpu(name).model_dump())), load_gpu(name, overrides)
    for field, value in flatten(gpu.model_dump()):
        changed = f"  (was {own[field]})" if own[field] != value else ""
        yield f"{setting_text(field, value)}{changed}"
    if name in gpu_names():
        yield ""
        yield f"Where each value is from: {GPU_DIRECTORY / f'{name}.toml'}"
    yield ""
    yield "Storage to know which registers are ready, of one SM (Huerta et al., MICRO 2025)"
    for area in dependence_areas(gpu):
        yield f"  {area.mechanism:<24} {area.bits:>9,} bit  {area.percent:5.2f} % of the register file"


def options_of(settings: Sequence[str]) -> list[str]:
    """The command-line options that make these settings."""
    return [part for setting in settings for part in ("--set", setting)]


def as_dict(name: str, settings: Sequence[str]) -> dict[str, Any]:
    """The same of one GPU, for JSON."""
    gpu = load_gpu(name, parse_settings(settings))
    areas = [{"mechanism": a.mechanism, "bits": a.bits, "percent": a.percent} for a in dependence_areas(gpu)]
    return {"gpu": gpu.model_dump(mode="json"), "dependence_areas": areas}
