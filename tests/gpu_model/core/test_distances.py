"""Latencies from ptxas' own schedules."""

import pytest

from gpu_model.core.distances import TABLE, assemble, derive, latency, table
from gpu_model.errors import CubinError

# Issue distances published for ptxas 13.0: (architectures, producer, consumer kind, cycles).
PUBLISHED = [
    ((75, 80, 86, 89, 90, 120), "FADD", "same", 4),
    ((75, 80, 86, 89, 90, 120), "FFMA", "same", 4),
    ((80, 86, 89, 90, 120), "IMAD", "same", 4),
    ((80, 86, 89, 90), "IMAD.WIDE", "variable", 5),
    ((80, 86, 89, 120), "FMNMX", "fixed", 5),
    ((80, 86, 89, 90, 120), "HFMA2", "fixed", 5),
    ((80, 90), "HFMA2.MMA", "fixed", 10),
    ((75,), "ISETP", "guard", 12),
    ((80, 86, 89, 90, 120), "ISETP", "guard", 13),
    ((80, 86, 89, 90), "HMMA.16816.F32", "same", 24),
    ((80, 86, 89, 90), "HMMA.1688.F32.TF32", "same", 24),
    ((120,), "HMMA.16816.F32", "same", 29),
    ((90,), "DFMA", "same", 8),
]


@pytest.mark.parametrize(("arches", "producer", "consumer", "cycles"), PUBLISHED)
def test_table_has_the_published_distances(arches, producer, consumer, cycles):
    assert [table()[arch, producer, consumer].cycles for arch in arches] == [cycles] * len(arches)


def test_the_committed_table_is_what_the_corpus_gives():
    assert {(d.arch, d.producer, d.consumer): d for d in derive([86])} == {
        key: row for key, row in table().items() if key[0] == 86
    }
    assert TABLE.read_text().startswith("arch,producer,consumer,cycles,pairs\n")


def test_unit_latency_stands_in_for_what_the_corpus_lacks():
    assert latency(86, "FSWZADD", "", 4) == 4
    assert latency(86, "MOV", "", 4) == 4  # ptxas adds a cycle for consumers of other units
    assert latency(90, "HFMA2", "MMA", 5) == 8
    assert latency(120, "HMMA", "16816.F32", 24) == 28


def test_ptxas_errors_are_told():
    with pytest.raises(CubinError, match="sm_86.*nonsense"):
        assemble(".version 8.0\n.target sm_86\n.address_size 64\nnonsense\n", 86)
