import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import altair as alt
import pandas as pd
import pytest

from stages.core.reporting.html import html

CHROMIUM = shutil.which("chromium")
FIGURES = {"accuracy_latency", "distribution", "learning", "length", "batch", "profile"}


def test_a_chart_takes_the_place_of_each_picture() -> None:
    chart = alt.Chart(pd.DataFrame({"a": [1]})).mark_point().encode(x="a:Q")
    page = html("# Title\n\n![Some figure](some.svg)\n", {"some": chart})
    assert '<span class="chart" id="chart-some" data-description="Some figure"></span>' in page
    assert "<h1>Title</h1>" in page
    assert "<img" not in page.split("<script>")[0]


def test_a_table_is_called_what_its_heading_says() -> None:
    table = "| a |\n|---|\n| 1 |\n\n"
    page = html(f"# Results\n\n## One & two\n\n{table}## Three\n\n{table}", {})
    assert re.findall(r'role="region" aria-label="(.+?)"', page) == ["One &amp; two", "Three"]


def test_html_in_a_text_or_in_data_is_shown_and_not_obeyed() -> None:
    evil = "<script>alert(1)</script>"
    chart = alt.Chart(pd.DataFrame({"a": [evil]})).mark_point().encode(x="a:N")
    text = f"# {evil}\n\n| a |\n|---|\n| {evil} |\n\n![{evil}](some.svg)\n"
    page = html(text, {"some": chart})
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td>" in page
    assert evil not in page


def test_the_page_has_every_figure_and_is_small(project: Callable) -> None:
    page = Path("reports/index.html")
    text = page.read_text()
    assert set(re.findall(r'id="chart-(\w+)"', text)) == FIGURES
    assert {path.stem for path in Path("reports").glob("*.svg")} == FIGURES
    assert page.stat().st_size < 6e6


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (.ci/run installs it)")
def test_a_browser_draws_every_chart_without_an_error_or_a_request(
    project: Callable, tmp_path: Path
) -> None:
    page = Path("reports/index.html")
    # The page's own policy forbids every request; an attempt would be an error on the console.
    assert "default-src 'none'" in page.read_text()
    done = subprocess.run(
        [
            str(CHROMIUM),
            *(
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={tmp_path}/user",
            ),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--enable-logging=stderr", "--virtual-time-budget=10000"),
            *("--dump-dom", page.resolve().as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert f'data-drawn="{len(FIGURES)}"' in done.stdout
    assert len(re.findall(r'<svg[^>]* class="marks"', done.stdout)) == len(FIGURES)
    assert "CONSOLE" not in done.stderr
    names = re.findall(r'role="graphics-document"[^>]* aria-label="(.+?)"', done.stdout)
    assert len(set(names)) == len(FIGURES)
    assert "Where the time goes" in names
