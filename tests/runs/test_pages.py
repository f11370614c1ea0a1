import re
from html.parser import HTMLParser

import nbformat
import pytest

from kerasaid.runs import execute, notebooks, pages


@pytest.fixture
def page(collection, tmp_path):
    """The page of a run with a formula, a picture and a link."""
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
        self.found, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
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
    order = re.findall(r"<td>(solid|fragile|broken|relative|exact)</td>", text)
    assert order == ["broken", "fragile", "relative", "solid", "exact"]


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


def test_a_seed_that_diverged_does_not_break_the_index(page):
    record, node, _ = page
    record["metrics"] = [
        {"name": "loss", "value": "nan", "unit": "", "seeds": [0.5, "nan", 0.25]},
        {"name": "worse", "value": "nan", "unit": "", "seeds": ["nan"]},
    ]
    text = pages.index_page([(record, node)])
    assert "0.25" in text and "nan" in text


def test_what_a_person_typed_is_escaped(page):
    record, node, _ = page
    record["parameters"] = {"data": "<script>alert(1)</script>"}
    record["error"] = "<img src=x onerror=alert(1)>"
    for text in (pages.index_page([(record, node)]), pages.notebook_page(node, record)):
        assert "<script>" not in text and "<img src=x" not in text
