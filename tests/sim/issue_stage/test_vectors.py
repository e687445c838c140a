"""The published vectors of the core once more, each with the RTL beside the model (fixture `issued`).

Listings 1 to 4, Figure 4, Tables 1 and 2, control bits, counters, DEPBAR, constants: Huerta et al., MICRO 2025.
"""

from tests.gpu_model.core import test_constant_cache, test_control_bits, test_memory_unit, test_registers

for module in (test_constant_cache, test_control_bits, test_memory_unit, test_registers):
    tests = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    assert not tests.keys() & globals().keys()
    globals().update(tests)
