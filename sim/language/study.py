"""Loss against energy a token, for inference and for training, design by design."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from hw.evaluate import evaluate_gemm
from hw.technology import load_technology
from mx_formats.torch_modules import Products, mx_matmul
from rtl.power.activity import cached_activity
from rtl.power.array import cycle_energy
from sim.codesign.cost import mac_design
from sim.codesign.design import Design
from sim.codesign.energy import product_fj
from sim.language.grammar import entropy_of
from sim.language.meter import Meter
from sim.language.model import LanguageModel, ModelSpec, Product, float32_product
from sim.language.training import TrainingSpec, held_out_text, loss_of, train

INFERENCE, TRAINING = "inference", "training"
FLOAT32 = "float32"
TEXT = 64  # sequences that every model is measured on


@dataclass(frozen=True)
class Row:
    """A model on a datapath.

    Attributes:
        mode: what runs on the datapath: inference of a model trained in float32, or its training and then inference.
        design: in words; "float32" for torch's own products.
        format: of both operands.
        tree: how products are summed.
        mantissa_bits: M of the accumulator.
        loss: nats a token on text not trained on.
        excess: of that, what the text's own entropy does not explain.
        products: multiplications a token.
        energy_pj: a token, all products of the mode, backward pass included where it trains; None without RTL.
        note: why there is no energy, "" if there is.
    """

    mode: str
    design: str
    format: str
    tree: str
    mantissa_bits: int | None
    loss: float
    excess: float
    products: float
    energy_pj: float | None
    note: str

    def as_dict(self) -> dict[str, Any]:
        """The columns of a table row."""
        return asdict(self)


def study(
    designs: Iterable[Design],
    modes: Iterable[str],
    spec: ModelSpec,
    training: TrainingSpec,
    progress: Callable[[str, int, float], None] = lambda what, step, loss: None,
) -> Iterator[Row]:
    """Rows, as they are known: float32 first, then every design in every mode.

    Args:
        designs: the datapaths; what they say of a GPU is not used.
        modes: `INFERENCE`, `TRAINING` or both.
        spec: sizes of the model.
        training: of the float32 model and of those trained on a datapath.
        progress: told design, step and loss of every training step.

    Raises:
        ValueError: a design whose tree cannot take its format.
        ToolError: Yosys is missing or fails.
    """
    baseline = train(spec, training, after_step=partial(progress, FLOAT32))
    counter = _ProductCounter()
    loss = _loss(baseline, counter)
    products = counter.products / _tokens(spec)
    yield Row(
        INFERENCE, FLOAT32, FLOAT32, "", None, loss, _excess(loss, spec), products, None, "no datapath of its own"
    )
    for design in designs:
        for mode in modes:
            yield _measure(design, mode, baseline, training, progress)


def _measure(
    design: Design, mode: str, baseline: LanguageModel, training: TrainingSpec,
    progress: Callable[[str, int, float], None],
) -> Row:  # fmt: skip
    spec, datapath = baseline.spec, partial(evaluate_gemm, design.reduction_tree)
    if mode == TRAINING:
        baseline = train(spec, training, _product(design, datapath), partial(progress, design.words()))
    meter = Meter(datapath)
    loss = _loss(baseline, _product(design, meter))
    tokens = _tokens(spec)
    if mode == TRAINING:  # one more step, whose products are metered forward and backward
        meter = Meter(datapath)
        text = held_out_text(spec, training.batch)
        loss_of(baseline, text, _product(design, meter)).backward()
        tokens = training.batch * spec.context
    energy, note = _energy(design, meter)
    per_token = None if energy is None else energy / tokens
    return Row(mode, design.words(), design.format, design.tree, design.mantissa_bits, loss, _excess(loss, spec),
               meter.products / tokens, per_token, note)  # fmt: skip


def _product(design: Design, products: Products) -> Product:
    return partial(mx_matmul, forward_format=design.block_format, products=products)


def _loss(model: LanguageModel, product: Product) -> float:
    with torch.no_grad():
        return loss_of(model, held_out_text(model.spec, TEXT), product).item()


def _excess(loss: float, spec: ModelSpec) -> float:
    return loss - entropy_of(held_out_text(spec, TEXT).numpy())


def _tokens(spec: ModelSpec) -> int:
    return TEXT * spec.context


def _energy(design: Design, meter: Meter) -> tuple[float | None, str]:
    """Picojoules of everything metered, and why there are none."""
    try:
        mac = mac_design(design)
    except ValueError as error:
        return None, str(error)
    activity = cached_activity(mac, meter.sample())
    parts = cycle_energy(activity, load_technology(design.technology))
    return sum(
        count * product_fj(shape, parts, design, activity.lanes) for shape, count in meter.shapes.items()
    ) / 1000, ""


class _ProductCounter:
    """`float32_product` that counts multiplications."""

    def __init__(self) -> None:
        self.products = 0

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        self.products += a.shape[0] * b.shape[0] * a.shape[1]
        return float32_product(a, b)
