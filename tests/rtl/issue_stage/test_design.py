import numpy as np
import pytest

from hw.gpu_spec import gpu_names, load_gpu
from rtl.issue_stage import IssueDesign
from rtl.issue_stage.instruction import INSTRUCTION, WORDS, fields, pack


@pytest.mark.parametrize("name", gpu_names())
def test_every_gpu_has_an_issue_stage(name: str) -> None:
    spec = load_gpu(name)
    assert IssueDesign.from_spec(spec).warps * spec.core.sub_cores == spec.limits.warps


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("core.issue_policy", "gto", "core.issue_policy is 'gto', the RTL has 'cggty' only"),
        ("core.constant.sets", 3, "core.constant has 3 sets"),
        ("core.constant.hold_cycles", 0, "hold_cycles 0"),
    ],
)
def test_what_has_no_rtl_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IssueDesign.from_spec(load_gpu("rtx_a6000", {field: value}))


def test_fields_share_no_bit() -> None:
    taken = sorted(bit for first, width in fields().values() for bit in range(first, first + width))
    assert taken == list(range(INSTRUCTION.size))


def test_pack_places_every_field_where_the_layout_has_it() -> None:
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 1 << width, 20) for name, (_, width) in fields().items()}
    words = pack(columns)
    assert words.shape == (20, WORDS)
    numbers = [sum(int(word) << 32 * i for i, word in enumerate(row)) for row in words]
    for name, (first, width) in fields().items():
        assert [number >> first & (1 << width) - 1 for number in numbers] == columns[name].tolist()


def test_pack_refuses_what_does_not_fit() -> None:
    columns = {name: np.zeros(2, np.int64) for name in fields()}
    with pytest.raises(ValueError, match="field stall: 0 to 16 does not fit in 4 bits"):
        pack(columns | {"stall": np.array([0, 16])})
    del columns["wide"]
    with pytest.raises(ValueError, match="instruction fields"):
        pack(columns)
