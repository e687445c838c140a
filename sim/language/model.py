"""A small transformer whose matrix products are a function given from outside."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from sim.language.grammar import PARAGRAPH, WORDS

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""[m, k] and [n, k] to [m, n]; differentiable where the model is to be trained."""


def float32_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b.T as torch does it."""
    return a @ b.T


@dataclass(frozen=True)
class ModelSpec:
    """Sizes of the model.

    Attributes:
        layers: of attention and feed-forward.
        width: features of a token.
        heads: of attention; they share the width evenly.
        hidden: features inside a feed-forward part.
        context: tokens of a sequence.
    """

    layers: int = 2
    width: int = 64
    heads: int = 2
    hidden: int = 128
    context: int = 4 * PARAGRAPH

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"ModelSpec.heads: got {self.heads}, must divide the width {self.width}")


class LanguageModel(nn.Module):
    """Pre-normalised transformer with learnt positions; every matrix product is a `Product`'s.

    Norms, softmax, residual sums and the embedding's lookup stay in float32.
    """

    def __init__(self, spec: ModelSpec, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def weight(rows: int, columns: int, scale: float = 1.0) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, columns, generator=generator) * scale / math.sqrt(columns))

        self.spec = spec
        width, hidden = spec.width, spec.hidden
        self.tokens = weight(len(WORDS), width, math.sqrt(width) / 4)
        self.positions = weight(spec.context, width, math.sqrt(width) / 4)
        self.queries_keys_values = nn.ParameterList(weight(3 * width, width) for _ in range(spec.layers))
        self.outputs = nn.ParameterList(weight(width, width) for _ in range(spec.layers))
        self.widening = nn.ParameterList(weight(hidden, width) for _ in range(spec.layers))
        self.narrowing = nn.ParameterList(weight(width, hidden) for _ in range(spec.layers))
        self.predictions = weight(len(WORDS), width)

    def forward(self, tokens: torch.Tensor, product: Product = float32_product) -> torch.Tensor:
        """Logits of the next token.

        Args:
            tokens: int64[batch, time], time at most `context`.
            product: makes every matrix product.

        Returns:
            float32[batch, time, vocabulary].
        """
        batch, time = tokens.shape
        x = (self.tokens[tokens] + self.positions[:time]).reshape(batch * time, self.spec.width)
        for layer in range(self.spec.layers):
            mixed = product(_norm(x), self.queries_keys_values[layer])
            x = x + product(_attention(mixed, batch, self.spec.heads, product), self.outputs[layer])
            x = x + product(F.relu(product(_norm(x), self.widening[layer])), self.narrowing[layer])
        return product(_norm(x), self.predictions).reshape(batch, time, len(WORDS))


def _norm(x: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x, (x.shape[-1],))


def _attention(mixed: torch.Tensor, batch: int, heads: int, product: Product) -> torch.Tensor:
    """Causal attention of every sequence and head: [batch * time, 3 * width] to [batch * time, width]."""
    time = len(mixed) // batch
    queries, keys, values = mixed.reshape(batch, time, 3, heads, -1).permute(2, 0, 3, 1, 4).flatten(1, 2)
    hidden = torch.full((time, time), -math.inf).triu(1)
    scale = 1 / math.sqrt(queries.shape[-1])
    heads_out = [
        product(torch.softmax(product(q, k) * scale + hidden, -1), v.T)
        for q, k, v in zip(queries, keys, values, strict=True)
    ]
    return torch.stack(heads_out).reshape(batch, heads, time, -1).transpose(1, 2).flatten(2).flatten(0, 1)
