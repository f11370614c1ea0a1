"""How sure a result is: intervals for means and accuracies, and tests for paired differences.

SciPy does the arithmetic; these functions put its answers into the few shapes that comparing
models needs.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """An estimate and the confidence interval around it."""

    estimate: float
    low: float
    high: float

    def __str__(self):
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"


def mean_interval(values, confidence=0.95):
    """Return the mean of independent values and Student's t interval for it.

    For a difference between two settings run with the same seeds, give the paired differences:
    what both have in common cancels, and the interval becomes narrower.

    Example:

    >>> print(mean_interval([97.8, 98.0, 97.9]))
    97.9 [97.65, 98.15]

    Args:
        values: 1-D, at least two numbers, for example one test accuracy for each seed.
        confidence: the share of such intervals that would contain the true mean.

    Raises:
        ValueError: for fewer than two values, or a confidence outside (0, 1).

    Reference: Student (1908), "The probable error of a mean".
    """
    values = _vector(values, at_least=2)
    _check_confidence(confidence)
    half = stats.sem(values) * stats.t.ppf(0.5 + confidence / 2, len(values) - 1)
    mean = values.mean()
    return Interval(float(mean), float(mean - half), float(mean + half))


def proportion_interval(correct, total, confidence=0.95):
    """Return a share such as an accuracy, and Wilson's interval that `total` trials allow.

    This is the uncertainty that a finite test set leaves, whatever the seed.

    Example:

    >>> print(proportion_interval(9790, 10_000))
    0.979 [0.976, 0.9816]

    Args:
        correct: how many of the trials succeeded.
        total: how many trials there were.
        confidence: the share of such intervals that would contain the true share.

    Raises:
        ValueError: unless 0 <= correct <= total and total >= 1.

    Reference: Wilson (1927), "Probable inference, the law of succession, and statistical
    inference"; `scipy.stats.binomtest`.
    """
    correct, total = int(correct), int(total)
    if total < 1 or not 0 <= correct <= total:
        raise ValueError(f"Expected 0 <= correct <= total, received {correct} of {total}.")
    _check_confidence(confidence)
    interval = stats.binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return Interval(correct / total, float(interval.low), float(interval.high))


def mcnemar(correct_a, correct_b):
    """Return the exact p-value that two classifiers err equally often on the same examples.

    Only the examples on which exactly one of them is right say anything about the difference.

    Example:

    >>> mcnemar([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0])
    0.0625

    Args:
        correct_a, correct_b: 1-D, for each example whether the classifier was right.

    Returns:
        A float: small when such a difference would be rare between equal classifiers, and 1.0
        when they never disagree.

    Raises:
        ValueError: for different lengths, or values other than 0 and 1.

    Reference: McNemar (1947), "Note on the sampling error of the difference between correlated
    proportions or percentages".
    """
    a, b = _vector(correct_a), _vector(correct_b)
    if a.shape != b.shape:
        raise ValueError(f"Expected two vectors of one length, received {len(a)} and {len(b)}.")
    if not np.isin(a, (0, 1)).all() or not np.isin(b, (0, 1)).all():
        raise ValueError("Expected only 0 (wrong) and 1 (right).")
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def paired_bootstrap(a, b, confidence=0.95, resamples=9_999, seed=0):
    """Return the mean of a - b over the same examples, and its bootstrap interval.

    Examples are drawn again with replacement, each with both of its values. It asks nothing of
    the distribution, so it also serves losses, which are far from normal.

    Example:

    >>> difference = paired_bootstrap([0.2, 0.4, 0.1, 0.3], [0.1, 0.2, 0.1, 0.1])
    >>> round(difference.estimate, 3)
    0.125

    Args:
        a, b: 1-D, one value for each example, in the same order; at least two.
        confidence: the share of such intervals that would contain the true difference.
        resamples: how many times the examples are drawn again.
        seed: seeds the draws.

    Raises:
        ValueError: for different lengths, fewer than two examples, or a confidence outside (0, 1).

    Reference: Efron and Tibshirani (1993), "An introduction to the bootstrap", percentile
    interval; `scipy.stats.bootstrap`.
    """
    a, b = _vector(a, at_least=2), _vector(b, at_least=2)
    if a.shape != b.shape:
        raise ValueError(f"Expected two vectors of one length, received {len(a)} and {len(b)}.")
    _check_confidence(confidence)
    difference = a - b
    mean = float(difference.mean())
    if np.ptp(difference) == 0:  # every resample is the same
        return Interval(mean, mean, mean)
    interval = stats.bootstrap(
        (difference,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, 2_000_000 // len(difference)),  # bounds memory for long vectors
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(interval.low), float(interval.high))


def _vector(values, at_least=1):
    values = np.asarray(values, dtype="float64")
    if values.ndim != 1 or len(values) < at_least:
        raise ValueError(
            f"Expected a 1-D array of at least {at_least} value{'s' * (at_least > 1)}, "
            f"received shape {values.shape}."
        )
    return values


def _check_confidence(confidence):
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, received {confidence!r}.")
