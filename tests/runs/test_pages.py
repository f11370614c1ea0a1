import base64
import copy
import io
import re
from html.parser import HTMLParser

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from PIL import Image
from test_sanitise import HOSTILE

from kerasaid.runs import execute, notebooks, pages

_MADE = {}  # the one run, by its name: a kernel takes seconds to start


@pytest.fixture
def page(collection, tmp_path):
    """The page of a run with a formula, a picture and a link."""
    if "run" not in _MADE:
        _MADE["run"] = make_run(collection, tmp_path)
    return copy.deepcopy(_MADE["run"])


def make_run(collection, tmp_path):
    path = collection / "00_tiny.ipynb"
    node = nbformat.read(path, as_version=4)
    node.cells[0].source += (
        "\n\n$$\\frac{\\partial L}{\\partial Z} = \\frac{1}{n} (P - Y)$$\n\n"
        "See [the next](01_broken.ipynb).\n\n## Part one\n\n### Detail"
    )
    node.cells.append(
        nbformat.v4.new_code_cell(
            "from kerasaid.results import show\nshow('A red dot.', {'figure': 1}, png=b'\\x89PNG')"
        )
    )
    nbformat.write(node, path)
    folder = tmp_path / "report" / "00_tiny"
    record = execute.run(notebooks.find("00"), {}, folder, in_report=True)
    return (
        record,
        nbformat.read(folder / "00_tiny.ipynb", 4),
        (folder / "00_tiny.html").read_text("utf-8"),
    )


class Addresses(HTMLParser):
    """Everything a page would load."""

    def __init__(self, text):
        super().__init__()
        self.found, self.tags, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        for name, value in attributes:
            if name == "src" or (name == "href" and tag == "link"):
                self.found.append(value)


def test_a_page_loads_nothing_and_runs_nothing(page):
    record, node, text = page
    for html in (text, pages.index_page([(record, node)])):
        found = Addresses(html)
        assert all(address.startswith("data:") for address in found.found)
        assert "script" not in found.tags
        assert not re.search(r"url\(\s*['\"]?(?!data:)|@import", html)


def test_formulas_are_drawn_by_the_browser(page):
    _, _, text = page
    assert text.count("<math") == 2 and "<mfrac>" in text
    assert "$" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


def test_pictures_carry_their_description(page):
    record, node, text = page
    assert re.search(r'<img\s[^>]*alt="A red dot."', text)
    assert 'alt="A red dot."' in pages.index_page([(record, node)])


def test_links_lead_to_the_pages_of_a_report_and_headings_to_the_contents(page):
    _, _, text = page
    assert 'href="../01_broken/01_broken.html"' in text
    assert '<li class="level2"><a href="#Part-one">Part one</a></li>' in text
    assert '<li class="level3"><a href="#Detail">Detail</a></li>' in text


def add_hostile_cells(node):
    """Add cells with all that must not run or load, as Markdown and as outputs."""
    node.cells += [new_markdown_cell(text) for text in HOSTILE]
    node.cells.append(new_markdown_cell("[x](javascript:ran) ![y](https://example.org/y.png)"))
    node.cells.append(new_markdown_cell("<table><tr><td>left open"))
    node.cells.append(new_markdown_cell("after it"))
    bundles = [{"text/html": text, "text/plain": "x"} for text in HOSTILE]
    bundles += [
        {"application/javascript": "ran = 1", "text/plain": "a plain text"},
        {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "the widget as text"},
        {"text/markdown": "Shown.<script>ran = 1</script>"},
        {"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'><script>ran = 1</script></svg>"},
        {"image/png": '"><script>ran = 1</script>'},
        {"text/plain": "LaTeX follows"},
        {"text/latex": r"$\displaystyle \frac{a}{2}$"},
    ]
    outputs = [new_output("display_data", data) for data in bundles]
    outputs.append(new_output("stream", text="<script>ran = 1</script>"))
    outputs.append(new_output("error", ename="E", evalue="", traceback=["<img src=x onerror=ran>"]))
    node.cells.append(new_code_cell("'<script>'", outputs=outputs))


