"""Python processes that a program on the virtual GPU starts are on it too, as they would be on a real one.

A GPU belongs to the machine, so a program's children find it. Ours belongs to a process: while `inherited_by_children`
is open, the environment tells each Python child to make the same GPU when it imports torch. The way in is the module
that Python imports at its start, `sitecustomize`, found in this folder through `PYTHONPATH`; a child that never imports
torch pays nothing, and one started with `-I` or `-E` is left alone.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VARIABLE = "WARPTREE_CHILD_GPU"
_HERE = str(Path(__file__).resolve().parent)
_inherited: list[Any] = []


@contextmanager
def inherited_by_children(gpu: str, timing: bool = False) -> Iterator[None]:
    """Let Python processes started meanwhile find this GPU under CUDA's names.

    Args:
        gpu: name of a GPU, or a path of its TOML file.
        timing: whether launches take simulated time there.
    """
    told = json.dumps({"gpu": str(Path(gpu).resolve()) if Path(gpu).suffix == ".toml" else gpu, "timing": timing})
    search = os.pathsep.join(filter(None, [_HERE, os.environ.get("PYTHONPATH")]))
    before = {name: os.environ.get(name) for name in (VARIABLE, "PYTHONPATH")}
    os.environ |= {VARIABLE: told, "PYTHONPATH": search}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def inherit() -> None:
    """Put the parent's GPU to use in this process; does nothing if the parent had none.

    Raises:
        ValueError: the variable does not hold what `inherited_by_children` writes.
        GpuSpecError: the GPU's file is gone or wrong.
    """
    told = os.environ.get(VARIABLE)
    if told is None:
        return
    from gpu_model.device import VirtualGPU

    try:
        settings = json.loads(told)
        name, timing = settings["gpu"], settings["timing"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{VARIABLE}={told!r}: expected {{"gpu": NAME, "timing": false}}; unset it') from error
    _inherited.append(VirtualGPU(name, timing=timing, cuda=True, host_tensors=False, kept=0).__enter__())


def disinherit() -> None:
    """Take an inherited GPU away again, before this process makes its own."""
    while _inherited:
        _inherited.pop().__exit__()
