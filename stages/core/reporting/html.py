"""The results as a page for a browser: one file that needs nothing else, also offline."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

TEMPLATE = Path(__file__).parent / "templates" / "index.html.jinja"


def html(text: str, charts: dict[str, alt.TopLevelMixin], hero: dict[str, Any]) -> str:
    """Return index.html: a Markdown text, in which charts that react take the place of pictures.

    Whatever HTML is in the text, such as in the name of a class, is shown and not obeyed.

    Args:
        text: results.md.
        charts: by the name of the picture, without .svg, that each replaces.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(TEMPLATE.read_text()).render(
        body=renderer().render(text),
        charts={name: chart.to_dict() for name, chart in charts.items()},
        library=vl_convert.javascript_bundle(),  # type: ignore[call-arg]  # its stub knows no default
    )


def renderer() -> MarkdownIt:
    """Return a Markdown renderer that leaves a place for each chart and lets wide tables scroll.

    Both are called what the text calls them: a chart its picture's text, a table its heading.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    def image(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
        name, text = Path(str(tokens[index].attrs["src"])).stem, escapeHtml(tokens[index].content)
        return f'<span class="chart" id="chart-{name}" data-description="{text}"></span>'

    def table_open(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
        headings = [
            text.content
            for opening, text in pairwise(tokens[:index])
            if opening.type == "heading_open"
        ]
        name = escapeHtml(headings[-1]) if headings else "Table"
        return f'<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table>'

    markdown.add_render_rule("image", image)
    markdown.add_render_rule("table_open", table_open)
    markdown.add_render_rule("table_close", lambda *_: "</table></div>")
    return markdown