def claim(statement, holds=True, margin=1.0, unit="sd", bound=1.0):
    return {
        "statement": statement,
        "value": 1.0,
        "unit": "",
        "seeds": None,
        "bound": bound,
        "direction": "at_least",
        "margin": margin,
        "margin_unit": unit,
        "holds": holds,
    }


def test_the_index_ranks_claims_the_fragile_first(page):
    record, node, _ = page
    record["claims"] = [
        claim("solid", margin=9.0),
        claim("unbounded", margin="inf"),
        claim("fragile", margin=0.1),
        claim("broken", holds=False, margin=-0.2),
        claim("relative", margin=0.05, unit="%", bound=1.0),
        {**claim("exact", margin=0, unit="", bound=0), "value": 0},
    ]
    text = pages.index_page([(record, node)])
    order = re.findall(r'class="text">(solid|fragile|broken|relative|exact)</td>', text)
    assert order == ["broken", "fragile", "relative", "solid", "exact"]


def test_aligned_equations_are_a_table_with_a_row_each(page):
    text = page_of(page, r"$$\begin{aligned} a &= b && \text{one} \\ c &= d \end{aligned}$$")
    assert text.count("<mtr>") == 2
    assert text.count("<mtd") == 6
    assert "&amp;" not in re.search("<math.*?</math>", text, re.DOTALL)[0]


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        (r"\log p", "log␣p"),
        (r"\log_2 p", "log2␣p"),
        (r"y \log p", "y␣log␣p"),
        (r"\log(p)", "log(p)"),
        (r"a = -x", "a=¯x"),
        (r"\exp(-x)", "exp(¯x)"),
        (r"(-\log_2 p + 1)", "(¯log2␣p+1)"),
        (r"a - b", "a−b"),
        (r"f(x) - 1", "f(x)−1"),
        (r"\sum_i x_i", "∑ixi"),
    ],
)
def test_formulas_are_spaced_as_in_tex(page, formula, shown):
    text = re.search("<math.*</math>", page_of(page, f"${formula}$"), re.DOTALL)[0]
    text = re.sub(r"<mspace[^>]*>", "␣", text).replace('<mo form="prefix">−', "<mo>¯")
    assert re.sub(r"<[^>]+>|\s", "", text) == shown


def test_a_hint_stays_folded(page):
    hint = "<details><summary>Hint</summary>\n\nLook at the **sign**.\n\n</details>"
    text = page_of(page, hint)
    inside = re.search("<details><summary>Hint</summary>(.*?)</details>", text, re.DOTALL)[1]
    assert "<strong>sign</strong>" in inside


def page_of(page, markdown):
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(markdown)])
    return pages.notebook_page(node, page[0])


def test_a_formula_that_cannot_be_read_is_shown_as_written(page):
    record, node, _ = page
    node.cells[0].source += "\n\n$x_1_2 < 3$ and $a_$"
    text = pages.notebook_page(node, record)
    assert "<code>x_1_2 &lt; 3</code>" in text and "<code>a_</code>" in text


def test_outside_a_report_nothing_links_to_it(page):
    record, node, _ = page
    node.cells[0].source += " and [solutions](solutions/00_tiny.ipynb)"
    text = pages.notebook_page(node, record)
    assert "index.html" not in text and "01_broken.html" not in text
    assert "the next" in text and not re.search(r'href="[^"]*ipynb', text)
    assert "solutions (<code>notebooks/solutions/00_tiny.ipynb</code>)" in text


def test_a_seed_that_diverged_does_not_break_the_index(page):
    record, node, _ = page
    record["metrics"] = [
        {"name": "loss", "value": "nan", "unit": "", "seeds": [0.5, "nan", 0.25]},
        {"name": "worse", "value": "nan", "unit": "", "seeds": ["nan"]},
    ]
    text = pages.index_page([(record, node)])
    assert "0.25" in text and "nan" in text


def test_uncertainty_of_metrics_is_shown(page):
    record, node, _ = page
    text = pages.index_page([(record, node)])
    assert "≈ 0.60 ± 0.14 % over 2 seeds" in text
    assert "-0.6706 to 1.871" in text  # Student's t: 0.6 ± 12.706 · 0.1


