"""The ledger's statistics, against hand computation, scipy and numpy."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from overparam.core.ledger import distance, summarize, verdict, wilson
from tests.toys import claim, record


def row_of(records):
    return summarize(records)["chapters"]["part/slug"]


def claim_row(values, limits=(1.0, 2.0)):
    claims = [claim(v, holds=limits[0] <= v <= limits[1], limits=limits) for v in values]
    return row_of([record(c, seed=seed) for seed, c in enumerate(claims)])["claims"][0]


# --- One claim --------------------------------------------------------------------------------------------------


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(case):
    assert wilson(*case) == pytest.approx(binomtest(*case).proportion_ci(0.95, method="wilson"), abs=1e-12)


@pytest.mark.parametrize(
    ("passed", "seeds", "expected"),
    [
        (20, 20, "reproduced"),
        (24, 25, "reproduced"),
        (16, 16, "reproduced"),
        (15, 15, "fragile"),
        (2, 2, "fragile"),
        (19, 20, "fragile"),
        (23, 25, "fragile"),
        (10, 20, "fragile"),
        (9, 20, "not reproduced"),
        (0, 20, "not reproduced"),
        (0, 1, "not reproduced"),
        (90, 100, "reproduced"),
        (85, 100, "fragile"),
    ],
)
def test_a_claim_is_reproduced_when_seeds_leave_little_doubt_and_not_when_it_mostly_fails(passed, seeds, expected):
    assert verdict(passed, seeds) == expected
    records = [record(claim(1.0, holds=seed < passed), seed=seed) for seed in range(seeds)]
    assert row_of(records)["claims"][0]["verdict"] == expected


@pytest.mark.parametrize(
    ("measured", "limits", "expected"),
    [
        ([1, 2, 3, 4, 5], (0, math.inf), 1.5),  # the median 3, quartiles 2 and 4
        ([1, 2, 3, 4, 5], (-math.inf, 4), 0.5),
        ([1, 2, 3, 4, 5], (0, 4), 0.5),
        ([1, 2, 3, 4, 5], (4, math.inf), -0.5),
        ([1, 2], (1, 2), 1.0),
        ([3, 3, 3], (2, math.inf), math.inf),
        ([3, 3, 3], (3, 3), math.inf),
        ([3, 3, 3], (4, math.inf), -math.inf),
        ([3], (4, math.inf), -math.inf),
    ],
)
def test_the_distance_to_the_bound_is_counted_in_quartile_ranges_and_negative_beyond_it(measured, limits, expected):
    assert distance(measured, limits) == expected


def test_there_is_no_distance_without_a_limit_or_a_measurement():
    assert math.isnan(distance([1, 2], (-math.inf, math.inf)))
    assert math.isnan(distance([], (0, 1)))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_median_and_spread_are_numpys(values):
    row = claim_row(values)
    first, median, third = np.quantile(values, (0.25, 0.5, 0.75))
    assert row["measured"] == pytest.approx([min(values), median, max(values)], rel=1e-5, abs=1e-300)
    assert row["spread"] == pytest.approx(third - first, rel=1e-5, abs=1e-9)
    assert row["values"] == pytest.approx(values, rel=1e-5)
    assert row["held"] == [1 <= value <= 2 for value in values]
    assert row["passed"] == sum(row["held"])


@given(st.permutations([1.0, math.nan, 3.0, -math.inf]))
def test_a_seed_that_measured_nan_fails_but_does_not_garble_the_spread(order):
    records = [record(claim(m, holds=m > 0), seed=i) for i, m in enumerate(order)]
    row = row_of(records)["claims"][0]
    assert row["measured"] == [-math.inf, 1.0, 3.0]
    assert row["passed"] == 2
    np.testing.assert_array_equal(row["values"], order)


def test_the_spread_of_nothing_but_nan_is_nan():
    row = row_of([record(claim(math.nan, holds=False))])["claims"][0]
    assert all(math.isnan(value) for value in [*row["measured"], row["spread"], row["distance"]])
    assert len(row["measured"]) == 3


# --- The whole --------------------------------------------------------------------------------------------------


def test_the_summary_is_what_a_hand_computes():
    rows = [(0, 1.0, True, 2.0, 30), (1, 4.0, False, 5.0, 10), (2, 2.5, True, 9.0, 20)]
    records = [
        record(
            claim(m, holds=h, name="a", limits=(0.0, 3.0)),
            claim(-m, name="b"),
            seed=s,
            chapter="p/x",
            cpu_seconds=c,
            peak_memory=memory,
        )
        for s, m, h, c, memory in rows
    ]
    ledger = summarize([records[2], record(chapter="p/a"), records[0], records[1]])
    assert list(ledger) == ["chapters"]
    assert list(ledger["chapters"]) == ["p/a", "p/x"]
    row = ledger["chapters"]["p/x"]
    assert row["seeds"] == [0, 1, 2]
    assert row["cpu_seconds"] == 5.0
    assert row["peak_memory"] == 30
    assert (row["digest"], row["core"]) == ("d", "c")
    common = {"statement": "the loss falls like a power", "bound": "slope in [1, 2]", "source": "Theorem 1"}
    two_of_three, three_of_three = [0.20766, 0.938508], [0.438503, 1.0]
    assert row["claims"] == [
        {
            "id": "a",
            "passed": 2,
            "verdict": "fragile",
            "interval": two_of_three,
            "limits": [0.0, 3.0],
            "measured": [1.0, 2.5, 4.0],
            "spread": 1.5,
            "distance": pytest.approx(1 / 3, rel=1e-5),
            "values": [1.0, 4.0, 2.5],
            "held": [True, False, True],
            **common,
        },
        {
            "id": "b",
            "passed": 3,
            "verdict": "fragile",
            "interval": three_of_three,
            "limits": [-math.inf, math.inf],
            "measured": [-4.0, -2.5, -1.0],
            "spread": 1.5,
            "distance": pytest.approx(math.nan, nan_ok=True),
            "values": [-1.0, -4.0, -2.5],
            "held": [True, True, True],
            **common,
        },
    ]


def test_the_summary_says_which_seeds_ran_where():
    laptop, cluster = {"processor": "laptop"}, {"processor": "cluster"}
    records = [record(seed=seed, machine=cluster if seed == 1 else laptop) for seed in range(3)]
    where = {"versions": {"torch": "2"}, "device": "cpu"}
    assert row_of(records)["runs"] == [
        {"machine": laptop, "seeds": [0, 2], **where},
        {"machine": cluster, "seeds": [1], **where},
    ]


def test_no_records_make_an_empty_ledger():
    assert summarize([]) == {"chapters": {}}


def test_the_ledger_is_summarized_by_rules_that_need_no_torch():
    code = "import sys; from overparam.core import ledger; ledger.verdict(1, 1); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
