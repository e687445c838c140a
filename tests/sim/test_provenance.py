"""Configuration hashes: equal content gives equal names, any change another one."""

from dataclasses import dataclass

from hw.gpu_spec import load_gpu
from sim.provenance import configuration_hash


@dataclass(frozen=True)
class Spec:
    width: int


def test_equal_content_equal_hash() -> None:
    assert configuration_hash(load_gpu("rtx_a6000"), Spec(3)) == configuration_hash(load_gpu("rtx_a6000"), Spec(3))


def test_any_field_changes_the_hash() -> None:
    base = configuration_hash(load_gpu("rtx_a6000"), Spec(3))
    assert configuration_hash(load_gpu("rtx_a6000"), Spec(4)) != base
    assert configuration_hash(load_gpu("rtx_a6000", {"core.rf.read_ports": 2}), Spec(3)) != base


def test_it_is_twelve_hex_digits() -> None:
    assert len(configuration_hash(Spec(3))) == 12
    int(configuration_hash(Spec(3)), 16)
