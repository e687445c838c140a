"""A scoreboard, and the policies that GPUs are often modelled with: the core's tests with the RTL beside the model.

Latencies: Huerta et al., MICRO 2025, Table 2 and section 5 (fixture `issued`). Each number of consumers is a circuit of
its own, which takes a while to build.
"""

import pytest

from tests.gpu_model.core import test_policies, test_scoreboard

MANY_CIRCUITS = ("test_a_reader_more_than_the_counter_holds", "test_no_consumer_of_random_code")

for module in (test_policies, test_scoreboard):
    tests = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    assert not tests.keys() & globals().keys()
    slow = {name: pytest.mark.slow(test) for name, test in tests.items() if name.startswith(MANY_CIRCUITS)}
    globals().update(tests | slow)
