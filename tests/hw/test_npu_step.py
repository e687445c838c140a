"""Steps of the NPU by hand, and those that cannot be."""

from dataclasses import replace

import numpy as np
import pytest

from hw.npu import engine_cycles
from hw.npu_step import Scaling, Step, step_cycles
from hw.scratchpad import Loops, ScratchpadSpec

PAD = ScratchpadSpec(banks=16, depth=8, word_bits=64, line_words=4)
CHANNELS = {"a": 2, "xa": 1, "b": 2, "xb": 1, "out": 2, "xout": 1}


def step(tiles: int = 3, steps: int = 4, **loops: Loops) -> Step:
    """A reads banks 0 and 1, B 2 and 3, scales 4 and 5, outputs go to 6, 7 and 8: nobody meets."""
    every = tiles * steps
    apart = {
        "a": Loops(0, (every,), (0,)),
        "b": Loops(2, (every,), (0,)),
        "xa": Loops(4, (tiles,), (0,)),
        "xb": Loops(5, (tiles,), (0,)),
        "out": Loops(6, (tiles,), (0,)),
        "xout": Loops(8 * 8, (tiles,), (1,)),
    }
    return Step(tiles, steps, CHANNELS, {**apart, **loops}, {"xa": Scaling(steps), "xb": Scaling(steps)})


@pytest.mark.parametrize(("tiles", "steps"), [(1, 1), (1, 5), (4, 1), (3, 2), (5, 7)])
def test_without_conflicts_a_step_takes_three_cycles_more_than_the_engine(tiles, steps):
    assert step_cycles(PAD, step(tiles, steps)) == engine_cycles(tiles, steps) + 3


def test_two_channels_in_a_bank_halve_the_rate():
    """12 addresses of two cycles each; the last step is taken two cycles after its second word was asked for."""
    one_bank = Loops(0, (12,), (0,), channel_stride=16)
    assert step_cycles(PAD, step(a=one_bank)) == 2 * 12 + 2 + 2 + 1


def test_a_is_served_before_b():
    """In one bank A takes its words first, and B's one channel waits until A's queue is full."""
    narrow = {**CHANNELS, "a": 1, "b": 1}
    same = replace(step(1, 20, b=Loops(16, (20,), (0,))), channels=narrow)
    free = replace(step(1, 20), channels=narrow)
    assert step_cycles(PAD, free) == engine_cycles(1, 20) + 3
    # A word a cycle for two streams that take one each: the last of 40 is asked for in cycle 40.
    assert step_cycles(PAD, same) == 40 + 2 + 2 + 1


def test_the_dma_is_served_first():
    """Lines over A's banks in the first five cycles: the step begins five cycles later."""
    free = step_cycles(PAD, step())
    assert step_cycles(PAD, step(), dict.fromkeys(range(1, 6), 4)) == free + 5
    assert step_cycles(PAD, step(), dict.fromkeys(range(1, 6), 3)) == free  # banks 12 to 15


def test_a_queue_of_two_words_cannot_keep_up():
    assert step_cycles(PAD, step(1, 30), prefetch=3) == step_cycles(PAD, step(1, 30), prefetch=8)
    assert step_cycles(PAD, step(1, 30), prefetch=2) > step_cycles(PAD, step(1, 30))


def test_loops_are_nested_sums():
    loops = Loops(100, (3, 2, 2), (4, -20, 7), 2)
    want = [[100 + 4 * i - 20 * j + 7 * k + 2 * c for c in range(3)] for k in range(2) for j in range(2)
            for i in range(3)]  # fmt: skip
    np.testing.assert_array_equal(loops.addresses(3), want)
    assert loops.steps == 12


def test_shared_scales_serve_one_after_another():
    """Nine scales of a tile fill a word of eight bytes and begin another; of a row's own, each takes a word."""
    assert Scaling(4, shared=True).words(33, 8) == 2
    assert Scaling(4).words(33, 8) == 9


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ScratchpadSpec(banks=0), "ScratchpadSpec.banks: got 0, must be a power of two from 2 up"),
        (lambda: ScratchpadSpec(depth=100), "ScratchpadSpec.depth: got 100, must be a power of two"),
        (lambda: ScratchpadSpec(word_bits=12), "ScratchpadSpec.word_bits: got 12, must be a multiple of 8"),
        (lambda: ScratchpadSpec(banks=4), "ScratchpadSpec.line_words: got 8, must be at most 4 banks"),
        (lambda: Loops(0, (4, 0), (1, 1)), r"Loops.bounds\[1\]: got 0, must be 1 to 65535"),
        (lambda: Loops(0, (4,), (1, 1)), "Loops.strides: got 2 for 1 bounds"),
        (lambda: Scaling(0), "Scaling.steps: got 0, must be 1 to 65535"),
        (lambda: step(a=Loops(0, (12,), (16,))).check(PAD), r"loops\['a'\]: base 0 .* reach 0 to 177, .* 0 to 127"),
        (lambda: step(a=Loops(3, (12,), (-1,))).check(PAD), r"loops\['a'\]: .* reach -8 to 4"),
        (lambda: step(xout=Loops(1022, (3,), (1,))).check(PAD), r"loops\['xout'\]: .* reach 1022 to 1024"),
        (lambda: step(b=Loops(2, (11,), (0,))).check(PAD), r"loops\['b'\].bounds: got \(11,\), 11 in all, must be 12"),
        (lambda: replace(step(), tiles=0).check(PAD), "Step.tiles: got 0, must be 1 to 65535"),
        (lambda: replace(step(), steps=70000).check(PAD), "Step.steps: got 70000, must be 1 to 65535"),
    ],
)
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
