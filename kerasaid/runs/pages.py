"""HTML pages that hold everything they show: no request leaves them, and nothing runs in them."""

import base64
import html
import io
import re
from functools import cache
from importlib.resources import files
from xml.etree import ElementTree

import jinja2
from latex2mathml.converter import convert as mathml
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from PIL import Image
from pygments.formatters import HtmlFormatter

from kerasaid.results import as_text
from kerasaid.runs import record as records
from kerasaid.runs.sanitise import clean

_MATHML = "{http://www.w3.org/1998/Math/MathML}"
ElementTree.register_namespace("", _MATHML.strip("{}"))
_SCRIPTS = {_MATHML + tag for tag in ("msub", "msup", "msubsup", "munder", "mover", "munderover")}
_ALIGNED = re.compile(r"\\begin\{aligned\}(.*?)\\end\{aligned\}", re.DOTALL)


def notebook_page(node, record, in_report=False):
    """Return the page of one executed notebook.

    Args:
        node: the executed notebook.
        record: its record, shown at the top.
        in_report: link to the other notebooks' pages and to the index page above.
    """
    seconds = {
        cell["id"]: f" · {_duration(cell['seconds'])}"
        for cell in record.get("cells") or []
        if cell["seconds"] >= 0.5
    }
    exporter = _Exporter(template_name="basic", raw_template=_cells(), embed_images=True)
    exporter.environment.globals["cell_seconds"] = seconds
    body, _ = exporter.from_notebook_node(node)
    body = clean(_scrollable(_notebook_links(body, in_report)))
    contents = _headings(body)
    return render(
        "notebook.html.j2", body=body, record=record, contents=contents, in_report=in_report
    )


def index_page(entries):
    """Return the page over several runs: table, claims by margin, metrics, figures.

    Args:
        entries: a list of (record, node); the node may be None.
    """
    claims = []
    for record, node in entries:
        page = f"{record['notebook']}/{record['notebook']}.html"
        places = [] if node is None else _places(node, "claim")
        places += [""] * (len(record["claims"]) - len(places))
        for claim, place in zip(record["claims"], places):
            claims.append({**claim, "notebook": record["notebook"], "page": page + place})
    # A margin in standard deviations says how fragile a claim is; one in a unit of its own has
    # no common scale, so it is ranked by its size relative to the bound.
    claims.sort(key=_fragility)
    found = [record for record, _ in entries]
    return render(
        "index.html.j2",
        records=found,
        claims=claims,
        figures=[figure for entry in entries for figure in _figures(*entry)],
        environment=found[0]["environment"] if found else {},
        differing=differing([record["environment"] for record in found]),
    )


def differing(mappings):
    """Return the keys whose values are not the same in all mappings, with those values.

    Args:
        mappings: a list of dicts, as the environments of records.

    Returns:
        A dict from a key to a list of values, one for each mapping, None where it lacks the key.
    """
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    values = {key: [mapping.get(key) for mapping in mappings] for key in keys}
    return {key: found for key, found in values.items() if any(v != found[0] for v in found)}


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
        return _spaced(mathml(_ALIGNED.sub(_as_array, formula), display=display))
    except Exception:  # the library raises many kinds; a page must not fail for a formula
        return f"<code>{html.escape(formula)}</code>"


def _spaced(text):
    """Set the spaces that TeX sets and latex2mathml does not: log p, and no gap in = -x."""
    math = ElementTree.fromstring(text)
    for row in math.iter(f"{_MATHML}mrow"):
        children, before = list(row), None
        row[:] = []
        for child in children:
            kind, word = _kind(child), _kind(before)
            if child.text in ("−", "+") and word in ("operator", "function"):
                child.set("form", "prefix")
            elif "function" in (kind, word) and {kind, word} <= {"function", "other"}:
                ElementTree.SubElement(row, f"{_MATHML}mspace", width="0.1667em")
            row.append(child)
            before = child
    return ElementTree.tostring(math, encoding="unicode")


def _kind(element):
    """Return what an element of a row is: start, bracket, operator, function such as log, other."""
    if element is None:
        return "start"
    base = element
    while base.tag in _SCRIPTS and len(base):
        base = base[0]
    text = base.text or ""
    if base.tag in (f"{_MATHML}mi", f"{_MATHML}mo") and len(text) > 1 and text.isalpha():
        return "function"
    if text in ("(", "[", "{"):
        return "operator"  # what follows begins anew
    if base.tag == f"{_MATHML}mo":
        return "bracket" if text in (")", "]", "}", "|", "‖", "!", "′") else "operator"
    return "other"


def _as_array(found):
    """Return an aligned environment, which latex2mathml cannot read, as an array."""
    columns = 1 + max(row.count("&") for row in found[1].split(r"\\"))
    return rf"\begin{{array}}{{{('rl' * columns)[:columns]}}}{found[1]}\end{{array}}"


class _Renderer(IPythonRenderer):
    """Writes formulas as MathML, which browsers draw without a script."""

    def heading(self, text, level, **attributes):
        anchor = html.escape(_strip(text).replace(" ", "-"))
        return f'<h{level} id="{anchor}">{text}</h{level}>\n'

    def block_math(self, body):
        return f'<div class="formula" tabindex="0">{_mathml(body, display="block")}</div>\n'

    def multiline_math(self, text):
        return _mathml(text)

    def latex_environment(self, name, body):
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def inline_math(self, body):
        return _mathml(body)


