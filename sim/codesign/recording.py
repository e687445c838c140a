"""The workload's one run on a GPU: its cycles, and the operands that every design is evaluated on.

Kept in the store as an .npz file named by script, arguments, GPU and code, so that a sweep which is resumed, or asked
anew with other designs, does not run the script again. A script that reads other files is not known to have changed
when they do: `--fresh` runs it again.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from hw.gpu_spec import GpuSpec
from sim.codesign.experiment import Workload
from sim.codesign.fingerprint import fingerprint
from sim.console import Console, plural
from sim.dots import Dots
from sim.errors import ScriptError, SimError
from sim.record import MATRIX_OPCODES, Recording, record
from sim.script import run_script
from sim.whole_file import whole_file

RUN_ROOMS = ("gpu_model", "hw", "mx_formats", "sim/dots.py", "sim/fragments.py", "sim/record.py")  # code a run needs


@dataclass(frozen=True)
class Operands:
    """What a run leaves for its designs.

    Attributes:
        dots: dot products by length, those with a defined error.
        gpu_cycles: simulated, all launches together.
        gpu_microseconds: the same at the GPU's clock.
        kept: tensor-core instructions whose operands are here.
        executed: those that the run had.
        kernels: names of its launches, in order.
        digest: of all of this, 32 hex digits.
    """

    dots: tuple[Dots, ...]
    gpu_cycles: int
    gpu_microseconds: float
    kept: int
    executed: int
    kernels: tuple[str, ...]
    digest: str

    @property
    def covered(self) -> float:
        """Share of the run's tensor-core instructions that the dot products are from, 0 to 1."""
        return self.kept / self.executed


def operands_of(recording: Recording) -> Operands:
    """What a recording with dot products holds."""
    executed = [int(run.timing.issued[np.isin(run.program.rows["opcode"], MATRIX_OPCODES)].sum())
                for run in recording.launches]  # fmt: skip
    facts = {
        "gpu_cycles": sum(run.timing.cycles for run in recording.launches),
        "gpu_microseconds": float(sum(run.timing.microseconds for run in recording.launches)),
        "kept": recording.kept,
        "executed": sum(executed),
        "kernels": [run.timing.kernel for run in recording.launches],
    }
    return _assemble(tuple(recording.dots), facts)


def _assemble(dots: tuple[Dots, ...], facts: dict) -> Operands:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for group in dots:
        for array in (group.a, group.b, group.tensor_core):
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return Operands(dots, **{**facts, "kernels": tuple(facts["kernels"])}, digest=digest.hexdigest()[:32])


def recording_path(store: Path, workload: Workload, gpu: GpuSpec) -> Path:
    """Where the run of a workload on a GPU is kept."""
    text = json.dumps([list(workload.arguments), workload.instructions, gpu.model_dump(mode="json")], sort_keys=True)
    name = hashlib.sha256(text.encode() + workload.script.read_bytes() + fingerprint(*RUN_ROOMS).encode())
    return store / "runs" / f"{workload.script.stem}-{gpu.name}-{name.hexdigest()[:16]}.npz"


def run_workload(workload: Workload, gpu: GpuSpec, console: Console) -> Operands:
    """Run the script on a virtual GPU and keep its dot products.

    Raises:
        ScriptError: it failed, launched nothing, or had no tensor-core dot products with operands we can read.
        GpuError: a launch that cannot run.
    """
    with console.stage("run", live=False) as stage:
        status, recording = record(
            lambda: run_script(workload.script, workload.arguments),
            gpu,
            stage,
            cuda=True,
            operands=workload.instructions,
        )
        stage.done(f"{plural(len(recording.launches), 'launch')} on {gpu.product}")
    script = workload.script.name
    if status:
        raise ScriptError(f"{script} ended with status {status}; its operands are not used")
    if not recording.launches:
        raise ScriptError(f"{script} launched no Triton kernel: there are no operands to evaluate designs on")
    if not recording.dots:
        raise ScriptError(
            f"{script} had no tensor-core product whose operands can be kept on {gpu.product} (sm_{gpu.arch}): "
            f"{_matrix_instructions(recording)}; use a script with tl.dot of floats, summed in float32 and not all zero"
        )
    return operands_of(recording)


def _matrix_instructions(recording: Recording) -> str:
    """What a run has of matrix instructions, in words."""
    seen = Counter[str]()
    for run in recording.launches:
        for opcode in MATRIX_OPCODES:
            seen[opcode] += int(run.timing.issued[run.program.rows["opcode"] == opcode].sum())
    return "it ran " + (", ".join(f"{count:,} {opcode}" for opcode, count in seen.items() if count) or "none")


def save(operands: Operands, path: Path) -> None:
    """Write operands to a file, whole or not at all."""
    facts = {
        name: getattr(operands, name) for name in ("gpu_cycles", "gpu_microseconds", "kept", "executed", "kernels")
    }
    arrays = {f"{name}{i}": getattr(group, name) for i, group in enumerate(operands.dots)
              for name in ("a", "b", "tensor_core")}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        np.savez(file, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), digest=np.frombuffer(
            operands.digest.encode(), np.uint8), **arrays)  # fmt: skip


def load(path: Path) -> Operands:
    """Read operands.

    Raises:
        SimError: a file that is damaged or none of ours.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            count = sum(name.startswith("tensor_core") for name in file.files)
            dots = tuple(Dots(file[f"a{i}"], file[f"b{i}"], file[f"tensor_core{i}"]) for i in range(count))
            operands, digest = _assemble(dots, facts), file["digest"].tobytes().decode()
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise SimError(f"operands {path} cannot be read: {error}; delete the file to run the script again") from None
    if digest != operands.digest:
        raise SimError(f"operands {path} are damaged; delete the file to run the script again")
    return operands


def operands_for(store: Path, workload: Workload, gpu: GpuSpec, console: Console, fresh: bool = False) -> Path:
    """The file with a workload's operands on a GPU, running the script if there is none yet or a `fresh` one is asked.

    Raises:
        as `run_workload`.
    """
    path = recording_path(store, workload, gpu)
    if fresh or not path.is_file():
        save(run_workload(workload, gpu, console), path)
    return path
