"""Results that a test can compare and a report can read: metrics and claims.

What depends on the machine is printed after `≈`, and a test leaves that number out. What the
notebook teaches is a claim: its mark, ✓ or ✗, is compared. The full value, its bound and its
margin travel in the output's metadata, which a test does not compare and a report reads.
"""

import base64
import math

import numpy as np


def show(text, record, png=None):
    """Show text as a cell's output with a record in the output's metadata; print it elsewhere.

    Args:
        text: what a person reads, and a test compares.
        record: a dict that goes into the output's metadata under `kerasaid`.
        png: the bytes of a picture that is shown in the text's place where pictures can be seen;
            the text is then its alt text.
    """
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        get_ipython = None
    if get_ipython is None or get_ipython() is None:
        print(text)
        return
    data, metadata = {"text/plain": text}, {"kerasaid": finite(record)}
    if png is not None:
        data["image/png"] = base64.b64encode(png).decode("ascii")
        metadata["image/png"] = {"alt": text}
    display(data, raw=True, metadata=metadata)


def metric(name, value, unit=""):
    """Show a named result and record it at full precision.

    Whole numbers, booleans and text are exact: `parameters = 101770`. Any other number depends
    on the machine: `loss ≈ 0.0712`. Several values, one for each seed, are shown as their mean
    ± standard deviation: `test accuracy ≈ 97.93 ± 0.11 % over 5 seeds`.

    Example:

    >>> metric("test accuracy", [97.8, 98.0, 97.9], unit="%")
    test accuracy ≈ 97.90 ± 0.10 % over 3 seeds

    Args:
        name: what was measured.
        value: a number, text, or a 1-D array with one number for each seed.
        unit: the unit the value is given in, as `"%"` or `"s"`.

    Raises:
        ValueError: for an empty array or one with more than one dimension.
    """
    value, seeds = _split_seeds(value)
    record = {"name": name, "value": value, "unit": unit, "seeds": seeds}
    show(f"{name} {as_text(value, seeds, unit)}", {"metric": record})


def claim(statement, value, *, at_least=None, at_most=None, unit=""):
    """Show whether something the notebook teaches holds, and record by how much.

    The mark is what a test compares: a claim that stops holding fails it, while a learner who
    changed a parameter sees ✗ and goes on. Nothing is raised.

    Example:

    >>> claim("one hidden layer beats logistic regression", 0.058, at_least=0.03)
    ✓ one hidden layer beats logistic regression (≈ 0.0580, at least 0.03)

    Args:
        statement: the sentence that is claimed.
        value: a number, or a 1-D array with one number for each seed, of which the mean is
            held against the bound. For a difference, give the paired differences.
        at_least, at_most: the bound; exactly one of them.
        unit: the unit of value and bound.

    Raises:
        ValueError: without a bound or with two, or for an empty or 2-D value.
    """
    if (at_least is None) == (at_most is None):
        raise ValueError(f"claim({statement!r}) needs exactly one of at_least and at_most.")
    value, seeds = _split_seeds(value)
    bound = _plain(at_least if at_most is None else at_most)
    direction = "at_least" if at_most is None else "at_most"
    distance = value - bound if direction == "at_least" else bound - value
    holds = bool(distance >= 0)  # False for nan
    spread = _spread(seeds)
    margin, margin_unit = (distance / spread, "sd") if spread > 0 else (distance, unit)
    bound_text = str(bound) if _is_exact(bound) else f"{bound:g}"
    limit = f"{direction.replace('_', ' ')} {bound_text}{' ' * bool(unit)}{unit}"
    show(
        f"{'✓' if holds else '✗'} {statement} ({as_text(value, seeds, unit)}, {limit})",
        {
            "claim": {
                "statement": statement,
                "value": value,
                "unit": unit,
                "seeds": seeds,
                "bound": bound,
                "direction": direction,
                "margin": float(margin),
                "margin_unit": margin_unit,
                "holds": holds,
            }
        },
    )


def as_text(value, seeds=None, unit=""):
    """Return a recorded value as it is shown: `= 3`, `≈ 0.0581 s`, `≈ 67 ± 11 % over 5 seeds`."""
    if isinstance(value, str) or any(isinstance(seed, str) for seed in seeds or ()):
        return f"= {value} {unit}".rstrip()  # text, or nan as JSON holds it
    return f"{'=' if _is_exact(value) else '≈'} {_format(value, seeds, unit)}"


def _split_seeds(value):
    """Return (value, None), or (mean, values) where there is one value for each seed."""
    if isinstance(value, str):
        return value, None
    array = np.asarray(value)
    if array.ndim == 0:
        return _plain(array.item()), None
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"Expected a number or a 1-D array with one number for each seed, "
            f"received an array of shape {array.shape}."
        )
    return float(array.mean()), [float(v) for v in array]


def _plain(value):
    """Return a bool or int as it is, and any other number as a float."""
    return value if isinstance(value, (bool, int)) else float(value)


def _spread(seeds):
    """Return the standard deviation over seeds; 0.0 where it would be nothing but rounding."""
    if not seeds or len(seeds) < 2:
        return 0.0
    largest = max(map(abs, seeds))
    return 0.0 if np.ptp(seeds) <= 1e-12 * largest else float(np.std(seeds, ddof=1))


def finite(value):
    """Return a copy of a record in which nan and infinity, which JSON lacks, are text."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _is_exact(value):
    return isinstance(value, (bool, int, str))


def _format(value, seeds, unit):
    unit = f" {unit}" if unit else ""
    if _is_exact(value):
        return f"{value}{unit}"
    if seeds is None or len(seeds) == 1:
        return f"{_round(value)}{unit}"
    spread = _spread(seeds)
    # Two digits of the spread; the mean carries as many decimals as they do.
    decimals = max(0, 1 - math.floor(math.log10(spread))) if 0 < spread < math.inf else 3
    return f"{value:.{decimals}f} ± {spread:.{decimals}f}{unit} over {len(seeds)} seeds"


def _round(value):
    """Write a number with about three significant digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) < 1e-4:
        return f"{value:.2e}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
