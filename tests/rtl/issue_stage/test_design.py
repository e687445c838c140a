import numpy as np
import pytest

from hw.gpu_spec import gpu_names, load_gpu
from rtl.issue_stage import IssueDesign
from rtl.issue_stage.design import UNLIMITED_READERS
from rtl.issue_stage.instruction import fields, layout, pack

DESIGNS = [
    IssueDesign.from_spec(load_gpu("rtx_a6000", {"core.dependence.mechanism": mechanism}))
    for mechanism in ("control_bits", "scoreboard")
]
either = pytest.mark.parametrize("design", DESIGNS, ids=["control bits", "scoreboard"])


@pytest.mark.parametrize("name", gpu_names())
def test_every_gpu_has_an_issue_stage(name: str) -> None:
    spec = load_gpu(name)
    assert IssueDesign.from_spec(spec).warps * spec.core.sub_cores == spec.limits.warps


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("core.constant.sets", 3, "core.constant has 3 sets"),
        ("core.constant.hold_cycles", 0, "hold_cycles 0"),
    ],
)
def test_what_has_no_rtl_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IssueDesign.from_spec(load_gpu("rtx_a6000", {field: value}))


@either
def test_fields_share_no_bit(design: IssueDesign) -> None:
    taken = sorted(bit for first, width in fields(design).values() for bit in range(first, first + width))
    assert taken == list(range(layout(design).size))


@either
def test_pack_places_every_field_where_the_layout_has_it(design: IssueDesign) -> None:
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 1 << width, 20) for name, (_, width) in fields(design).items()}
    words = pack(design, columns)
    assert words.shape == (20, -(-layout(design).size // 32))
    numbers = [sum(int(word) << 32 * i for i, word in enumerate(row)) for row in words]
    for name, (first, width) in fields(design).items():
        assert [number >> first & (1 << width) - 1 for number in numbers] == columns[name].tolist()


def test_pack_refuses_what_does_not_fit() -> None:
    columns = {name: np.zeros(2, np.int64) for name in fields(DESIGNS[0])}
    with pytest.raises(ValueError, match="field stall: 0 to 16 does not fit in 4 bits"):
        pack(DESIGNS[0], columns | {"stall": np.array([0, 16])})
    del columns["wide"]
    with pytest.raises(ValueError, match="instruction fields"):
        pack(DESIGNS[0], columns)


def test_a_scoreboards_consumers_are_the_specs() -> None:
    overrides = {"core.dependence.mechanism": "scoreboard"}
    specs = [load_gpu("rtx_a6000", overrides | {"core.dependence.consumers": n}) for n in (1, 63, "unlimited")]
    assert [IssueDesign.from_spec(spec).consumers for spec in specs] == [1, 63, UNLIMITED_READERS]
    assert DESIGNS[0].consumers == 0
