"""HTML pages that hold everything they show: no request leaves them."""

import base64
import html
import re
from functools import cache
from importlib.resources import files

import jinja2
from latex2mathml.converter import convert as mathml
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from kerasaid.runs import record as records


def notebook_page(node, record):
    """Return the page of one executed notebook.

    Args:
        node: the executed notebook.
        record: its record, shown at the top.
    """
    body, _ = _Exporter(template_name="basic", embed_images=True).from_notebook_node(node)
    return _render("notebook.html.j2", body=body, record=record, contents=_headings(body))


def index_page(entries):
    """Return the page over several runs: table, claims by margin, metrics, figures.

    Args:
        entries: a list of (record, node); the node may be None.
    """
    claims = [
        {**claim, "notebook": record["notebook"]}
        for record, _ in entries
        for claim in record["claims"]
    ]
    # A margin in standard deviations says how fragile a claim is; one in a unit of its own has
    # no common scale, so it is ranked by its size relative to the bound.
    claims.sort(key=lambda claim: (claim["holds"], _fragility(claim)))
    environment = next((record["environment"] for record, _ in entries), {})
    return _render(
        "index.html.j2",
        records=[record for record, _ in entries],
        claims=claims,
        figures=[figure for entry in entries for figure in _figures(*entry)],
        environment=environment,
    )


def _fragility(claim):
    margin = claim["margin"]
    if claim["holds"] and isinstance(claim["value"], int):
        return float("inf")  # exact: the same on every machine
    if not isinstance(margin, (int, float)):
        return float("-inf")
    if claim["margin_unit"] == "sd":
        return margin
    return 10 * margin / (abs(claim["bound"]) or abs(margin) or 1)


class _Renderer(IPythonRenderer):
    """Writes formulas as MathML, which browsers draw without a script."""

    def block_math(self, body):
        return f'<div class="formula">{mathml(body, display="block")}</div>\n'

    def multiline_math(self, text):
        return mathml(text)

    def latex_environment(self, name, body):
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def inline_math(self, body):
        return mathml(body)


class _Exporter(HTMLExporter):
    @jinja2.pass_context
    def markdown2html(self, context, source):
        renderer = _Renderer(
            escape=False,
            embed_images=False,
            anchor_link_text="",
            attachments=context.get("cell", {}).get("attachments", {}),
        )
        return _notebook_links(MarkdownWithMath(renderer=renderer).render(source))


def _notebook_links(text):
    """Point links between notebooks at their pages in a report, one folder a notebook."""
    return re.sub(
        r'href="(?:\.\./)*(?:notebooks/)?(\d\d_\w+)\.ipynb"', r'href="../\1/\1.html"', text
    )


def _headings(body):
    """Return (level, id, text) of the second and third level headings, for the contents."""
    found = re.findall(r'<h([23]) id="([^"]*)">(.*?)</h\1>', body, re.DOTALL)
    return [(int(level), anchor, _strip(text)) for level, anchor, text in found]


def _strip(text):
    text = re.sub(r'<a class="anchor-link".*?</a>', "", text, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", text)).strip()


def _figures(record, node):
    if node is None:
        return []
    return [
        {
            "notebook": record["notebook"],
            "png": output["data"]["image/png"].replace("\n", ""),
            "alt": output.get("metadata", {}).get("image/png", {}).get("alt", ""),
        }
        for cell in node.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


def _render(template, **values):
    return _templates().get_template(template).render(**values)


@cache
def _templates():
    folder = files("kerasaid.runs") / "templates"
    templates = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(number=_number, duration=_duration)
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    icon = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8">'
        '<path fill="#0072B2" d="M1 1h2v6h-2zM5 1h2l-3 3 3 3h-2l-3-3z"/></svg>'
    )
    templates.globals.update(
        style=(folder / "style.css").read_text(encoding="utf-8"),
        code_light=light,
        code_dark=dark,
        icon="data:image/svg+xml;base64," + base64.b64encode(icon.encode()).decode("ascii"),
        record_name=records.NAME,
    )
    return templates


def _number(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _duration(seconds):
    if seconds is None:
        return "–"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