def test_the_index_leads_to_the_cell_of_a_claim_and_of_a_figure(page):
    record, node, text = page
    index = pages.index_page([(record, node)])
    places = re.findall(r'href="00_tiny/00_tiny.html#(cell-id=[^"]+)"', index)
    assert len(places) == 2  # the claim, the figure
    assert all(f'id="{place}"' in text for place in places)


def test_the_index_links_the_files_of_figures(page):
    record, node, _ = page
    assert "01-dot" not in pages.index_page([(record, node)])
    record["figures"] = [{"png": "figures/01-dot.png", "svg": None, "alt": "A red dot."}]
    text = pages.index_page([(record, node)])
    assert '<a href="00_tiny/figures/01-dot.png">PNG</a>' in text and ">SVG<" not in text


def test_the_index_says_where_environments_differ(page):
    record, node, _ = page
    assert "do not all come from one environment" not in pages.index_page([(record, node)])
    other = {**record, "environment": {**record["environment"], "commit": "other"}}
    text = pages.index_page([(record, node), (other, node)])
    assert "do not all come from one environment" in text and "other." in text


def test_an_index_without_notebooks_or_figures_can_be_made(page):
    record, _, _ = page
    assert "Figures" not in pages.index_page([(record, None)])


def test_pictures_are_packed_without_losing_a_pixel():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (30, 50, 4), "uint8"))
    png = io.BytesIO()
    image.save(png, "PNG")
    address, *size = pages.picture(base64.b64encode(png.getvalue()).decode("ascii"))
    kind, _, text = address.partition(",")
    assert kind == "data:image/webp;base64" and size == [50, 30]
    again = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA"))
    seen = np.asarray(image)[..., 3] > 0  # WebP forgets the colour of what nobody sees
    assert (again[seen] == np.asarray(image)[seen]).all()


def test_code_can_be_folded_and_says_how_long_it_took(page):
    record, node, _ = page
    text = pages.notebook_page(node, {**record, "cells": []})
    count = sum(cell.cell_type == "code" for cell in node.cells)
    assert text.count('<details class="code" open="">') == count
    assert 'type="checkbox" id="fold-code"' in text and "code · " not in text
    record["cells"] = [{"id": node.cells[1]["id"], "seconds": 2.345}]
    assert "code · 2.3 s</summary>" in pages.notebook_page(node, record)


def test_headings_are_no_links_and_stay_whole(page):
    record, node, _ = page
    node.cells[0].source = "# A\n\n## What *this* `is` & <b>was</b>\n\ntext\n\n## References"
    text = pages.notebook_page(node, record)
    assert '<h2 id="References">References</h2>' in text
    assert '<a href="#What-this-is-&amp;-was">What this is &amp; was</a>' in text


def test_a_hostile_notebook_is_shown_without_what_runs_or_loads(page):
    record, node, _ = page
    add_hostile_cells(node)
    text = pages.notebook_page(node, record)
    assert all(address.startswith("data:") for address in Addresses(text).found)
    tags = Addresses(text).tags
    assert not {"script", "iframe", "object", "embed", "form", "svg", "base"} & set(tags)
    attributes = Addresses(text).attributes
    assert not [name for name, _ in attributes if name.startswith("on")]
    assert not [v for name, v in attributes if name == "href" and "script" in v]
    assert "a plain text" in text and "the widget as text" in text and "Shown." in text
    assert "<mfrac>" in text.partition("LaTeX follows")[2]
    # What a cell leaves open is closed in it, so the next is seen.
    assert "</table>" in text.partition("left open")[2].partition("after it")[0]


def test_a_table_from_markdown_can_be_scrolled_by_keyboard(page):
    record, node, _ = page
    node.cells[0].source += "\n\n| a | b |\n|---|--:|\n| 1 | 2 |"
    text = pages.notebook_page(node, record)
    assert '<div class="scroll" tabindex="0"><table>' in text and "text-align:right" in text


def test_what_a_person_typed_is_escaped(page):
    record, node, _ = page
    record["parameters"] = {"data": "<script>alert(1)</script>"}
    record["error"] = "<img src=x onerror=alert(1)>"
    for text in (pages.index_page([(record, node)]), pages.notebook_page(node, record)):
        assert "<script>" not in text and "<img src=x" not in text
