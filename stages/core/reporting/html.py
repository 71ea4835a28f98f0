"""The results as a page for a browser: one file that needs nothing else, also offline."""

import re
from collections.abc import Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

TEMPLATE = Path(__file__).parent / "templates" / "index.html.jinja"
HERO_CHART = "accuracy_latency"  # stands on the first screen, and not again where the text has it
SECTION = re.compile(r"(<h3>.*?</h3>)(.*?)(?=<h[23]>|\Z)", re.DOTALL)


def render(text: str, charts: dict[str, alt.TopLevelMixin], hero: dict[str, Any]) -> str:
    """Return index.html: a Markdown text with interactive charts in place of its pictures.

    Sections of the third level are folded away under their headings. HTML in the text, such as in
    the name of a class, is escaped. Each chart replaces the picture of its name; hero is as from
    `page.hero`.
    """
    title, body = text.split("\n", 1)
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title.removeprefix("# "),
        hero=hero,
        hero_chart=HERO_CHART,
        body=SECTION.sub(r"<details><summary>\1</summary>\2</details>", renderer().render(body)),
        charts={name: chart.to_dict() for name, chart in charts.items()},
        library=vl_convert.javascript_bundle(),  # type: ignore[call-arg]  # its stub knows no default
    )


def renderer() -> MarkdownIt:
    """Return a Markdown renderer that leaves a place for each chart and labels tables for phones.

    A chart is named by its picture's text, a table by its heading, a cell by its column.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    def image(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
        name, text = Path(str(tokens[index].attrs["src"])).stem, escapeHtml(tokens[index].content)
        place = f'<span class="chart" id="chart-{name}" data-description="{text}"></span>'
        return "" if name == HERO_CHART else place

    def table_open(self: RendererHTML, tokens: Sequence[Token], index: int, *_: Any) -> str:
        name = self.renderAttrs(tokens[index])
        return f'<div class="scroll" role="region" tabindex="0"{name}><table>'

    markdown.add_render_rule("image", image)
    markdown.add_render_rule("table_open", table_open)
    markdown.add_render_rule("table_close", lambda *_: "</table></div>")
    markdown.core.ruler.push("labels", _label)
    return markdown


def _label(state: StateCore) -> None:
    heading, columns, cells = "Table", [""], cycle([""])
    for token, inline in pairwise(state.tokens):
        text = "".join(child.content for child in inline.children or [])
        match token.type:
            case "heading_open":
                heading = text
            case "table_open":
                token.attrSet("aria-label", heading)
                columns = []
            case "th_open":
                columns.append(text)
            case "tbody_open":
                cells = cycle(columns)
            case "td_open":
                token.attrSet("data-label", next(cells))
