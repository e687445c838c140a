"""Loss against energy a token, for inference and for training, design by design."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial

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
from sim.language.row import Row
from sim.language.store import RowStore, row_key
from sim.language.training import TrainingSpec, held_out_text, loss_of, one_thread, train

INFERENCE, TRAINING = "inference", "training"
FLOAT32 = "float32"
TEXT = 64  # sequences that every model is measured on


def study(
    designs: Iterable[Design],
    modes: Iterable[str],
    spec: ModelSpec,
    training: TrainingSpec,
    store: RowStore,
    progress: Callable[[str, int, float], None] = lambda what, step, loss: None,
) -> Iterator[Row]:
    """Rows, as they are known: float32 first, then every design in every mode.

    Args:
        designs: the datapaths; what they say of a GPU is not used.
        modes: `INFERENCE`, `TRAINING` or both.
        spec: sizes of the model.
        training: of the float32 model and of those trained on a datapath.
        store: what it has is not computed again; what it has not is kept there at once.
        progress: told design, step and loss of every training step.

    Raises:
        ValueError: a design whose tree cannot take its format.
        ToolError: Yosys is missing or fails.
        SimError: a damaged file in the store.
    """

    @cache
    def baseline() -> LanguageModel:
        return train(spec, training, after_step=partial(progress, FLOAT32))

    yield store.row(row_key(FLOAT32, None, spec, training), lambda: _reference(baseline()))
    for design in designs:
        for mode in modes:
            key = row_key(mode, design, spec, training)
            yield store.row(key, partial(_measure, design, mode, spec, baseline, training, progress))


def _reference(model: LanguageModel) -> Row:
    """The model on torch's own products."""
    counter = _ProductCounter()
    loss = _loss(model, counter)
    products = counter.products / _tokens(model.spec)
    excess = _excess(loss, model.spec)
    return Row(INFERENCE, FLOAT32, FLOAT32, "", None, loss, excess, products, None, "no datapath of its own")


def _measure(
    design: Design, mode: str, spec: ModelSpec, baseline: Callable[[], LanguageModel], training: TrainingSpec,
    progress: Callable[[str, int, float], None],
) -> Row:  # fmt: skip
    datapath = partial(evaluate_gemm, design.reduction_tree)
    if mode == TRAINING:
        model = train(spec, training, _product(design, datapath), partial(progress, design.words()))
    else:
        model = baseline()
    meter = Meter(datapath)
    loss = _loss(model, _product(design, meter))
    tokens = _tokens(spec)
    if mode == TRAINING:  # one more step, whose products are metered forward and backward
        meter = Meter(datapath)
        text = held_out_text(spec, training.batch)
        with one_thread():
            loss_of(model, text, _product(design, meter)).backward()
        tokens = training.batch * spec.context
    energy, note = _energy(design, meter)
    per_token = None if energy is None else energy / tokens
    return Row(mode, design.words(), design.format, design.tree, design.mantissa_bits, loss, _excess(loss, spec),
               meter.products / tokens, per_token, note)  # fmt: skip


def _product(design: Design, products: Products) -> Product:
    return partial(mx_matmul, forward_format=design.block_format, products=products)


def _loss(model: LanguageModel, product: Product) -> float:
    with torch.no_grad(), one_thread():
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
