"""The page a report is written on: style sheet, skeleton, and the few HTML pieces every section uses."""

import html
from collections.abc import Iterable, Sequence

STYLE = """
:root { --ink: #1c2333; --soft: #667085; --line: #e4e7ec; --tint: #f7f8fa; --accent: #3451b2; --good: #1a7f4b;
        --bad: #b42318; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; overflow-wrap: break-word; font: 15px/1.55 system-ui,
       -apple-system, "Segoe UI", Inter, Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 28px 72px; }
header { border-bottom: 1px solid var(--line); padding-bottom: 22px; margin-bottom: 26px; }
.brand { color: var(--accent); font-weight: 650; letter-spacing: .02em; font-size: 13px; text-transform: uppercase; }
h1 { font-size: 27px; line-height: 1.25; margin: 6px 0 8px; font-weight: 650; letter-spacing: -.01em; }
h2 { font-size: 19px; margin: 44px 0 6px; font-weight: 650; }
h3 { font-size: 15px; margin: 26px 0 6px; font-weight: 600; }
p { margin: 6px 0 12px; max-width: 78ch; }
.soft { color: var(--soft); }
code, .mono { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin: 20px 0 8px; }
.tile { border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; background: var(--tint); }
.tile b { display: block; font-size: 22px; font-weight: 650; letter-spacing: -.01em; white-space: nowrap; }
.tile span { color: var(--soft); font-size: 12.5px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 10px 0 6px; font-size: 13.5px; }
th { text-align: left; color: var(--soft); font-weight: 550; border-bottom: 1px solid #cfd4dc;
     padding: 6px 10px 6px 0; }
td { border-bottom: 1px solid var(--line); padding: 6px 10px 6px 0; vertical-align: top; }
th:not(:first-child), td:not(:first-child) { padding-left: 14px; }
th { white-space: nowrap; }
td:first-child { overflow-wrap: anywhere; min-width: 17ch; }
summary { cursor: pointer; color: var(--accent); font-size: 13.5px; }
.unbroken { white-space: nowrap; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.code { font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
          white-space: pre-wrap; overflow-wrap: anywhere; }
.bar { display: inline-block; height: 9px; background: var(--accent); border-radius: 2px; opacity: .75; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
.tag { font-size: 12px; border: 1px solid var(--line); border-radius: 999px; padding: 1px 8px; color: var(--soft); }
.note { border-left: 3px solid var(--line); padding: 2px 0 2px 14px; color: var(--soft); font-size: 13.5px;
        max-width: 84ch; }
footer { margin-top: 48px; padding-top: 16px; border-top: 1px solid var(--line); color: var(--soft); font-size: 13px; }
@media print { .tile { break-inside: avoid; } h2 { break-after: avoid; } }
"""


def document(title: str, body: str, script: str) -> str:
    """One self-contained HTML page: `script` is embedded, nothing is fetched."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style><script>{script}</script></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def tiles(entries: Iterable[tuple[str, str]]) -> str:
    """A row of key figures: (value, caption) pairs."""
    cells = (f'<div class="tile"><b>{html.escape(v)}</b><span>{html.escape(c)}</span></div>' for v, c in entries)
    return f'<div class="tiles">{"".join(cells)}</div>'


class Html(str):
    """Text that is already HTML and must not be escaped."""


def unbroken(text: str) -> Html:
    """A name that is not broken over lines."""
    return Html(f'<span class="unbroken">{html.escape(text)}</span>')


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], code: Sequence[str] = ()) -> str:
    """A table; columns of numbers (or "" for none) are right-aligned, those named in `code` keep their spaces."""
    rows = [list(row) for row in rows]
    numeric = [bool(rows) and all(row[i] == "" or isinstance(row[i], int | float) for row in rows)
               for i in range(len(columns))]  # fmt: skip
    head = "".join(_cell("th", name, "number" if n else "") for name, n in zip(columns, numeric, strict=True))
    kinds = ["number" if n else "code" if c in code else "" for c, n in zip(columns, numeric, strict=True)]
    body = "".join(
        "<tr>" + "".join(_cell("td", value, kind) for value, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def figure_number(value: float) -> str:
    """A number as people read it: grouped integers, four significant digits otherwise."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1000):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def _cell(kind: str, value: object, style: str) -> str:
    text = value if isinstance(value, Html) else html.escape(_text(value))
    return f'<{kind} class="{style}">{text}</{kind}>' if style else f"<{kind}>{text}</{kind}>"


def _text(value: object) -> str:
    return figure_number(value) if isinstance(value, int | float) else str(value)
