import pytest
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = index < n
    tl.store(out_ptr + index, tl.load(x_ptr + index, mask=mask) + tl.load(y_ptr + index, mask=mask), mask=mask)


def _compile(arch: int) -> bytes:
    signature = {"x_ptr": "*fp32", "y_ptr": "*fp32", "out_ptr": "*fp32", "n": "i32", "BLOCK": "constexpr"}
    source = ASTSource(fn=_add_kernel, signature=signature, constexprs={"BLOCK": 256})
    return triton.compile(source, target=GPUTarget("cuda", arch, 32)).asm["cubin"]


@pytest.fixture(autouse=True)
def _fusion_is_explicit(monkeypatch):
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")


@pytest.fixture
def cubin(monkeypatch) -> bytes:
    """A small vector-add kernel for sm_86."""
    return _compile(86)


@pytest.fixture
def compile_for():
    """Compile the vector-add kernel for an architecture."""
    return _compile
