import numpy as np
import pytest

from rtl import equality
from rtl.equality import Difference, check_dots, check_product_pairs, check_single_cycles
from rtl.mac import MacDesign
from rtl.stimulus import Cycles

pytestmark = pytest.mark.usefixtures("compiled_rtl")

DESIGN = MacDesign()


@pytest.mark.parametrize("name", DESIGN.names)
def test_rtl_equals_the_model(name: str) -> None:
    spec = DESIGN.spec(name)
    assert check_product_pairs(DESIGN, name).cycles == spec.lanes << 2 * spec.element.bits
    assert check_single_cycles(DESIGN, name, 5000).cycles == 5000
    assert [part.cycles for part in check_dots(DESIGN, name, 700)] == [5600]


@pytest.mark.slow
@pytest.mark.parametrize("m", [12, 16, 23])
@pytest.mark.parametrize("name", DESIGN.names)
def test_a_million_dots(name: str, m: int) -> None:
    assert sum(part.cycles for part in check_dots(MacDesign(m), name, 1_000_000)) == 8_000_000


def test_one_wrong_bit_in_one_cycle_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    real = equality.rtl_mac_step

    def wrong(design: MacDesign, element: str, **inputs: np.ndarray) -> np.ndarray:
        result = real(design, element, **inputs)
        result[1234] ^= 1
        return result

    monkeypatch.setattr(equality, "rtl_mac_step", wrong)
    shown = Cycles(DESIGN, "E4M3", 2000, 0).inputs()
    with pytest.raises(Difference, match=r"E4M3: a=\[.*: the model gives 0x.*; 1 of 2000 differ") as caught:
        check_single_cycles(DESIGN, "E4M3", 2000)
    assert f"a={shown['a'][1234].tolist()} b={shown['b'][1234].tolist()}" in str(caught.value)


def test_batches_have_their_own_operands(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(equality, "DOTS_AT_ONCE", 50)
    monkeypatch.setattr(equality, "_compare", lambda design, element, inputs: seen.append(inputs["a"]) or inputs["acc"])
    assert len(list(check_dots(DESIGN, "E2M1", 120))) == 3
    assert len(seen) == 24
    assert len({operands.tobytes() for operands in seen}) == 24
