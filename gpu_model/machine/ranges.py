"""The global memory that a launch may touch: sorted address ranges, the last one used kept at hand."""

from numba import njit

from gpu_model.machine.context import Context, get, put
from gpu_model.machine.lanes import load_i64


@njit
def find_range(ctx, address, size):
    """Remember and accept the global range that holds [address, address + size)."""
    ranges, low, high = get(ctx, Context.RANGES), 0, get(ctx, Context.RANGE_COUNT)
    while low < high:
        middle = (low + high) >> 1
        if load_i64(ranges, 3 * middle) <= address:
            low = middle + 1
        else:
            high = middle
    if low == 0 or address > load_i64(ranges, 3 * low - 2) - size:
        return False
    put(ctx, Context.LAST_LOW, load_i64(ranges, 3 * low - 3))
    put(ctx, Context.LAST_HIGH, load_i64(ranges, 3 * low - 2))
    put(ctx, Context.LAST_SHIFT, load_i64(ranges, 3 * low - 1))
    return True
