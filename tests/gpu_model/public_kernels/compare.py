"""A public kernel beside its torch reference: outputs, and gradients of every input that takes one."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

Inputs = dict[str, Any]
Check = Callable[[str, torch.Tensor, torch.Tensor], None]  # name, reference's, kernel's


def _outputs(result: Any) -> list[torch.Tensor]:
    items = result if isinstance(result, tuple | list) else (result,)
    return [item for item in items if isinstance(item, torch.Tensor) and item.is_floating_point()]


def _run(function: Callable[..., Any], inputs: Inputs, outputs: int) -> dict[str, torch.Tensor]:
    own = {
        name: value.detach().clone().requires_grad_(value.requires_grad) if isinstance(value, torch.Tensor) else value
        for name, value in inputs.items()
    }
    results = _outputs(function(**own))[:outputs]
    found = {f"output {i}": result.detach().clone() for i, result in enumerate(results)}
    wanted = {name: value for name, value in own.items() if isinstance(value, torch.Tensor) and value.requires_grad}
    if wanted:
        generator = torch.Generator("cuda").manual_seed(1)
        gradients = [
            torch.randn(result.shape, generator=generator, device="cuda").to(result.dtype) for result in results
        ]
        torch.autograd.backward(results, gradients)
        found |= {f"gradient of {name}": value.grad for name, value in wanted.items() if value.grad is not None}
        assert len(found) == len(results) + len(wanted), f"gradients: {sorted(found)}"
    return found


def agree(kernel: Callable[..., Any], reference: Callable[..., Any], inputs: Inputs, check: Check, outputs: int = 1):
    """Run both on the same inputs, backwards too, and check what they return.

    Args:
        kernel: takes `inputs` by name.
        reference: likewise.
        inputs: tensors and other arguments; a tensor that requires gradients gets one compared.
        check: raises if two tensors differ too much.
        outputs: how many of the returned tensors are compared.
    """
    expected, got = _run(reference, inputs, outputs), _run(kernel, inputs, outputs)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        check(name, value, got[name])


def within(rtol: float, atol: float) -> Check:
    """Element by element, as Liger's tests compare."""

    def check(name: str, expected: torch.Tensor, got: torch.Tensor) -> None:
        torch.testing.assert_close(
            got, expected, rtol=rtol, atol=atol, check_dtype=False, msg=lambda text: f"{name}: {text}"
        )

    return check


def ratio(limit: float) -> Check:
    """Root mean square of the error over that of the reference, as flash-linear-attention's tests compare."""

    def check(name: str, expected: torch.Tensor, got: torch.Tensor) -> None:
        expected, got = expected.double(), got.double()
        assert expected.shape == got.shape, f"{name}: {tuple(got.shape)}, expected {tuple(expected.shape)}"
        assert not got.isnan().any(), f"{name}: NaN"
        error = (got - expected).square().mean().sqrt() / (expected.square().mean().sqrt() + 1e-8)
        assert error < limit, f"{name}: error ratio {error:.5f}, limit {limit}"

    return check


def normal(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0, grad: bool = True) -> torch.Tensor:
    """Normally distributed numbers."""
    return (torch.randn(shape, device="cuda") * scale).to(dtype).requires_grad_(grad)


def log_decay(*shape: int, dtype: torch.dtype = torch.float32, normaliser: float = 1.0) -> torch.Tensor:
    """Logarithms of forget gates: log-sigmoid of normal numbers, over a normaliser."""
    values = torch.nn.functional.logsigmoid(torch.randn(shape, device="cuda")) / normaliser
    return values.to(dtype).detach().requires_grad_()


def unit(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal vectors scaled to length one along the last axis."""
    values = torch.nn.functional.normalize(torch.randn(shape, device="cuda"), dim=-1)
    return values.to(dtype).detach().requires_grad_()


def gates(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Numbers in (0, 1)."""
    return torch.rand(shape, device="cuda").sigmoid().to(dtype).detach().requires_grad_()


def heads_first(reference: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """A reference that wants [batch, head, time, ...], called with [batch, time, head, ...]."""

    def call(**inputs: Any) -> Any:
        moved = {name: value.transpose(1, 2) if name in names else value for name, value in inputs.items()}
        result = reference(**moved)
        first, rest = (result[0], tuple(result[1:])) if isinstance(result, Sequence) else (result, ())
        return (first.transpose(1, 2), *rest)

    return call
