"""cocotb benches: modules that run inside the simulator, started by `rtl.cosim`."""
