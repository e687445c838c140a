"""XQuant: cache a layer's input and make keys and values of it again, instead of caching those."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from mx_formats.transforms.asymmetric import AsymmetricGroups, asymmetric_groups, bits_per_value
from sim.gallery.claim import Check, Curve, Entry, direction, exactly, within
from sim.language.model import LanguageModel, ModelSpec, float32_product
from sim.language.training import TrainingSpec, held_out_text, loss_of, train

_GROUP = 128
_MODEL = ModelSpec(layers=2, width=_GROUP, heads=4, hidden=128)
_TEXT = 64  # sequences
_LAYERS, _WHOLE_LAYERS = 32, 3  # of Llama-2-7B, of which those keep 4 bits while the others store differences


@dataclass(frozen=True)
class _Cache:
    """Products of a model that caches, in so many bits, the input of attention or its keys and values."""

    model: LanguageModel
    bits: int
    of_input: bool

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if not any(b is weights for weights in self.model.queries_keys_values):
            return float32_product(a, b)
        width = self.model.spec.width
        queries, cached = float32_product(a, b[:width]), self.stored(a, b)
        kept = torch.from_numpy(cached.decode())
        return torch.cat([queries, float32_product(kept, b[width:]) if self.of_input else kept], 1)

    def stored(self, a: torch.Tensor, b: torch.Tensor) -> AsymmetricGroups:
        """What is kept of inputs a [tokens, width] for weights b of queries, keys and values."""
        kept = a if self.of_input else float32_product(a, b[self.model.spec.width :])
        return asymmetric_groups(kept.numpy(), self.bits, _GROUP)

    def saved(self) -> float:
        """Memory of float16 keys and values over what a token takes here."""
        weights = self.model.queries_keys_values[0].detach()
        kept = self.stored(torch.ones(1, self.model.spec.width), weights)
        keys_values = len(weights) - self.model.spec.width
        return 16 * keys_values / (kept.bits_per_value * kept.codes.size)


def _checks() -> Iterator[Check | Curve]:
    model = train(_MODEL, TrainingSpec(steps=250))
    text = held_out_text(_MODEL, _TEXT)
    plain = _perplexity(model, text)
    inputs, keys_values = ({bits: _Cache(model, bits, of_input) for bits in (4, 3, 2)} for of_input in (True, False))
    halved = inputs[4].saved() / keys_values[4].saved()
    yield exactly("input over keys and values, as many bits: memory saved", 2.0, halved, "times")
    yield exactly("input in 4 bits: memory saved, one decimal", 7.7, round(inputs[4].saved(), 1), "times")
    saved = {bits: _saved_by_differences(bits) for bits in (3, 2)}
    what = f"differences between layers in {{}} bits, the first {_WHOLE_LAYERS} inputs in 4: memory saved"
    yield within(what.format(3), 10, saved[3], 2, "times")
    yield direction(what.format(2), "12.5 times", f"{saved[2]:.1f} times", saved[2] > 12.5)
    lost = {cache: _perplexity(model, text, cache) - plain for cache in (*inputs.values(), *keys_values.values())}
    yield direction("input in 4 bits: perplexity lost", "less than 0.1", f"{lost[inputs[4]]:.4f} of {plain:.3f}",
                    lost[inputs[4]] < 0.1)  # fmt: skip
    ours, rival = lost[inputs[4]], lost[keys_values[2]]
    yield direction("input in 4 bits against keys and values in 2, the same memory: perplexity lost", "less",
                    f"{ours:.4f} < {rival:.4f}", ours < rival)  # fmt: skip
    yield Curve("perplexity lost over memory saved: 2, 3 and 4 bits", "times less memory than float16 keys and values",
                "perplexity", {name: sorted((cache.saved(), lost[cache]) for cache in caches.values())
                               for name, caches in (("input", inputs), ("keys and values", keys_values))})  # fmt: skip


def _saved_by_differences(bits: int) -> float:
    """Memory of float16 keys and values over inputs of the first layers in 4 bits and differences in `bits`."""
    whole, rest = bits_per_value(4, _GROUP), bits_per_value(bits, _GROUP)
    return 2 * 16 * _LAYERS / (_WHOLE_LAYERS * whole + (_LAYERS - _WHOLE_LAYERS) * rest)


def _perplexity(model: LanguageModel, text: torch.Tensor, product=float32_product) -> float:
    with torch.no_grad():
        return math.exp(loss_of(model, text, product).item())


ENTRY = Entry(
    "xquant",
    "a quantised layer input takes half the memory of keys and values, and loses less than they do in the same memory",
    "Tomar et al., XQuant, arXiv 2508.10395: abstract; asymmetric integers in groups of 128, by perplexity of language "
    "models",
    f"bytes of what is stored; perplexity of our own model (sim/language, {_MODEL.layers} layers of {_MODEL.width}) on "
    "grammar text, which shows the order only; groups lie along a token's features; differences between layers are "
    "counted, not run",
    simulated=False,
    checks=_checks,
)
