"""Which of these tests are quick."""

import pytest

QUICK_ARCH = 86


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark other architectures as slow."""
    for item in items:
        if item.path.parent.name != "ptx" or not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
            continue
        if item.callspec.params.get("arch", QUICK_ARCH) != QUICK_ARCH:
            item.add_marker(pytest.mark.slow)
