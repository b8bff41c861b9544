"""The fits against exact laws and SciPy's regression."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress

from overparam.core import fits
from tests.conftest import refuses


@given(exponent=st.floats(-4, 4), factor=st.floats(1e-3, 1e3))
def test_the_slope_of_a_power_law_is_its_exponent(exponent, factor):
    x = np.geomspace(1, 1e4, 9)
    assert fits.loglog_slope(x, factor * x**exponent) == pytest.approx(exponent, abs=1e-9)


@given(rate=st.floats(1e-3, 1), start=st.floats(1e-2, 1e2))
def test_the_rate_of_an_exponential_is_its_rate_inside_the_window(rate, start):
    steps = np.arange(60) / rate / 3
    loss = start * np.exp(-rate * steps)
    floored = np.maximum(loss, 1e-6 * start)  # a floor of rounding, and a slow start
    floored[:3] = 3 * start
    assert fits.linear_rate(steps, floored, start, 2e-6 * start) == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize("make", [np.array, torch.tensor, list])
def test_noisy_samples_of_any_kind_have_the_slope_of_least_squares(make):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(1, 9, 20), rng.uniform(1, 9, 20)
    expected = linregress(np.log(x), np.log(y)).slope
    assert fits.loglog_slope(make(x.tolist()), make(y.tolist())) == pytest.approx(expected)
    expected = -linregress(x[y < 5], np.log(y[y < 5])).slope
    assert fits.linear_rate(make(x.tolist()), make(y.tolist()), 5.0, 0.0) == pytest.approx(expected)


def test_samples_outside_the_window_are_not_looked_at():
    loss = [math.inf, math.nan, 4.0, 2.0, 1.0, 0.0, -1.0]
    assert fits.linear_rate(range(7), loss, 4.0, 1.0) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: fits.loglog_slope([1, 2], [1, 2]), "at least 3 samples, got 2"),
        (lambda: fits.loglog_slope([1, 2, 3], [1, 2]), r"shapes \(3,\) and \(2,\)"),
        (lambda: fits.loglog_slope(np.ones((3, 1)), np.ones((3, 1))), r"\(3, 1\)"),
        (lambda: fits.loglog_slope([1, 2, 0], [1, 2, 3]), "x must be positive and finite, got 0"),
        (lambda: fits.loglog_slope([1, 2, 3], [1, math.inf, 3]), "y must be positive and finite, got inf"),
        (lambda: fits.loglog_slope([2, 2, 2], [1, 2, 3]), "must differ, got 3 samples at 0.69"),
        (lambda: fits.linear_rate([1, 1, 1], [3, 2, 1], 3, 1), "must differ, got 3 samples at 1"),
        (lambda: fits.linear_rate([1, 2, 3], [1, 0.5, 0.1], 1, 0.2), r"3 samples with loss in \[0.2, 1\], got 2"),
        (lambda: fits.linear_rate([1, 2, 3], [1, 0.5, 0], 1, 0), "loss must be positive and finite, got 0"),
    ],
)
def test_samples_that_have_no_slope_are_refused(call, match):
    with refuses(ValueError, match=match):
        call()


@pytest.mark.parametrize("make", [np.array, torch.tensor, list])
def test_rank_correlation_is_one_less_the_squared_differences_of_ranks(make):
    # Without ties Spearman's rho is 1 - 6 sum d^2 / (n (n^2 - 1)); here d = 0, 1, 2, 1.
    assert fits.rank_correlation(make([1.0, 20.0, 300.0, 7.0]), make([-1.0, 5.0, 2.0, 4.0])) == pytest.approx(0.4)


@pytest.mark.parametrize("nothing", [[2.0, 2.0, 2.0], [1.0], [], [1.0, math.nan, 2.0]])
def test_what_has_no_ranking_has_no_rank_correlation(nothing):
    assert math.isnan(fits.rank_correlation(nothing, list(range(len(nothing)))))
    assert math.isnan(fits.rank_correlation(list(range(len(nothing))), nothing))


def test_a_slope_that_is_refused_is_nan_for_a_claim():
    assert fits.slope_or_nan([1, 2, 4], [1, 4, 16]) == pytest.approx(2)
    assert math.isnan(fits.slope_or_nan([1, 2], [1, 4]))
    assert math.isnan(fits.slope_or_nan([1, 2, 4], [1, math.nan, 16]))
