import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import altair as alt
import pandas as pd
import pytest

from stages.core.reporting.html import render

CHROMIUM = shutil.which("chromium")
FIGURES = {*("accuracy_latency", "distribution", "load", "length", "batch", "profile")}


HERO = {"title": "student int8", "role": "recommended", "figures": [("Size", "80% less", "5 → 1")]}


def chart(value: object = 1) -> alt.Chart:
    return alt.Chart(pd.DataFrame({"a": [value]})).mark_point().encode(x="a:N")


def test_the_first_screen_names_the_variant_and_its_figures() -> None:
    page = render("# Results\n\n![Figure](accuracy_latency.svg)\n", {}, HERO)
    header = page.split("<header>")[1].split("</header>")[0]
    assert "results · recommended</h1>" in header
    assert "<dt>Size</dt><dd><b>80% less</b>5 → 1</dd>" in header
    assert page.count('id="chart-accuracy_latency"') == header.count("chart-accuracy_latency") == 1


def test_a_chart_takes_the_place_of_each_picture() -> None:
    page = render("# Title\n\n![Some figure](some.svg)\n", {"some": chart()}, HERO)
    assert '<span class="chart" id="chart-some" data-description="Some figure"></span>' in page
    assert "<title>bert-latency: Title</title>" in page
    assert "<img" not in page.split("<script>")[0]


def test_a_section_of_the_third_level_folds_under_its_heading() -> None:
    page = render("# Title\n\n## A\n\nx\n\n### B\n\ny\n\n### C\n\nz\n\n## D\n", {}, HERO)
    body = "".join(page.split("</header>")[1].split("</main>")[0].split("\n"))
    fold = "<details><summary><h3>{}</h3></summary><p>{}</p></details>"
    assert body == f"<h2>A</h2><p>x</p>{fold.format('B', 'y')}{fold.format('C', 'z')}<h2>D</h2>"


def test_a_table_is_named_by_its_heading_and_a_cell_by_its_column() -> None:
    table = "| a | b & c |\n|---|---|\n| 1 | 2 |\n\n"
    page = render(f"# Results\n\n## One & two\n\n{table}## Three\n\n{table}", {}, HERO)
    assert re.findall(r'role="region".*? aria-label="(.+?)"', page) == ["One &amp; two", "Three"]
    assert '<td data-label="a">1</td>\n<td data-label="b &amp; c">2</td>' in page


def test_html_in_a_text_or_in_data_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    text = f"# {evil}\n\n| a |\n|---|\n| {evil} |\n\n![{evil}](some.svg)\n"
    page = render(text, {"some": chart(evil)}, HERO | {"title": evil})
    assert ">&lt;script&gt;alert(1)&lt;/script&gt;</td>" in page
    assert evil not in page


def test_the_page_has_every_figure_and_is_small(project: Callable) -> None:
    page = Path("reports/index.html")
    text = page.read_text()
    assert set(re.findall(r'id="chart-(\w+)"', text)) == FIGURES
    assert {path.stem for path in Path("reports").glob("*.svg")} == FIGURES
    assert page.stat().st_size < 6e6


def browse(page: Path, user: Path) -> tuple[str, str]:
    """Return the document that a browser makes of a page, and its log."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (.ci/run installs it)")
    done = subprocess.run(
        [
            CHROMIUM,
            *("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={user}"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--enable-logging=stderr", "--virtual-time-budget=10000"),
            *("--allow-file-access-from-files", "--dump-dom", page.resolve().as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout, done.stderr


def test_a_browser_draws_every_chart_without_an_error_or_a_request(
    project: Callable, tmp_path: Path
) -> None:
    page = Path("reports/index.html")
    # The page's own policy forbids every request; an attempt would be an error on the console.
    assert "default-src 'none'" in page.read_text()
    document, log = browse(page, tmp_path / "user")
    assert f'data-drawn="{len(FIGURES)}"' in document
    assert len(re.findall(r'<svg[^>]* class="marks"', document)) == len(FIGURES)
    assert "CONSOLE" not in log
    names = re.findall(r'role="graphics-document"[^>]* aria-label="(.+?)"', document)
    assert len(set(names)) == len(FIGURES)
    assert "Where the time goes" in names


def test_nothing_is_wider_than_a_phone_or_a_laptop(project: Callable, tmp_path: Path) -> None:
    page = Path("reports/index.html").read_text().replace("<details>", "<details open>")
    (tmp_path / "open.html").write_text(page)
    frames = "".join(f'<iframe src="open.html" width="{width}"></iframe>' for width in (390, 1280))
    script = """onload = () => setTimeout(() => document.title =
      [...document.querySelectorAll("iframe")].map(({contentDocument}) =>
        [...contentDocument.querySelectorAll("html, .scroll, .chart")]
        .filter(each => each.scrollWidth > each.clientWidth).length), 5000)"""
    (tmp_path / "frames.html").write_text(f"<title></title>{frames}<script>{script}</script>")
    document, _ = browse(tmp_path / "frames.html", tmp_path / "user")
    assert "<title>0,0</title>" in document
