"""The file a user writes: a workload, a space of designs, how to search it and what is wanted, as TOML.

Every field is checked before anything runs, and every mistake is told at once.
"""

import difflib
import re
import tomllib
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from hw.gpu_spec import GpuSpecError, load_gpu
from hw.technology import TechnologyError, load_technology
from mx_formats.block import BLOCK_FORMATS
from sim.codesign.design import DEFAULT_TECHNOLOGY, MACS, TREES, Design
from sim.codesign.metrics import METRICS
from sim.errors import SimError

LARGEST_GRID = 100_000
_ARRAY = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")


class ExperimentError(SimError):
    """An experiment file that cannot be used; lists every mistake."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Workload(_Part):
    """What runs.

    Attributes:
        script: a Triton script, unmodified; relative to the experiment file.
        arguments: its command line.
        instructions: 16 x 8 tiles of tensor-core instructions whose operands are kept, from the first.
    """

    script: Path
    arguments: tuple[str, ...] = ()
    instructions: Annotated[int, Field(ge=1, le=65536)] = 8192

    @field_validator("script")
    @classmethod
    def _exists(cls, script: Path, info: ValidationInfo) -> Path:
        path = ((info.context or {}).get("folder", Path()) / script).resolve()
        if not path.is_file():
            raise ValueError(f"is not a file at {path}; give a Triton script, relative to the experiment file")
        return path


class Span(_Part):
    """Integers from `first` to `last`, every `step`."""

    first: int
    last: int
    step: Annotated[int, Field(ge=1)] = 1

    def values(self) -> tuple[int, ...]:
        """In ascending order."""
        return tuple(range(self.first, self.last + 1, self.step))


Products = Literal[8, 16]
BlockSize = Literal[16, 32]
Scalar = bool | int | float | str


class Space(_Part):
    """The designs: every field a list of values, or one alone; every combination is a design.

    Attributes:
        gpu: names from `warptree gpus`, or TOML files.
        gpu_fields: dotted fields of the GPU's description and the values they take.
        format: block formats of both operands.
        block_size: elements that share a scale.
        tree: how products are summed.
        mantissa_bits: of the accumulator; a list, or {first, last, step}.
        four_bit_products: products of 4-bit codes a cycle.
        mac: hardware of this format alone, or of all six.
        array: "ROWSxCOLUMNS" of MACs.
        technology: CMOS nodes, or TOML files.
    """

    gpu: Annotated[tuple[str, ...], Field(min_length=1)] = ("rtx_a6000",)
    gpu_fields: dict[str, Annotated[tuple[Scalar, ...], Field(min_length=1)]] = {}
    format: Annotated[tuple[str, ...], Field(min_length=1)]
    block_size: Annotated[tuple[BlockSize, ...], Field(min_length=1)] = (32,)
    tree: Annotated[tuple[str, ...], Field(min_length=1)] = ("hybrid",)
    mantissa_bits: Span | Annotated[tuple[int, ...], Field(min_length=1)] = (16,)
    four_bit_products: Annotated[tuple[Products, ...], Field(min_length=1)] = (8,)
    mac: Annotated[tuple[str, ...], Field(min_length=1)] = ("dedicated",)
    array: Annotated[tuple[str, ...], Field(min_length=1)] = ("8x8",)
    technology: Annotated[tuple[str, ...], Field(min_length=1)] = (DEFAULT_TECHNOLOGY,)

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, tree: Any) -> Any:
        """A value alone is a list of one."""
        if not isinstance(tree, dict):
            return tree
        return {name: (value,) if isinstance(value, Scalar) else value for name, value in tree.items()}

    @field_validator("format", "tree", "mac")
    @classmethod
    def _known(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        legal = {"format": BLOCK_FORMATS, "tree": TREES, "mac": MACS}[info.field_name or ""]
        for name in names:
            _check_name(name, legal)
        return names

    @field_validator("gpu")
    @classmethod
    def _loads(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                load_gpu(name)
            except GpuSpecError as error:
                raise ValueError(str(error)) from None
        return names

    @field_validator("technology")
    @classmethod
    def _charges(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                load_technology(name)
            except TechnologyError as error:
                raise ValueError(str(error)) from None
        return names

    @field_validator("gpu_fields")
    @classmethod
    def _can_change(cls, changes: dict[str, tuple[Scalar, ...]], info: ValidationInfo) -> dict[str, tuple[Scalar, ...]]:
        for gpu, (field, values) in product(info.data.get("gpu", ()), changes.items()):
            for value in values:
                try:
                    load_gpu(gpu, {field: value})
                except GpuSpecError as error:
                    raise ValueError(str(error)) from None
        return changes

    @field_validator("mantissa_bits")
    @classmethod
    def _legal_bits(cls, bits: Span | tuple[int, ...]) -> Span | tuple[int, ...]:
        # A span is judged by its ends: as long as a user can write it, it may be too long to list.
        for value in (bits.first, bits.last) if isinstance(bits, Span) else bits:
            if not 10 <= value <= 23:
                raise ValueError(f"got {value}, legal 10..23")
        if isinstance(bits, Span) and bits.last < bits.first:
            raise ValueError(f"{bits} is empty, last must not be below first")
        return bits

    @field_validator("array")
    @classmethod
    def _shaped(cls, arrays: tuple[str, ...]) -> tuple[str, ...]:
        for array in arrays:
            if not _ARRAY.fullmatch(array):
                raise ValueError(f'got {array!r}, legal "ROWSxCOLUMNS" such as "8x8", each 1..9999')
        return arrays

    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Name and values of every field, each value once, in the order of the file."""
        axes: dict[str, tuple[Any, ...]] = {name: getattr(self, name) for name in type(self).model_fields}
        del axes["gpu_fields"]
        if isinstance(self.mantissa_bits, Span):
            axes["mantissa_bits"] = self.mantissa_bits.values()
        axes |= {f"gpu_fields.{field}": values for field, values in self.gpu_fields.items()}
        return {name: tuple(dict.fromkeys(values)) for name, values in axes.items()}

    def design(self, chosen: dict[str, Any]) -> Design:
        """The design with one value of each axis."""
        plain = {name: value for name, value in chosen.items() if not name.startswith("gpu_fields.")}
        changed = sorted(f"{name[len('gpu_fields.') :]}={value}" for name, value in chosen.items() if name not in plain)
        rows, columns = map(int, plain.pop("array").split("x"))
        return Design(**plain, gpu_fields=tuple(changed), rows=rows, columns=columns)

    def overrides(self, design: Design) -> dict[str, Scalar]:
        """The GPU fields that a design changes, with the values the file gives."""
        named = {f"{field}={value}": (field, value) for field, values in self.gpu_fields.items() for value in values}
        return dict(named[change] for change in design.gpu_fields)


