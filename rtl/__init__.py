"""RTL generated from the specs in `hw`, and the tools that build, run and measure it.

`rtl.mac` is the precision-scalable MX multiply-accumulate unit, `rtl.simulate` runs it as a function on arrays,
`rtl.cosim` drives it with cocotb, `rtl.synthesis` counts its gates, `rtl.tools` says what is installed.
"""
