"""A script with a bug: its load has no mask, so the last program reads past the end of the vector."""

import torch
import triton
import triton.language as tl


@triton.jit
def double_kernel(x_ptr, length, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + index)
    tl.store(x_ptr + index, 2 * x, mask=index < length)


def main() -> None:
    device = triton.runtime.driver.active.get_active_torch_device()
    x = torch.ones(1000, device=device)
    double_kernel[(4,)](x, 1000, BLOCK=256)
    print(x.sum())


if __name__ == "__main__":
    main()
