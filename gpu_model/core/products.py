"""Warpgroup products: a queue per sub-core in front of its tensor core, worked off in order.

Each warp's quarter of a product is on its own here; hardware that waits for all four warps would differ where
they drift apart.
"""

from numba import njit

from gpu_model.core.events import RELEASE, push, warp_data
from gpu_model.core.opcodes import Pipe
from gpu_model.core.state import PRODUCTS

_TENSOR, _PRODUCT = int(Pipe.TENSOR), int(Pipe.PRODUCT)


@njit(cache=True, nogil=True)
def start_product(sm, sub, index, local, op, control, config):
    """Queue an issued product; the next can issue when no more than the queue's length would wait."""
    start = max(control + 1, sub.pipe_free[_TENSOR])
    done = start + op.work
    sub.pipe_free[_TENSOR] = done
    sub.product_start[sub.product_count % PRODUCTS] = start
    sub.product_count += 1
    must_have_started = sub.product_count - config.product_queue
    if must_have_started >= 0:
        started = sub.product_start[must_have_started % PRODUCTS]
        sub.pipe_free[_PRODUCT] = max(sub.pipe_free[_PRODUCT], started)
    if op.write_counter >= 0:
        push(sm, done + op.tail, RELEASE, warp_data(index, local, sub.generation[local], op.write_counter))
