"""Which of these tests are quick, and which the machine does not pass yet."""

import pytest

QUICK_ARCH = 86
ALL = (75, 80, 86, 89, 90, 120)

# Test, architectures, further parameters in the test's name, what is missing.
KNOWN = (
    ("test_packed_16_bits", (90, 120), "", "VIADD.16x2"),
    ("test_between_floats", (75,), "f16", "HADD2.F32.SAT"),
    ("test_between_floats", (75,), "f32", "a float32 source of HADD2"),
    ("test_division_and_root", (120,), "", "64-bit immediates of MOV.64"),
    ("test_arithmetic_of_64_bits", (120,), "", "IADD.X"),
    ("test_carry_chains", (120,), "", "carry out of IADD.64"),
    *(("test_division", (120,), kind, "carry out of IADD, UI2F") for kind in ("u32", "s32", "u64", "s64")),
    ("test_uniform_values", (120,), "", "UI2F"),
)


def _missing(item: pytest.Function) -> str | None:
    """What keeps a test from passing, if known."""
    parameters = item.callspec.params
    values = {str(value) for value in parameters.values()}
    for test, arches, value, reason in KNOWN:
        if test == item.originalname and parameters.get("arch") in arches and (not value or value in values):
            return reason
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark other architectures as slow, and known gaps as expected failures."""
    for item in items:
        if item.path.parent.name != "ptx" or not hasattr(item, "callspec"):
            continue
        if item.callspec.params.get("arch", QUICK_ARCH) != QUICK_ARCH:
            item.add_marker(pytest.mark.slow)
        if reason := _missing(item):
            item.add_marker(pytest.mark.xfail(strict=True, reason=reason))
