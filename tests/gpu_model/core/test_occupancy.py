import pytest

from gpu_model.core.occupancy import occupancy
from gpu_model.errors import LaunchError
from hw.gpu_spec import load_gpu


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "blocks", "limited_by"),
    [
        (128, 32, 0, 12, "warps"),  # 48 warps / 4
        (32, 32, 0, 16, "blocks"),
        (128, 255, 0, 2, "registers"),  # 65536 / (4 * 8192)
        (128, 64, 49152, 2, "shared memory"),  # 102400 / (49152 + 1024)
        (1024, 32, 0, 1, "warps"),
    ],
)
def test_the_scarcest_resource_limits(threads, registers, shared, blocks, limited_by):
    found = occupancy(load_gpu("rtx_a6000"), block_threads=threads, registers=registers, shared_bytes=shared)
    assert (found.blocks, found.limited_by) == (blocks, limited_by)
    assert found.warps == blocks * -(-threads // 32)


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "message"),
    [
        (2048, 32, 0, "asks for 2048 threads per block, rtx_a6000 has 1024"),
        (128, 32, 102400, "asks for 102400 bytes of shared memory per block, rtx_a6000 has 101376"),
        (1024, 128, 0, "no SM of rtx_a6000 holds one block: .*the limit is registers"),
    ],
)
def test_a_block_that_fits_nowhere_is_refused(threads, registers, shared, message):
    with pytest.raises(LaunchError, match=message):
        occupancy(load_gpu("rtx_a6000"), block_threads=threads, registers=registers, shared_bytes=shared)
