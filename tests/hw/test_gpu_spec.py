import pytest
from pydantic import ValidationError

from hw.gpu_settings import flatten, parse_settings, setting_text
from hw.gpu_spec import GPU_DIRECTORY, GpuSpecError, gpu_names, load_gpu


@pytest.mark.parametrize("name", gpu_names())
def test_every_gpu_loads_and_is_named_after_its_file(name):
    assert load_gpu(name).name == name


@pytest.mark.parametrize("name", gpu_names())
def test_every_value_cites_a_source(name):
    for line in (GPU_DIRECTORY / f"{name}.toml").read_text().splitlines():
        if (
            "=" in line
            and not line.lstrip().startswith("#")
            and not line.startswith(("base", "name", "product", "arch"))
        ):
            section_has_comment = "stages" in line or line.startswith(("flops_per_cycle", "fp32_accumulate", "perfect"))
            assert "#" in line or section_has_comment, line


def test_a6000_is_the_chip_of_the_datasheet():
    spec = load_gpu("rtx_a6000")
    # 84 SMs of four tensor cores at 1.8 GHz: 155 TFLOP/s dense fp16. 768 GB/s: 97.7 % of it is reachable.
    assert spec.sm_count * 4 * spec.core.tensor.flops_per_cycle * spec.core_clock_mhz == pytest.approx(155e6, rel=0.01)
    assert spec.memory.dram_bytes_per_cycle * spec.core_clock_mhz * 1e6 == pytest.approx(0.977 * 768e9, rel=0.005)
    assert spec.memory.l2_slices * spec.memory.l2.sets * spec.memory.l2.ways * 128 == 6 << 20


# Dense peaks of the data sheets at the spec's clock, TFLOP/s: fp16 with an FP16 and an FP32 accumulator.
PEAKS = [
    ("rtx_a6000", 154.8, 154.8),
    ("rtx_3080", 119.0, 59.5),
    ("rtx_3090", 142.0, 71.0),
    ("a100_sxm", 312.0, 312.0),
    ("rtx_4090", 330.3, 165.2),
    ("h100_sxm", 1070.5, 1070.5),  # 989.4 at the 1830 MHz of the data sheet
    ("h200", 1070.5, 1070.5),
    ("rtx_5090", 449.1, 224.6),  # 419.0 at 2407 MHz
    ("rtx_5070_ti", 184.9, 92.5),  # 175.8 at 2452 MHz
]


@pytest.mark.parametrize(("name", "fp16", "fp32"), PEAKS)
def test_tensor_peaks_are_those_of_the_datasheet(name, fp16, fp32):
    spec = load_gpu(name)
    peak = spec.sm_count * spec.core.sub_cores * spec.core.tensor.flops_per_cycle * spec.core_clock_mhz * 1e-6
    assert peak == pytest.approx(fp16, rel=0.005)
    assert peak * spec.core.tensor.fp32_accumulate_rate == pytest.approx(fp32, rel=0.005)


def test_a_variant_states_only_what_differs(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "rtx_3090"\nname = "mine"\n[memory]\nl2_cycles = 250\n')
    spec, base = load_gpu(path), load_gpu("rtx_3090")
    assert (spec.name, spec.memory.l2_cycles) == ("mine", 250)
    assert spec.core == base.core
    assert spec.memory.dram_bytes_per_cycle == base.memory.dram_bytes_per_cycle


@pytest.mark.parametrize("base", ["7", '"nothing"', '["rtx_3090"]'])
def test_a_base_must_be_a_known_gpu(tmp_path, base):
    path = tmp_path / "mine.toml"
    path.write_text(f"base = {base}\n")
    with pytest.raises(GpuSpecError, match="base must be|not known; known: .*rtx_a6000"):
        load_gpu(path)


def test_overrides_reach_any_field():
    spec = load_gpu("rtx_a6000", {"core.rf.read_ports": 2, "sm_count": 1, "core.units.sfu.latency": 30})
    assert (spec.core.rf.read_ports, spec.sm_count, spec.core.units["sfu"].latency) == (2, 1, 30)


def test_a_spec_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        load_gpu("rtx_a6000").sm_count = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"core.rf.read_port": 2}, "no field 'core.rf.read_port'; nearest: core.rf.read_ports,"),
        ({"rf.read_ports": 2}, "no field 'rf.read_ports'; nearest: core.rf.read_ports,"),
        ({"core.rf.read_ports.x": 2}, "no field 'core.rf.read_ports.x'; nearest: "),
        ({"core.rf": 2}, "core.rf is a table, not a field; set one of core.rf.banks, core.rf.read_ports"),
        ({"core.rf.read_ports": 0}, "core.rf.read_ports: should be greater than or equal to 1 or 'ideal', not 0"),
        ({"core.rf.read_ports": True}, "core.rf.read_ports: should be a valid integer or 'ideal', not True"),
        ({"core.rf.read_ports": "many"}, "core.rf.read_ports: should be a valid integer or 'ideal', not 'many'"),
        ({"core.rf.reuse_cache": 1}, "core.rf.reuse_cache: .*valid boolean, not 1"),
        ({"core.issue_policy": "fifo"}, "core.issue_policy: .*'cggty', 'gto' or 'lrr', not 'fifo'"),
        ({"core.dependence.consumers": 3}, "consumers = 3 has no effect with core.dependence.mechanism = control_bits"),
        (
            {"core.icache.perfect": True, "core.icache.prefetch_lines": 4},
            "prefetch_lines = 4 has no effect with core.icache.perfect = true",
        ),
        ({"core.sub_cores": 2}, "limits.warps must be at most 32 with core.sub_cores = 2 .*, not 48"),
        ({"memory.l1_bytes": 131_000}, "memory.l1_bytes must be a multiple of 8192 .*, not 131000"),
        ({"limits.shared_bytes": 65_536}, "shared_bytes_per_block must be at most limits.shared_bytes = 65536"),
        ({"core.icache.prefetch_lines": "many"}, "core.icache.prefetch_lines: .*integer.*, not 'many'"),
        ({"limits.shared_bytes": 200_000}, "limits.shared_bytes must be at most memory.l1_bytes = 131072"),
        ({"core.units": {}}, "units must have exactly the entries fp32, alu"),
    ],
)
def test_a_wrong_override_names_field_value_and_range(overrides, message):
    with pytest.raises(GpuSpecError, match=message):
        load_gpu("rtx_a6000", overrides)


