"""The pieces of a page: escaping, number formats, alignment."""

import pytest

from sim.page import Html, document, figure_number, table, tiles


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (48213, "48,213"),
        (1234567.0, "1,234,567"),
        (1234.56, "1,234.6"),
        (0.000244140625, "0.0002441"),
        (5.0, "5"),
    ],
)
def test_figure_number(value: float, text: str) -> None:
    assert figure_number(value) == text


def test_text_is_escaped_and_html_is_not() -> None:
    page = table(("a<b",), [("x & y",), (Html("<b>z</b>"),)])
    assert "a&lt;b" in page
    assert "x &amp; y" in page
    assert "<b>z</b>" in page


def test_numeric_columns_are_right_aligned() -> None:
    page = table(("name", "count"), [("a", 1), ("b", 2)])
    assert '<th class="number">count</th>' in page
    assert '<td class="number">2</td>' in page
    assert "<th>name</th>" in page


def test_a_table_without_rows_keeps_its_head() -> None:
    assert "<th>name</th>" in table(("name",), [])


def test_document_and_tiles() -> None:
    page = document("a & b", tiles([("1", "one")]), "var x = 1;")
    assert "<title>a &amp; b</title>" in page
    assert "<b>1</b><span>one</span>" in page