class _Exporter(HTMLExporter):
    @property
    def default_config(self):
        """Shows the text of what needs a script, as widgets do."""
        config = super().default_config
        config.NbConvertBase.display_data_priority = [
            *("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg"),
            *("text/latex", "text/plain"),
        ]
        return config

    def default_filters(self):
        """Add the filter for outputs in LaTeX."""
        yield from super().default_filters()
        yield "latex2mathml", lambda text: _mathml(text.strip().strip("$").strip(), "block")

    @jinja2.pass_context
    def markdown2html(self, context, source):
        renderer = _Renderer(
            escape=False,
            # Embedding parses the HTML, and closes a <details> too early.
            embed_images=self.embed_images and "![" in source,
            path=context.get("resources", {}).get("metadata", {}).get("path", ""),
            attachments=context.get("cell", {}).get("attachments", {}),
        )
        return MarkdownWithMath(renderer=renderer).render(source)


@cache
def _cells():
    return _read_template("cells.html.j2")


def _scrollable(body):
    """Let wide tables scroll, by keyboard too, so that the page does not."""
    body = re.sub(r"<table\b", '<div class="scroll" tabindex="0"><table', body)
    return body.replace("</table>", "</table></div>")


def _notebook_links(text, in_report):
    """Point links between notebooks at their pages in a report; unlink what is not there."""
    link = r'<a href="(?:\.\./)*{}(\d\d_\w+)\.ipynb(#[^"]*)?">(.*?)</a>'
    if in_report:
        page = r'<a href="../\1/\1.html\2">\3</a>'
        text = re.sub(link.format(""), page, text)
    text = re.sub(
        link.format("solutions/"), r"\3 (<code>notebooks/solutions/\1.ipynb</code>)", text
    )
    return re.sub(link.format(""), r"\3", text)


def _headings(body):
    """Return (level, id, text) of the second and third level headings, for the contents."""
    found = re.findall(r'<h([23]) id="([^"]*)">(.*?)</h\1>', body, re.DOTALL)
    return [(int(level), html.unescape(anchor), _strip(text)) for level, anchor, text in found]


def _strip(text):
    return html.unescape(re.sub(r"<[^>]+>", "", text)).strip()


def _figures(record, node):
    """Return what the index shows of each picture of a run."""
    if node is None:
        return []
    found = []
    for cell in node.cells:
        for output in cell.get("outputs", []):
            if "image/png" not in output.get("data", {}):
                continue
            address, width, height = picture(output["data"]["image/png"])
            found.append(
                {
                    "notebook": record["notebook"],
                    "place": _anchor(cell),
                    "address": address,
                    "width": width,
                    "height": height,
                    "alt": output.get("metadata", {}).get("image/png", {}).get("alt", ""),
                    "files": [],
                }
            )
    files = record.get("figures") or []
    if len(files) == len(found):
        for figure, paths in zip(found, files):
            figure["files"] = [(kind, paths[kind]) for kind in ("png", "svg") if paths.get(kind)]
    return found


def picture(png):
    """Return (address, width, height) of a picture, packed smaller without losing a pixel.

    Args:
        png: a PNG in base64, as notebooks store it.

    Returns:
        A `data:` address, and the size in pixels; the PNG itself and None where it is damaged.
    """
    png = png.replace("\n", "")
    try:
        image = Image.open(io.BytesIO(base64.b64decode(png)))
        packed = io.BytesIO()
        # 40 figures of the collection: 2.3 MB as PNG, 1.1 MB so, in a second.
        image.convert("RGBA").save(packed, "WEBP", lossless=True, quality=0, method=1)
    except (OSError, ValueError):
        return f"data:image/png;base64,{png}", None, None
    text = base64.b64encode(packed.getvalue()).decode("ascii")
    return f"data:image/webp;base64,{text}", *image.size


def _places(node, kind):
    """Return the anchor of the cell that made each metric or claim, in order."""
    return [
        _anchor(cell)
        for cell in node.cells
        for output in cell.get("outputs", [])
        if kind in output.get("metadata", {}).get("kerasaid", {})
    ]


def _anchor(cell):
    return f"#cell-id={cell['id']}" if cell.get("id") else ""


def render(template, **values):
    """Return a page made from a template in `templates/`, in the style of all pages.

    Args:
        template: its file name.
        **values: what it shows; text is escaped.
    """
    return _templates().get_template(template).render(**values)


def _read_template(name):
    return (files("kerasaid.runs") / "templates" / name).read_text(encoding="utf-8")


@cache
def _templates():
    templates = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(number=_number, duration=_duration, interval=_interval)
    templates.globals.update(as_text=as_text)
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    icon = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8">'
        '<path fill="#0072B2" d="M1 1h2v6h-2zM5 1h2l-3 3 3 3h-2l-3-3z"/></svg>'
    )
    templates.globals.update(
        style=_read_template("style.css"),
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


def _interval(seeds):
    """Return the 95 % interval for the mean over seeds as text; empty where there is none."""
    from kerasaid.statistics import mean_interval  # SciPy is slow to import

    if not seeds or len(seeds) < 2 or any(isinstance(seed, str) for seed in seeds):
        return ""
    _, low, high = mean_interval(seeds)
    return f"{_number(low)} to {_number(high)}"


def _duration(seconds):
    if seconds is None:
        return "–"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