def test_settings_are_toml_and_words():
    texts = ["core.rf.read_ports=2", "core.rf.reuse_cache = false", "core.issue_policy=gto", 'name="mine"',
             "memory.dram_cycles=1_000", "core.memory.classes.lds.stages=[2, 0, 2, 3]",
             "memory.dram_turnaround_cycles=0.5"]  # fmt: skip
    overrides = parse_settings(texts)
    assert list(overrides.values()) == [2, False, "gto", "mine", 1000, [2, 0, 2, 3], 0.5]
    spec = load_gpu("rtx_a6000", overrides)
    assert spec.core.memory.classes["lds"].stages == (2, 0, 2, 3)
    assert (spec.name, spec.core.issue_policy, spec.memory.dram_turnaround_cycles) == ("mine", "gto", 0.5)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["core.rf.read_ports"], "'core.rf.read_ports' is not FIELD=VALUE"),
        (["=2"], "'=2' is not FIELD=VALUE"),
        (["sm_count="], "'sm_count=' is not FIELD=VALUE"),
        (["sm_count=1", "sm_count=2"], "sm_count is set twice, to 1 and to 2"),
        (["sm_count=[1"], r"sm_count: '\[1' is no TOML value"),
        (["sm_count=1\nname='x'"], "is no TOML value"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(texts, message):
    with pytest.raises(GpuSpecError, match=message):
        parse_settings(texts)


def test_a_field_reads_back_as_it_prints():
    spec = load_gpu("rtx_a6000")
    texts = [setting_text(field, value) for field, value in flatten(spec.model_dump()) if field != "product"]
    assert "core.rf.reuse_cache=true" in texts
    assert load_gpu("rtx_a6000", parse_settings(texts)) == spec


def test_an_unknown_gpu_lists_the_known_ones():
    with pytest.raises(GpuSpecError, match="'rtx_6000' is not known; known: .*rtx_a6000"):
        load_gpu("rtx_6000")


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("name = \n")
    with pytest.raises(GpuSpecError, match=r"mine\.toml is not valid TOML"):
        load_gpu(path)
    path.write_text('name = "mine"\n')
    with pytest.raises(GpuSpecError, match="mine.toml: product: is missing"):
        load_gpu(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sm_cout = 40", "^mine.toml: sm_cout: no such field; did you mean sm_count[?]$"),
        ("[core.rf]\nreed_ports = 2", "mine.toml: core.rf.reed_ports: no such field; did you mean read_ports[?]$"),
        ("[core.units.fp32]\nlatncy = 2", "core.units.fp32.latncy: no such field; did you mean latency[?]$"),
        ("[memory]\nzzz = 2", "mine.toml: memory.zzz: no such field$"),
        (
            "[limits]\nwarps = 'many'\nwraps = 1",
            "limits.warps: should be a valid integer, not 'many'; mine",
        ),
    ],
)
def test_a_misspelt_field_of_a_file_is_told_with_the_nearest(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "rtx_a6000"\n{text}\n')
    with pytest.raises(GpuSpecError, match=message):
        load_gpu(path)