class Search(_Part):
    """Which designs are evaluated, and in which order.

    Attributes:
        method: all of them ("grid"), `trials` drawn at random ("random"), or a search that learns ("nsga2", "tpe").
        trials: designs a method other than grid evaluates.
        batch: designs a learning search asks for at a time; the same for any number of workers, so that they see the
            same designs.
        seed: of the choice.
    """

    method: Literal["grid", "random", "nsga2", "tpe"] = "grid"
    trials: Annotated[int, Field(ge=1)] = 100
    batch: Annotated[int, Field(ge=1)] = 16
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0

    @field_validator("batch")
    @classmethod
    def _a_population(cls, batch: int, info: ValidationInfo) -> int:
        if info.data.get("method") == "nsga2" and batch < 2:
            raise ValueError(f'got {batch}, legal 2 or more with method "nsga2", whose population it is')
        return batch


class Goal(_Part):
    """What makes a design good.

    Attributes:
        objectives: metrics the Pareto front is over; each has its better direction.
        require: metric to the value a design must reach, at least or at most as the metric goes.
        prefer: the metric in which the answer is the best of those that meet `require`.
    """

    objectives: Annotated[tuple[str, ...], Field(min_length=1)] = ("qsnr_db", "nand2_cycles")
    require: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    prefer: str = "nand2_cycles"

    @field_validator("objectives", "require", "prefer")
    @classmethod
    def _metrics(cls, names: Any) -> Any:
        for name in [names] if isinstance(names, str) else names:
            _check_name(name, METRICS)
        return names


