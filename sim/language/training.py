"""Training and measuring the model with any product."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from sim.language.grammar import sequences
from sim.language.model import LanguageModel, ModelSpec, Product, float32_product

TEST_SEED = 1_000_003  # of the text a model is measured on; training takes other seeds


@dataclass(frozen=True)
class TrainingSpec:
    """How a model is trained: Adam, its rate rising over a tenth of the steps and falling as a cosine.

    Attributes:
        steps: of the optimiser.
        batch: sequences a step; no text is seen twice.
        rate: the highest.
        seed: of the weights and the text.
    """

    steps: int = 400
    batch: int = 16
    rate: float = 6e-3
    seed: int = 0


def train(
    spec: ModelSpec,
    training: TrainingSpec,
    product: Product = float32_product,
    after_step: Callable[[int, float], None] = lambda step, loss: None,
) -> LanguageModel:
    """A model trained with every product, forward and backward, made by `product`.

    Args:
        spec: its sizes.
        training: how.
        product: makes the products, and their gradients.
        after_step: told the step's number and loss in nats a token.
    """
    with one_thread():
        return _train(LanguageModel(spec, training.seed), training, product, after_step)


def _train(
    model: LanguageModel, training: TrainingSpec, product: Product, after_step: Callable[[int, float], None]
) -> LanguageModel:
    optimiser = torch.optim.Adam(model.parameters(), lr=training.rate, betas=(0.9, 0.98))
    for step in range(training.steps):
        for group in optimiser.param_groups:
            group["lr"] = training.rate * _share_of_rate(step, training.steps)
        text = sequences(training.batch, model.spec.context, seed=training.seed * 100_000 + step)
        loss = loss_of(model, torch.from_numpy(text), product)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        after_step(step, loss.item())
    return model


def loss_of(model: LanguageModel, text: torch.Tensor, product: Product = float32_product) -> torch.Tensor:
    """Cross entropy in nats a token, of int64[count, context + 1] tokens."""
    logits = model(text[:, :-1], product)
    return F.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())


def held_out_text(spec: ModelSpec, count: int) -> torch.Tensor:
    """The sequences every model is measured on."""
    return torch.from_numpy(sequences(count, spec.context, TEST_SEED))


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrices this small are slower on several threads, and sums then depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _share_of_rate(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(1, steps - warm))
