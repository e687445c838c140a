"""A script with a bug: a store one row too far, as from a wrong row count."""

import torch
import triton
import triton.language as tl


@triton.jit
def fill_kernel(x_ptr, row_stride, BLOCK: tl.constexpr):
    column = tl.arange(0, BLOCK)
    value = tl.full((BLOCK,), 1.0, tl.float32)
    tl.store(x_ptr + tl.program_id(0) * row_stride + column, value)


def main() -> None:
    device = triton.runtime.driver.active.get_active_torch_device()
    x = torch.zeros(7, 64, device=device)
    fill_kernel[(8,)](x, x.stride(0), BLOCK=64)
    print(x.sum())


if __name__ == "__main__":
    main()
