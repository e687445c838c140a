"""The NPU in Verilog, driven by cocotb: steps one after another, double buffered through the DMA port."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hw.npu_step import Step, step_cycles
from hw.scratchpad import ScratchpadSpec
from rtl import verilated
from rtl.npu.design import NpuDesign
from rtl.npu.registers import writes
from rtl.npu.system import Npu

TOPLEVEL = "npu"
BENCH = "rtl.benches.npu_bench"
READ = ("a", "xa", "b", "xb")
Transfer = tuple[int, str | None]  # a line, and what to write, in hexadecimal


@dataclass(frozen=True)
class Job:
    """A step with its operands.

    Attributes:
        step: what registers are set to.
        mode, out_mode: of operands and of outputs.
        words: of "a", "xa", "b" and "xb": bytes uint8[addresses, channels, bytes of a word], as the loops visit them.
        extra: lines that the DMA reads for no purpose from the start of the step on, one a cycle, before its work.
    """

    step: Step
    mode: int
    out_mode: int
    words: Mapping[str, np.ndarray]
    extra: Sequence[int] = ()


@dataclass(frozen=True)
class Ran:
    """What the hardware did.

    Attributes:
        cycles: from the first load to the last store.
        busy: of each step.
        codes: bytes uint8[tiles, channels, bytes of a word] of each step's outputs.
        scales: uint8[tiles] of each.
    """

    cycles: int
    busy: list[int]
    codes: list[np.ndarray]
    scales: list[np.ndarray]


@dataclass
class _Schedule:
    """Lines to bring before each step and to take away after it."""

    loads: list[list[Transfer]] = field(default_factory=list)
    stores: list[list[int]] = field(default_factory=list)


def expected_cycles(design: NpuDesign, jobs: Sequence[Job]) -> tuple[int, list[int]]:
    """What `hw.npu_step` says of `run_npu`: cycles from the first load to the last store, and of each step."""
    spec, plan = design.scratchpad, _schedule(design, jobs)
    busy, total = [], len(plan.loads[0]) + len(plan.stores[-1])
    for number, job in enumerate(jobs):
        transfers = _transfers(plan, jobs, number)
        dma = {cycle: line for cycle, (line, _) in enumerate(transfers)}
        busy.append(step_cycles(spec, job.step, dma, design.prefetch))
        total += max(1 + busy[-1], len(transfers))
    return total, busy


def run_npu(
    design: NpuDesign, works: Sequence[Sequence[Job]], resets: Sequence[int] = (), component: Npu | None = None
) -> list[Ran]:
    """Run works one after another: load the first job's operands, run all jobs, each while the next one's operands come
    and the last one's outputs go, and store the last outputs.

    The registers of the next step are written while one runs, those that change. The DMA moves a line a cycle.

    Args:
        design: the NPU; its Verilator model is built on first use and cached.
        works: at least one, each of one job or more.
        resets: after how many cycles of the first work's first step to reset; that work is then done again.
        component: RTL to run in place of `Npu(design)`, with the same ports.

    Returns:
        One for each work, and one for the first after each reset.

    Raises:
        ValueError: no job, a step that `Step.check` refuses, or lines of a step that are overwritten while it runs.
        ToolError: a tool is missing, or the bench failed; the message ends with the log.
    """
    if not works or not all(works):
        raise ValueError("works: got none, or one without jobs; must have at least one job each")
    plans = [_schedule(design, jobs) for jobs in works]
    described = [_described(design, jobs, plan) for jobs, plan in zip(works, plans, strict=True)]
    model = verilated.build(component or Npu(design), TOPLEVEL)
    with tempfile.TemporaryDirectory(prefix="warptree-npu-") as scratch:
        files = {"NPU_BENCH_WORK": Path(scratch) / "work.json", "NPU_BENCH_RESULT": Path(scratch) / "result.json"}
        files["NPU_BENCH_WORK"].write_text(json.dumps({"works": described, "resets": list(resets)}))
        verilated.run(model, TOPLEVEL, BENCH, {key: str(path) for key, path in files.items()}, Path(scratch))
        found = json.loads(files["NPU_BENCH_RESULT"].read_text())
    ran = [*range(len(works)), *[0] * len(resets)]
    return [_ran(design.scratchpad, works[i], plans[i], run) for i, run in zip(ran, found, strict=True)]


def _described(design: NpuDesign, jobs: Sequence[Job], plan: _Schedule) -> dict:
    """What the bench drives: registers that change, lines to write (hexadecimal) and to read."""
    previous: dict[int, int] = {}
    steps = []
    for number, job in enumerate(jobs):
        registers = dict(writes(design, job.step, job.mode, job.out_mode))
        changed = [item for item in registers.items() if previous.get(item[0]) != item[1]]
        steps.append({"writes": changed, "dma": _transfers(plan, jobs, number)})
        previous = registers
    return {"loads": plan.loads[0], "steps": steps, "stores": plan.stores[-1]}


def _transfers(plan: _Schedule, jobs: Sequence[Job], number: int) -> list[Transfer]:
    """Of the DMA during a step: what it reads for no purpose, the next step's loads, the stores of the one before."""
    loads = plan.loads[number + 1] if number + 1 < len(jobs) else []
    stores = plan.stores[number - 1] if number else []
    return [(line, None) for line in jobs[number].extra] + loads + [(line, None) for line in stores]


