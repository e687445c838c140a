"""A script with a mistake: one operand lives on torch's meta device and has no memory."""

import torch
import triton
import triton.language as tl


@triton.jit
def copy_kernel(x_ptr, y_ptr, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    tl.store(y_ptr + index, tl.load(x_ptr + index))


def main() -> None:
    device = triton.runtime.driver.active.get_active_torch_device()
    x = torch.ones(256, device="meta")
    y = torch.empty(256, device=device)
    copy_kernel[(1,)](x, y, BLOCK=256)
    print(y.sum())


if __name__ == "__main__":
    main()
