"""What lets an exported folder be used without warptree: a testbench, a script that runs it, and a README."""

from collections.abc import Sequence

from hw.explain import explain
from rtl.mac import MacDesign
from rtl.mac.design import lane_bits
from rtl.mac.operands import MODE_BITS
from sim.codesign.design import Design

CHECK = """\
#!/bin/sh
# Runs operands.txt through mac.v with Verilator (5 or newer) or Icarus Verilog; ends with status 0 if all agree.
set -e
cd "$(dirname "$0")"
if command -v verilator > /dev/null; then
    options="--binary --timing -CFLAGS -std=c++20 -Wno-fatal -Wno-lint"
    verilator $options --top-module mac_tb --Mdir build mac.v mac_tb.v > build.log 2>&1 || { cat build.log; exit 1; }
    exec ./build/Vmac_tb
elif command -v iverilog > /dev/null; then
    iverilog -g2012 -o mac_tb.vvp mac.v mac_tb.v
    exec vvp -n mac_tb.vvp
fi
echo "neither verilator nor iverilog is on the PATH; install one of them" >&2
exit 2
"""


def testbench(mac: MacDesign, element: str) -> str:
    """Verilog that drives every line of operands.txt and compares the accumulator after each."""
    operand, accumulator = mac.operand_bits - 1, mac.accumulator_bits - 1
    return f"""\
// Runs operands.txt through module mac and compares the accumulator after every cycle.
`timescale 1ns / 1ps
module mac_tb;
  reg clk = 0, rst = 1, valid = 0, clear = 0;
  reg [{operand}:0] a = 0, b = 0;
  reg [7:0] xa = 0, xb = 0;
  reg [{accumulator}:0] expected = 0;
  wire [{accumulator}:0] acc;
  reg [2047:0] line;
  integer file, found, cycles, wrong;

  mac dut (.clk(clk), .rst(rst), .valid(valid), .clear(clear), .mode({MODE_BITS}'d{mac.mode(element)}),
           .a(a), .b(b), .xa(xa), .xb(xb), .acc(acc));

  always #5 clk = ~clk;

  initial begin
    cycles = 0;
    wrong = 0;
    file = $fopen("operands.txt", "r");
    if (file == 0) $fatal(1, "operands.txt cannot be opened; run this in its folder");
    @(negedge clk);
    @(negedge clk);
    rst = 0;
    found = $fgets(line, file);  // two lines of comment
    found = $fgets(line, file);
    found = $fscanf(file, "%h %h %h %h %h %h", a, b, xa, xb, clear, expected);
    while (found == 6) begin
      valid = 1;
      @(negedge clk);
      cycles = cycles + 1;
      if (acc !== expected) begin
        wrong = wrong + 1;
        if (wrong <= 10) $display("cycle %0d: expected %h, got %h", cycles, expected, acc);
      end
      found = $fscanf(file, "%h %h %h %h %h %h", a, b, xa, xb, clear, expected);
    end
    $display("%0d of %0d accumulators differ", wrong, cycles);
    if (wrong != 0 || cycles == 0) $fatal(1, "module mac is not what operands.txt was made with");
    $finish;
  end
endmodule
"""


def readme(design: Design, mac: MacDesign | None, checks: Sequence[tuple[str, str]]) -> str:
    """The folder's README.md: files, ports, rule, what was checked and how to check again."""
    element = design.block_format.element
    parts = [f"# {design.words()}\n", _FILES]
    if mac is not None:
        parts.append(_ports(mac, element.name))
    rule = "\n".join(f"    {line}".rstrip() for line in explain(design.reduction_tree, element, element).splitlines())
    parts.append(f"## The rule\n\n{rule}\n")
    parts.append("## What was checked\n\n" + "\n".join(f"* {what}: {outcome}" for what, outcome in checks) + "\n")
    return "\n".join(parts)


_FILES = """\
| file | what it is |
|---|---|
| `report.html` | the design's numbers, tree and checks; opens offline |
| `design.json` | its row of the study: every field with the hashes of operands and code |
| `tree.svg`, `tree.txt` | the reduction tree, drawn and in bits |
| `vectors/` | conformance dots of the tree with the accumulator after each; the file's head explains it |
| `mac.v` | the MAC, one module hierarchy of synthesisable Verilog, top module `mac` |
| `operands.txt` | cycles of the workload's own dot products with the accumulator each must leave |
| `mac_tb.v`, `check.sh` | testbench for them; `sh check.sh` needs Verilator 5 or Icarus Verilog, nothing else |

A design without RTL has the first four.
"""


def _ports(mac: MacDesign, element: str) -> str:
    spec = mac.spec(element)
    width = lane_bits(spec.element)
    lanes = f"code of {spec.element.bits} bits"
    if spec.lanes > 1:
        lanes = f"{spec.lanes} codes of {spec.element.bits} bits, code i in bits {width}i and up"
    pattern = f"sign, 8 exponent bits biased by 127, {mac.mantissa_bits} mantissa bits"
    return f"""\
## Ports of module mac

| port | bits | meaning |
|---|---|---|
| `clk`, `rst` | 1 | rising edge; synchronous reset to +0 |
| `valid` | 1 | take this cycle's operands; otherwise `acc` holds |
| `clear` | 1 | with `valid`: start from +0 instead of from `acc` |
| `mode` | {MODE_BITS} | {mac.mode(element)} is {element} |
| `a`, `b` | {mac.operand_bits} | {lanes} |
| `xa`, `xb` | 8 | E8M0 scales of both blocks, biased by 127; 255 is NaN |
| `acc` | {mac.accumulator_bits} | {pattern}; in the next cycle |
"""