def _ran(spec: ScratchpadSpec, jobs: Sequence[Job], plan: _Schedule, found: dict) -> Ran:
    lines = [np.frombuffer(int(text, 16).to_bytes(spec.line_bytes, "little"), np.uint8) for text in found["lines"]]
    codes, scales, at = [], [], 0
    for number in range(len(jobs) + 1):  # stores of a step come during the next, after what is read for no purpose
        at += len(jobs[number].extra) if number < len(jobs) else 0
        if not number:
            continue
        stored = plan.stores[number - 1]
        memory = dict(zip(stored, lines[at : at + len(stored)], strict=True))
        at += len(stored)
        step = jobs[number - 1].step
        words = step.loops["out"].addresses(step.channels["out"])
        inside = (words % spec.line_words)[..., None] * spec.word_bytes + np.arange(spec.word_bytes)
        codes.append(np.array([[memory[word // spec.line_words] for word in row] for row in words])[
            np.arange(len(words))[:, None, None], np.arange(words.shape[1])[:, None], inside])  # fmt: skip
        where = step.loops["xout"].addresses(1)[:, 0]
        scales.append(np.array([memory[byte // spec.line_bytes][byte % spec.line_bytes] for byte in where]))
    return Ran(found["cycles"], found["busy"], codes, scales)


def _schedule(design: NpuDesign, jobs: Sequence[Job]) -> _Schedule:
    """Which lines to bring and to take away; a line that is there already is not brought again."""
    spec, plan = design.scratchpad, _Schedule()
    there: dict[int, bytes] = {}
    in_use: set[int] = set()
    for number, job in enumerate(jobs):
        needed = _image(spec, job)
        loads = {line: held for line, held in needed.items() if there.get(line) != held}
        if clash := in_use & set(loads):
            raise ValueError(f"jobs[{number}]: brings lines {sorted(clash)} while the step before works on them")
        there |= loads
        words = job.step.loops["out"].addresses(job.step.channels["out"]).ravel() // spec.line_words
        outputs = {*words.tolist(), *(job.step.loops["xout"].addresses(1).ravel() // spec.line_bytes).tolist()}
        if clash := outputs & (set(needed) | set(plan.stores[-1] if plan.stores else ())):
            raise ValueError(f"jobs[{number}]: writes outputs to lines {sorted(clash)}, which are in use")
        plan.loads.append([(line, f"{int.from_bytes(held, 'little'):x}") for line, held in sorted(loads.items())])
        plan.stores.append(sorted(outputs))
        in_use = set(needed) | outputs | (set(plan.stores[-2]) if number else set())
    return plan


def _image(spec: ScratchpadSpec, job: Job) -> dict[int, bytes]:
    """Lines of a job's operands; words between them are 0."""
    memory: dict[int, bytes] = {}
    for name in READ:
        addresses = job.step.loops[name].addresses(job.step.channels[name])
        given = job.words[name]
        if given.shape != (*addresses.shape, spec.word_bytes):
            raise ValueError(
                f"Job.words[{name!r}]: got {given.shape}, must be {(*addresses.shape, spec.word_bytes)} as the loops go"
            )
        for address, word in zip(addresses.ravel().tolist(), given.reshape(-1, spec.word_bytes), strict=True):
            if memory.setdefault(address, word.tobytes()) != word.tobytes():
                raise ValueError(f"Job.words[{name!r}]: two different words for address {address}")
    lines: dict[int, bytes] = {}
    empty = bytes(spec.word_bytes)
    for line in sorted({address // spec.line_words for address in memory}):
        words = range(line * spec.line_words, (line + 1) * spec.line_words)
        lines[line] = b"".join(memory.get(word, empty) for word in words)
    return lines
