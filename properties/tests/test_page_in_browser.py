"""The page in a real browser: it fits a phone, loads nothing, and has the contrast that eyes need."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from properties.recognition.targets import find
from properties.reports.page import as_html
from properties.runs.result import Report, Result, Status
from properties.runs.runner import run
from properties.spec.clause import clauses
from properties.zoo.faults import faults

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
COMMAND = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu"]
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium: apt-get install chromium")

MEASURE = """
<script>
addEventListener("load", () => {
  const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const ground = element => {
    for (; element; element = element.parentElement) {
      const found = channels(getComputedStyle(element).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
  };
  const contrast = element => {
    const [a, b] = [channels(getComputedStyle(element).color), ground(element)]
      .map(luminance).sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const texts = [...document.querySelectorAll("main *")].filter(e => !e.closest("svg") &&
    [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
  const inside = e => e.closest("pre, .wide") === null;
  const said = JSON.stringify({
    width: document.documentElement.clientWidth,
    page: document.documentElement.scrollWidth,
    wide: [...document.querySelectorAll("main *")].filter(inside)
      .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName).slice(0, 5),
    requests: performance.getEntriesByType("resource").map(e => e.name),
    contrast: Math.min(...texts.map(contrast)),
    ground: getComputedStyle(document.body).backgroundColor,
  });
  const outside = parent.document.body;
  outside.innerHTML = "";
  outside.append("MEASURED" + said + "MEASURED");
});
</script>
"""


@pytest.fixture(scope="module")
def page() -> str:
    """A failure with pictures, and every clause of the specification with every status."""
    fault = faults()["window-of-eight"]
    only = ["causality/every-past-token-is-seen"]
    report = run(find(fault.module, fault.family)[0], profile="quick", only=only)
    failed = next(r for r in report.results if r.status is Status.FAIL)
    kinds = list(Status)
    others = [
        Result(id, str(clause.level), kinds[number % len(kinds)], margin=0.5, message="why " * 30)
        for number, (id, clause) in enumerate(clauses().items())
        if id != failed.clause
    ]
    return as_html([report_of([failed, *others], report), report])


def report_of(results: list[Result], report: Report) -> Report:
    """The report with these results, of a subject with a long name."""
    return replace(
        report,
        results=results,
        findings=[],
        subject="a_package.with_a_long.name:" + "Attention" * 6,
    )


def measured(page: str, folder: Path, width: int, *options: str) -> dict[str, object]:
    """What the browser says of the page in a frame of this width; its windows are never so narrow."""
    file = folder / "page.html"
    free = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)  # for the measuring
    inside = html.escape(free.replace("</body>", f"{MEASURE}</body>"))
    frame = f'<iframe srcdoc="{inside}" width="{width}" height="900" style="border: 0"></iframe>'
    file.write_text(f"<!doctype html><body>{frame}</body>", encoding="utf-8")
    done = subprocess.run(
        [
            *COMMAND,
            f"--user-data-dir={folder / 'profile'}",
            "--hide-scrollbars",
            *options,
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search("<body>MEASURED(.*)MEASURED", done.stdout)
    assert found, done.stderr
    return dict(json.loads(found[1].replace("&amp;", "&")))


@pytest.mark.parametrize(
    ("width", "options"),
    [(390, ()), (1280, ()), (390, ("--blink-settings=preferredColorScheme=0",))],
    ids=["phone", "desk", "dark"],
)
def test_the_page_fits_its_window_loads_nothing_and_can_be_read(
    page: str, tmp_path: Path, width: int, options: tuple[str, ...]
) -> None:
    """No sideways scrolling; text at least 4.5 to 1 against its ground, in light and in dark."""
    seen = measured(page, tmp_path, width, *options)
    assert seen["page"] == seen["width"] == width
    assert not seen["wide"]
    assert not seen["requests"]
    assert float(str(seen["contrast"])) >= 4.5
    assert (seen["ground"] == "rgb(255, 255, 255)") == (not options)


def test_the_policy_lets_the_buttons_for_copying_come_and_no_other_script(
    page: str, tmp_path: Path
) -> None:
    """One beside each command, made by the script whose hash the policy names."""
    file = tmp_path / "page.html"
    foreign = "<script>document.title = 'foreign'</script>"
    file.write_text(page.replace("</body>", f"{foreign}</body>"), encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.count(">copy</button>") == page.count("data-copy>") > 2
    assert "<title>foreign" not in done.stdout