class Experiment(_Part):
    """An experiment file.

    Attributes:
        question: what is asked, for the report.
        workload: what runs.
        design: the space of designs.
        search: how it is searched.
        goal: what is wanted.
    """

    question: str = "Which design is best?"
    workload: Workload
    design: Space
    search: Search = Search()
    goal: Goal = Goal()


def load_experiment(path: Path) -> Experiment:
    """Read and check an experiment.

    Raises:
        ExperimentError: no such file, no TOML, or fields that are wrong: all of them.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExperimentError(f"experiment {path}: {error.strerror}; give a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExperimentError(f"experiment {path} is not TOML: {error}") from None
    try:
        experiment = Experiment.model_validate(tree, context={"folder": path.parent})
    except ValidationError as error:
        lines = list(dict.fromkeys(_told(dict(mistake)) for mistake in error.errors() if not _follows(mistake)))
        count = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
        raise ExperimentError(f"experiment {path} has {count}:" + "".join(f"\n  {line}" for line in lines)) from None
    size = 1
    for values in experiment.design.axes().values():
        size *= len(values)
    if experiment.search.method == "grid" and size > LARGEST_GRID:
        raise ExperimentError(
            f"experiment {path}: design makes a grid of {size:,}, legal up to {LARGEST_GRID:,}; shorten a list, or set "
            'search.method = "random", "nsga2" or "tpe"'
        )
    return experiment


def _check_name(name: str, legal: Any) -> None:
    if name not in legal:
        near = difflib.get_close_matches(str(name), list(legal), 1, 0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"got {name!r}, legal: {', '.join(legal)}{hint}")


def _follows(mistake: Any) -> bool:
    """A list whose items are wrong is also told to be empty; that is no mistake of its own."""
    return mistake["type"] == "too_short" and bool(mistake["input"])


def _told(mistake: dict[str, Any]) -> str:
    """One line: field, what it has, what would be right."""
    place, value = mistake["loc"], mistake["input"]
    # The alternatives of a union are no part of the file.
    place = tuple(step for step in place if not (isinstance(step, str) and ("[" in step or step == "Span")))
    where = ".".join(_shown(step) for step in place) or "the file"
    if mistake["type"] == "extra_forbidden":
        legal = _fields(place[:-1])
        near = difflib.get_close_matches(str(place[-1]), legal, 1, 0.5)
        return f"{where}: no such field{f'; did you mean {near[0]}' if near else ''}; legal: {', '.join(legal)}"
    if mistake["type"] == "missing":
        return f"{where}: is missing; legal fields there: {', '.join(_fields(place[:-1]))}"
    if mistake["type"] == "value_error":
        return f"{where}: {mistake['ctx']['error']}"
    text = mistake["msg"]
    return f"{where}: got {value!r}, {text[0].lower()}{text[1:]}"


def _shown(step: str | int) -> str:
    """A field's name; one that could not be seen, or would break the line, in quotes."""
    return str(step) if str(step).isprintable() and str(step).strip() else repr(step)


def _fields(place: tuple[Any, ...]) -> list[str]:
    """Legal fields of the part at a place."""
    part: Any = Experiment
    for step in place:
        kinds = [part.model_fields[step].annotation, *get_args(part.model_fields[step].annotation)]
        part = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(part.model_fields)
