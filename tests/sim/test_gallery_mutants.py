"""What a claim asserts can fail: with the thing it is about broken, at least one of its figures no longer holds."""

import numpy as np
import pytest

from hw.gpu_spec import load_gpu
from mx_formats.transforms.asymmetric import asymmetric_groups
from mx_formats.transforms.dfloat11 import expand
from mx_formats.transforms.olive import IDENTIFIER, decode_pairs
from sim.gallery import deft, dfloat11, gpu_core, hydragen, int_or_float, lean_attention, olive, tree_invariance, xquant
from sim.gallery.claim import Entry
from sim.language.training import TrainingSpec
from sim.reproduce import run_entry
from workloads.lean_attention import lean_attention as lean
from workloads.shared_prefix_attention import shared_prefix_attention
from workloads.tree_matmul import split_matmul, tree_matmul


def failing(claim: Entry) -> list[str]:
    return [check.what for check in run_entry(claim).checks if not check.holds]


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"core.rf.read_ports": "ideal"}, "listing 1, sources R16, R18, R20"),
        ({"core.dependence.mechanism": "scoreboard"}, "listing 2, stall count 1"),
        ({"core.instruction_buffer": 2}, "32 instructions of a lone warp, three buffer entries"),
    ],
)
def test_another_core_does_not_issue_as_published(monkeypatch, change, broken):
    monkeypatch.setattr(gpu_core, "load_gpu", lambda name, fields: load_gpu(name, fields | change))
    assert broken in failing(gpu_core.ENTRY)


def test_one_lost_bit_is_no_lossless_code(monkeypatch):
    def lossy(stored) -> np.ndarray:
        values = expand(stored)
        values.flat[values.size // 2] ^= 1
        return values

    monkeypatch.setattr(dfloat11, "expand", lossy)
    assert len(failing(dfloat11.ENTRY)) == 2


def test_weights_of_many_magnitudes_do_not_fit_in_11_bits(monkeypatch):
    wide = lambda shape, seed, scale: np.exp2(np.random.default_rng(seed).uniform(-60, 60, shape)).astype(np.float32)  # noqa: E731
    monkeypatch.setattr(dfloat11, "normal", wide)
    assert "bits a weight" in failing(dfloat11.ENTRY)


def test_formats_swapped_win_on_the_wrong_data(monkeypatch):
    formats = dict(int_or_float.BLOCK_FORMATS)
    formats["MXINT8"], formats["MXFP8_E4M3"] = formats["MXFP8_E4M3"], formats["MXINT8"]
    monkeypatch.setattr(int_or_float, "BLOCK_FORMATS", formats)
    monkeypatch.setattr(int_or_float, "crossover", lambda integer, floating: (1.0, 1.0))
    assert "MXINT8 against MXFP8_E4M3, heavy tails" in failing(int_or_float.ENTRY)


def test_victims_matter_where_everything_is_large(monkeypatch):
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (64, 64))
    monkeypatch.setattr(olive, "_TENSORS", {"signs": np.where(np.arange(64) % 2, signs, 50 * signs)})
    assert failing(olive.ENTRY)


def test_victims_that_are_kept_break_the_rule_of_pairs(monkeypatch):
    monkeypatch.setattr(olive, "decode_pairs", lambda pairs: decode_pairs(pairs) + (pairs.codes == IDENTIFIER))
    assert "heavy tails: their neighbours that are not dropped" in failing(olive.ENTRY)


def test_fewer_steps_save_more_than_published(monkeypatch):
    monkeypatch.setattr(deft, "_STEPS", 200)
    monkeypatch.setattr(deft, "_TIMES", {1000: 0.89})
    assert len([what for what in failing(deft.ENTRY) if "KV bytes saved" in what]) == 10


def test_a_prefix_that_each_reads_for_itself(monkeypatch):
    monkeypatch.setattr(hydragen, "_PREFIX", 512)
    apart = lambda q, prefix, suffix, together: shared_prefix_attention(q, prefix, suffix, False)  # noqa: E731
    monkeypatch.setattr(hydragen, "shared_prefix_attention", apart)
    assert "prefix once, keys and values read beyond L1" in failing(hydragen.ENTRY)


def test_a_sum_in_the_order_of_ranks_is_not_invariant(monkeypatch):
    monkeypatch.setattr(tree_invariance, "_K", 2048)
    in_order = lambda a, b, ranks: (tree_matmul if ranks == 1 else split_matmul)(a, b, ranks)  # noqa: E731
    monkeypatch.setattr(tree_invariance, "tree_matmul", in_order)
    assert "tree, bits of 2 ranks that differ from one rank's" in failing(tree_invariance.ENTRY)


@pytest.fixture
def short_contexts(monkeypatch):
    monkeypatch.setattr(lean_attention, "_LENGTHS", (2304,))
    monkeypatch.setattr(lean_attention, "_SPLIT", ())


def test_attention_that_forgets_keys_is_not_exact(monkeypatch, short_contexts):
    def forgetful(q, k, v, programs, tile):
        v = v.clone()
        v[:, 1000:1100] = 0
        return lean(q, k, v, programs, tile)

    monkeypatch.setattr(lean_attention, "lean_attention", forgetful)
    assert failing(lean_attention.ENTRY) == ["largest error over what float16 operands may cost"]


def test_shares_that_end_with_heads_are_no_faster(monkeypatch, short_contexts):
    by_head = lambda q, k, v, programs, tile: lean(q, k, v, len(q), tile)  # noqa: E731
    monkeypatch.setattr(lean_attention, "lean_attention", by_head)
    assert "12 heads of 2,304 keys: cycles, a head a program over even shares" in failing(lean_attention.ENTRY)


@pytest.mark.slow
def test_a_cache_of_one_bit_loses_more(monkeypatch):
    monkeypatch.setattr(xquant, "TrainingSpec", lambda steps: TrainingSpec(60))
    monkeypatch.setattr(xquant, "asymmetric_groups", lambda x, bits, size: asymmetric_groups(x, min(bits, 1), size))
    broken = failing(xquant.ENTRY)
    assert "input in 4 bits: memory saved, one decimal" in broken
    assert "input in 4 bits: perplexity lost" in broken
