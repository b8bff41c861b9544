"""The checks of the public boundary against the ranges that their names state."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overparam.core import checks
from tests.conftest import refuses, unchecked

numbers = st.floats() | st.integers(-5, 5)
NAN, INF = math.nan, math.inf


def accepts(check, *args, **kwargs):
    try:
        check(*args, **kwargs)
    except ValueError:
        return False
    return True


@given(numbers)
def test_positive_accepts_the_open_half_line(value):
    assert accepts(checks.positive, x=value) is (0 < value < INF)


@given(st.lists(numbers), numbers)
def test_positive_arrays_come_back_as_float64_or_not_at_all(vector, number):
    fit = all(0 < value < INF for value in (*vector, number))
    assert accepts(checks.positive_arrays, x=vector, y=number) is fit
    if fit:
        x, y = checks.positive_arrays(x=vector, y=number)
        assert (x.dtype, y.dtype, x.tolist(), y.tolist()) == (np.float64, np.float64, vector, number)


@given(numbers)
def test_non_negative_accepts_the_closed_half_line(value):
    assert accepts(checks.non_negative, x=value) is (0 <= value < INF)


@given(numbers, st.booleans())
def test_a_probability_lies_in_the_unit_interval_whose_end_can_be_left_out(value, below_one):
    expected = 0 <= value < 1 if below_one else 0 <= value <= 1
    assert accepts(checks.probability, below_one=below_one, x=value) is expected


@given(minimum=st.integers(-3, 3), value=st.integers(-5, 5))
def test_an_integer_is_at_least_the_minimum_whoever_made_it(minimum, value):
    assert accepts(checks.integer, minimum, x=value) is (value in range(minimum, 6))
    with unchecked():
        assert accepts(checks.integer, minimum, x=np.int32(value)) is (value in range(minimum, 6))


@pytest.mark.parametrize("value", [1.0, True, "1", None, np.float64(1)])
def test_what_is_not_an_integer_is_refused_even_if_it_equals_one(value):
    with refuses(ValueError, match=r"x must be an integer of at least 0, got "):
        checks.integer(0, x=value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: checks.positive(good=1.0, lr=-0.5), "lr must be positive and finite, got -0.5"),
        (lambda: checks.positive(lr=NAN), "lr must be positive and finite, got nan"),
        (lambda: checks.positive_arrays(N=1, D=[[3, 2], [0, -1]]), "D must be positive and finite, got 0.0"),
        (lambda: checks.non_negative(wd=-INF), "wd must be finite and at least 0, got -inf"),
        (lambda: checks.integer(2, good=2, k=1), "k must be an integer of at least 2, got 1"),
        (lambda: checks.probability(rate=1.5), r"rate must lie in \[0, 1\], got 1.5"),
        (lambda: checks.probability(below_one=True, p=1), r"p must lie in \[0, 1\), got 1"),
        (lambda: checks.one_of(("a", "b"), kind="c"), "kind must be one of a, b, got 'c'"),
        (lambda: checks.increasing(n=()), r"n must have at least 1 entry, each above the last, got \(\)"),
        (
            lambda: checks.increasing(least=2, n=(1,)),
            r"n must have at least 2 entries, each above the last, got \(1,\)",
        ),
        (lambda: checks.decreasing(n=(1, 2)), r"n must have at least 1 entry, each below the last, got \(1, 2\)"),
    ],
)
def test_a_refusal_names_the_value_and_what_was_expected(call, message):
    with refuses(ValueError, match=f"^{message}$"):
        call()


def test_one_of_accepts_its_choices():
    checks.one_of(("a", "b"), x="a", y="b")


@given(values=st.lists(st.integers(0, 4), max_size=5), least=st.integers(0, 3))
def test_increasing_and_decreasing_are_strict_order_of_enough_entries(values, least):
    in_order = len(values) >= least and values == sorted(set(values))
    assert accepts(checks.increasing, least=least, x=values) is in_order
    assert accepts(checks.decreasing, least=least, x=values[::-1]) is in_order


def test_nan_is_above_and_below_nothing():
    assert not accepts(checks.increasing, x=(1.0, NAN))
    assert not accepts(checks.decreasing, x=(NAN, 1.0))
