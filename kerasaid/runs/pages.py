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

from kerasaid.results import as_text
from kerasaid.runs import record as records


def notebook_page(node, record, in_report=False):
    """Return the page of one executed notebook.

    Args:
        node: the executed notebook.
        record: its record, shown at the top.
        in_report: link to the other notebooks' pages and to the index page above.
    """
    body, _ = _Exporter(template_name="basic", embed_images=True).from_notebook_node(node)
    body = _notebook_links(body, in_report)
    contents = _headings(body)
    return _render(
        "notebook.html.j2", body=body, record=record, contents=contents, in_report=in_report
    )


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
    claims.sort(key=_fragility)
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


def _mathml(formula, display="inline"):
    """Return a formula as MathML, or as it was written where it cannot be read."""
    try:
        return mathml(formula, display=display)
    except Exception:  # the library raises many kinds; a page must not fail for a formula
        return f"<code>{html.escape(formula)}</code>"


class _Renderer(IPythonRenderer):
    """Writes formulas as MathML, which browsers draw without a script."""

    def block_math(self, body):
        return f'<div class="formula">{_mathml(body, display="block")}</div>\n'

    def multiline_math(self, text):
        return _mathml(text)

    def latex_environment(self, name, body):
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def inline_math(self, body):
        return _mathml(body)


class _Exporter(HTMLExporter):
    @jinja2.pass_context
    def markdown2html(self, context, source):
        renderer = _Renderer(
            escape=False,
            embed_images=self.embed_images,
            path=context.get("resources", {}).get("metadata", {}).get("path", ""),
            anchor_link_text="",
            attachments=context.get("cell", {}).get("attachments", {}),
        )
        return MarkdownWithMath(renderer=renderer).render(source)


def _notebook_links(text, in_report):
    """Point links between notebooks at their pages in a report; unlink what is not there."""
    link = r'<a href="(?:\.\./)*{}(\d\d_\w+)\.ipynb(#[^"]*)?">(.*?)</a>'
    if in_report:
        page = r'<a href="../\1/\1.html\2">\3</a>'
        text = re.sub(link.format(""), page, text)
    return re.sub(link.format("(?:solutions/)?"), r"\3", text)


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
    templates.globals.update(as_text=as_text)
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
