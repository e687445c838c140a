"""A headless Chromium, where there is one, and what it makes of a page."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
# What the page saw, as its title once it has been drawn.
PROBE = """<script>
const wrong = [];
addEventListener("error", event => wrong.push(event.message));
addEventListener("load", () => setTimeout(() => {
  const figures = [...document.querySelectorAll(".plotly-graph-div")];
  document.title = JSON.stringify({
    wrong,
    figures: figures.length,
    drawn: figures.filter(figure => figure.querySelector(".cartesianlayer path, .cartesianlayer text")).length,
    fetched: performance.getEntriesByType("resource").map(entry => entry.name),
    overhang: document.documentElement.scrollWidth - innerWidth,
    plots: figures.map(figure =>
      figure.querySelector("clipPath.plotclip rect")?.getAttribute("width") / figure.clientWidth),
    hovered: figures.filter(figure => figure.data?.some(trace => trace.hovertemplate)).length,
    untitled: figures.flatMap(figure => ["xaxis", "yaxis"].filter(axis => !figure._fullLayout?.[axis]?.title?.text)),
    rows: [...document.querySelectorAll("table")].map(table => table.tBodies[0].rows.length),
  });
}, 500));
</script>"""

needs_chromium = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the PATH")]


def look_at(page: Path, width: int) -> dict:
    """What a browser window of this width makes of a page."""
    probed = page.with_name(f"probed-{width}.html")
    probed.write_text(page.read_text("utf-8").replace("</head>", PROBE + "</head>", 1), "utf-8")
    fresh = f"--user-data-dir={page.parent / 'profile'}"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", fresh]
    command = [CHROMIUM, *options, f"--window-size={width},1200", "--dump-dom", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert title, done.stdout[-500:]
    return json.loads(unescape(title[1]))
