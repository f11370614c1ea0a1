import math

import numpy as np
import pytest
from scipy import stats

from kerasaid.statistics import mcnemar, mean_interval, paired_bootstrap, proportion_interval


def test_mean_interval_is_scipys_t_interval():
    values = np.random.default_rng(0).normal(3, 2, 7)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = mean_interval(values, confidence=0.9)
    assert np.allclose((found.low, found.high), (expected.low, expected.high))
    assert found.estimate == pytest.approx(values.mean())


def test_mean_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(size=(2000, 5))
    covered = [low <= 0 <= high for _, low, high in map(mean_interval, draws)]
    assert 0.93 < np.mean(covered) < 0.97


def test_proportion_interval_is_wilsons_formula():
    n, k, z = 10_000, 9_790, stats.norm.ppf(0.975)
    p = k / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    found = proportion_interval(k, n)
    assert np.allclose((found.low, found.high), (centre - half, centre + half))
    assert found.estimate == p


@pytest.mark.parametrize(("correct", "total"), [(0, 10), (10, 10)])
def test_proportion_interval_stays_within_0_and_1_at_the_edges(correct, total):
    found = proportion_interval(correct, total)
    assert 0 <= found.low < found.high <= 1


@pytest.mark.parametrize(("correct", "total"), [(-1, 10), (11, 10), (0, 0)])
def test_proportion_interval_refuses_impossible_counts(correct, total):
    with pytest.raises(ValueError, match=f"received {correct} of {total}"):
        proportion_interval(correct, total)


def test_mcnemar_is_the_binomial_sum():
    a = np.array([1] * 12 + [0] * 4 + [1] * 50 + [0] * 9)
    b = np.array([0] * 12 + [1] * 4 + [1] * 50 + [0] * 9)
    expected = 2 * sum(math.comb(16, k) for k in range(5)) / 2**16
    assert mcnemar(a, b) == pytest.approx(expected)
    assert mcnemar(b, a) == pytest.approx(expected)


def test_mcnemar_without_disagreement_is_one():
    assert mcnemar([1, 0, 1], [1, 0, 1]) == 1.0


def test_mcnemar_refuses_what_is_not_right_or_wrong():
    with pytest.raises(ValueError, match=r"0 .wrong. and 1 .right."):
        mcnemar([1, 2], [1, 0])
    with pytest.raises(ValueError, match="received 2 and 3"):
        mcnemar([1, 0], [1, 0, 1])


def test_paired_bootstrap_agrees_with_the_t_interval_on_normal_data():
    rng = np.random.default_rng(2)
    common = rng.normal(0, 10, 400)
    a, b = common + rng.normal(0.5, 1, 400), common + rng.normal(0, 1, 400)
    found, expected = paired_bootstrap(a, b), mean_interval(a - b)
    assert np.allclose(found, expected, atol=0.03)


def test_paired_bootstrap_is_repeatable_and_follows_its_seed():
    a, b = np.random.default_rng(3).normal(size=(2, 50))
    assert paired_bootstrap(a, b) == paired_bootstrap(a, b)
    assert paired_bootstrap(a, b) != paired_bootstrap(a, b, seed=1)


def test_paired_bootstrap_of_a_constant_difference():
    assert tuple(paired_bootstrap([1.0, 2.0], [0.5, 1.5])) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_interval([1.0]),
        lambda: mean_interval([[1.0, 2.0]]),
        lambda: mean_interval([1.0, 2.0], confidence=95),
        lambda: paired_bootstrap([1.0, 2.0], [1.0]),
        lambda: paired_bootstrap([1.0, 2.0], [1.0, 2.0, 3.0]),
    ],
)
def test_what_cannot_be_computed_is_refused(call):
    with pytest.raises(ValueError, match="received"):
        call()
