"""What is known of the model on one datapath."""

from dataclasses import asdict, dataclass
from typing import Any


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
