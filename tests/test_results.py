import configparser
import math
import re
from pathlib import Path

import numpy as np
import pytest

from kerasaid.results import claim, metric, show


@pytest.fixture
def shown(monkeypatch):
    """What is shown, as (text, record), in place of the cell's output."""
    found = []
    monkeypatch.setattr("kerasaid.results.show", lambda text, record: found.append((text, record)))
    return found


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (101_770, "", "n = 101770"),
        (np.int64(3), "images", "n = 3 images"),
        (True, "", "n = True"),
        ("adam", "", "n = adam"),
        (0.05812, "", "n ≈ 0.0581"),
        (np.float32(97.934), "%", "n ≈ 97.9 %"),
        (1234.5, "s", "n ≈ 1,234 s"),
        (3.2e-7, "", "n ≈ 3.20e-07"),
        (-0.5, "", "n ≈ -0.500"),
        ([97.8, 98.0, 97.9], "%", "n ≈ 97.90 ± 0.10 % over 3 seeds"),
        ([1.0, 1.0], "", "n ≈ 1.000 ± 0.000 over 2 seeds"),
        ([0.1, 0.1, 0.1], "", "n ≈ 0.100 ± 0.000 over 3 seeds"),  # sd of it: 1.7e-17
        (np.array(3), "", "n = 3"),
        ([0.5], "", "n ≈ 0.500"),
        ([100.0, 300.0], "", "n ≈ 200 ± 141 over 2 seeds"),
    ],
)
def test_metric_text(shown, value, unit, text):
    metric("n", value, unit)
    assert shown[0][0] == text


def test_metric_records_full_precision(shown):
    metric("accuracy", [0.1 + 0.2, 0.5], "%")
    record = shown[0][1]["metric"]
    assert record == {
        "name": "accuracy",
        "value": (0.1 + 0.2 + 0.5) / 2,
        "unit": "%",
        "seeds": [0.1 + 0.2, 0.5],
    }


@pytest.mark.parametrize("value", [[], [[1.0, 2.0]]])
def test_metric_refuses_other_shapes(value):
    with pytest.raises(ValueError, match="1-D array with one number for each seed"):
        metric("n", value)


@pytest.mark.parametrize(
    ("value", "bound", "mark"),
    [
        (0.03, {"at_least": 0.03}, "✓"),
        (0.029, {"at_least": 0.03}, "✗"),
        (0.03, {"at_most": 0.03}, "✓"),
        (0.031, {"at_most": 0.03}, "✗"),
        (math.nan, {"at_least": -1e9}, "✗"),
        (math.nan, {"at_most": 1e9}, "✗"),
        ([1.0, 3.0], {"at_least": 2}, "✓"),
        ([1.0, 2.9], {"at_least": 2}, "✗"),
        (0, {"at_most": 0}, "✓"),
        (1, {"at_most": 0}, "✗"),
    ],
)
def test_claim_mark(shown, value, bound, mark):
    claim("it holds", value, **bound)
    text, record = shown[0]
    assert text.startswith(f"{mark} it holds (")
    assert record["claim"]["holds"] == (mark == "✓")


def test_claim_text(shown):
    claim("one hidden layer beats logistic regression", 0.058, at_least=0.03)
    claim("faster", [2.0, 4.0], at_least=2, unit="×")
    assert shown[0][0] == "✓ one hidden layer beats logistic regression (≈ 0.0580, at least 0.03)"
    assert shown[1][0] == "✓ faster (≈ 3.0 ± 1.4 × over 2 seeds, at least 2 ×)"


def test_claim_margin_is_in_standard_deviations_over_seeds(shown):
    claim("c", [1.0, 2.0, 3.0], at_least=0)
    claim("c", [1.0, 2.0, 3.0], at_most=1)
    claim("c", 5.0, at_least=2, unit="s")
    margins = [(record["claim"]["margin"], record["claim"]["margin_unit"]) for _, record in shown]
    assert margins == [(2.0, "sd"), (-1.0, "sd"), (3.0, "s")]


def test_seeds_without_spread_have_no_margin_in_standard_deviations(shown):
    claim("c", [0.1, 0.1, 0.1], at_least=0)
    assert shown[0][1]["claim"]["margin_unit"] == ""
    assert shown[0][1]["claim"]["margin"] == pytest.approx(0.1)


@pytest.mark.parametrize("bounds", [{}, {"at_least": 1, "at_most": 2}])
def test_claim_needs_one_bound(bounds):
    with pytest.raises(ValueError, match="exactly one of at_least and at_most"):
        claim("c", 1.0, **bounds)


def test_outside_a_notebook_the_text_is_printed(capsys):
    show("✓ seen", {})
    assert capsys.readouterr().out == "✓ seen\n"


def sanitize(text):
    """Apply the rules of the sanitize file as nbval does."""
    path = Path(__file__).parent / "nbval_sanitize.cfg"
    assert path.read_bytes().isascii(), "nbval reads it in the platform's encoding"
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(path, encoding="ascii")
    assert len(parser.sections()) == 1
    for section in parser.sections():
        text = re.sub(parser[section]["regex"], parser[section]["replace"], text)
    return text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("accuracy ≈ 97.9 %", "accuracy ≈ 98 %"),
        ("n ≈ 97.90 ± 0.10 % over 3 seeds", "n ≈ 9.9 ± 1.2 % over 3 seeds"),
        ("n ≈ 1,234 s", "n ≈ 999 s"),
        ("✓ c (≈ 58, at least 3)", "✓ c (≈ 58.1, at least 3)"),
        ("n ≈ 3.20e-07", "n ≈ -0.500"),
        ("row ≈   9.1 %", "row ≈ 100.0 %"),
        ("it wrote ≈ “A cat.”", "it wrote ≈ “A dog,\nand 2 cats.”"),
        ("≈ “一只猫。” ≈ “a”", "≈ “一条狗。” ≈ “b”"),
    ],
)
def test_sanitize_leaves_out_machine_dependent_numbers(one, other):
    assert sanitize(one) == sanitize(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("✓ c (≈ 1, at least 0)", "✗ c (≈ 1, at least 0)"),
        ("✓ c (≈ 1, at least 0)", "✓ c (≈ 1, at least 0.5)"),
        ("n ≈ 1 %", "n ≈ 1 s"),
        ("n ≈ 1", "n ≈ nan"),
        ("n ≈ 1", "n = 1"),
        ("n = 1", "n = 2"),
        ("n ≈ 1 ± 1 over 5 seeds", "n ≈ 1 ± 1 over 3 seeds"),
        ("n ≈ 1 ± 1 over 5 seeds", "n ≈ 1"),
        ("a ≈ 1, b 2", "a ≈ 1, b 3"),
        ("it wrote “A cat.”", "it wrote “A dog.”"),
        ("≈ “a” 1", "≈ “a” 2"),
        ("≈ “a”\n≈ “b”", "≈ “a”"),
    ],
)
def test_sanitize_keeps_all_else(one, other):
    assert sanitize(one) != sanitize(other)
