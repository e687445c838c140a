import pytest
from pydantic import ValidationError

from hw.gpu_spec import GPU_DIRECTORY, GpuSpecError, gpu_names, load_gpu


@pytest.mark.parametrize("name", gpu_names())
def test_every_gpu_loads_and_is_named_after_its_file(name):
    assert load_gpu(name).name == name


@pytest.mark.parametrize("name", gpu_names())
def test_every_value_cites_a_source(name):
    for line in (GPU_DIRECTORY / f"{name}.toml").read_text().splitlines():
        if "=" in line and not line.lstrip().startswith("#") and not line.startswith(("name", "product", "arch")):
            section_has_comment = "stages" in line or line.startswith(("flops_per_cycle", "fp32_accumulate", "perfect"))
            assert "#" in line or section_has_comment, line


def test_a6000_is_the_chip_of_the_datasheet():
    spec = load_gpu("rtx_a6000")
    # 84 SMs of four tensor cores at 1.8 GHz: 155 TFLOP/s dense fp16. 768 GB/s: 97.7 % of it is reachable.
    assert spec.sm_count * 4 * spec.core.tensor.flops_per_cycle * spec.core_clock_mhz == pytest.approx(155e6, rel=0.01)
    assert spec.memory.dram_bytes_per_cycle * spec.core_clock_mhz * 1e6 == pytest.approx(0.977 * 768e9, rel=0.005)
    assert spec.memory.l2_slices * spec.memory.l2.sets * spec.memory.l2.ways * 128 == 6 << 20


def test_overrides_reach_any_field():
    spec = load_gpu("rtx_a6000", {"core.rf.read_ports": 2, "sm_count": 1, "core.units.sfu.latency": 30})
    assert (spec.core.rf.read_ports, spec.sm_count, spec.core.units["sfu"].latency) == (2, 1, 30)


def test_a_spec_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        load_gpu("rtx_a6000").sm_count = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"core.rf.read_port": 2}, "no field 'read_port' there; fields: .*read_ports"),
        ({"rf.read_ports": 2}, "the GPU has no table 'rf'; it has .*core"),
        ({"core.rf.read_ports": 0}, "core.rf.read_ports: .*greater than or equal to 1, not 0"),
        ({"core.icache.prefetch_lines": "many"}, "core.icache.prefetch_lines: .*integer.*, not 'many'"),
        ({"limits.shared_bytes": 200_000}, "limits.shared_bytes must be at most memory.l1_bytes = 131072"),
        ({"core.units": {}}, "units must have exactly the entries fp32, alu"),
    ],
)
def test_a_wrong_override_names_field_value_and_range(overrides, message):
    with pytest.raises(GpuSpecError, match=message):
        load_gpu("rtx_a6000", overrides)


def test_an_unknown_gpu_lists_the_known_ones():
    with pytest.raises(GpuSpecError, match="'rtx_6000' is not known; known: .*rtx_a6000"):
        load_gpu("rtx_6000")


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("name = \n")
    with pytest.raises(GpuSpecError, match=r"mine\.toml is not valid TOML"):
        load_gpu(path)
    path.write_text('name = "mine"\n')
    with pytest.raises(GpuSpecError, match="mine.toml: product: Field required"):
        load_gpu(path)
