"""Claims, and their table for three readers."""

from __future__ import annotations

import dataclasses
import math
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from overparam.core.claims import Claim, VerdictTable
from tests.conftest import refuses, unchecked
from tests.toys import claim


def text(table, width=200, **console):
    printer = Console(width=width, **console)
    with printer.capture() as capture:
        printer.print(table)
    return capture.get()


# --- Claims -----------------------------------------------------------------------------------------------------


def test_a_claim_cannot_be_changed_after_the_run():
    with pytest.raises(dataclasses.FrozenInstanceError):
        claim().holds = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "exception", "match"),
    [
        ({"measured": torch.tensor(1.0)}, TypeError, r"claim slope: measured must be a float, got tensor\(1\.\)"),
        ({"measured": "1.0"}, TypeError, "measured must be a float, got '1.0'"),
        ({"measured": None, "holds": False}, TypeError, "measured must be a float, got None"),
        ({"measured": 1j}, TypeError, "measured must be a float, got 1j"),
        ({"holds": torch.tensor(True)}, TypeError, r"claim slope: holds must be a bool, got tensor\(True\)"),
        ({"holds": np.bool_(True)}, TypeError, "holds must be a bool"),
        ({"holds": 1}, TypeError, "holds must be a bool, got 1"),
        ({"measured": math.nan}, ValueError, "claim slope cannot hold: what it measured is nan"),
        ({"measured": np.float32(math.nan)}, ValueError, "cannot hold"),
        ({"limits": (2.0, 3.0)}, ValueError, r"claim slope cannot hold: 1\.5 is outside \(2\.0, 3\.0\)"),
        ({"limits": (0.0, 1.0)}, ValueError, r"claim slope cannot hold: 1\.5 is outside \(0\.0, 1\.0\)"),
        ({"limits": (2.0, 1.0)}, ValueError, r"limits must be the lower and the upper one, got \(2\.0, 1\.0\)"),
        ({"limits": (math.nan, 1.0)}, ValueError, r"limits must be the lower and the upper one, got \(nan, 1\.0\)"),
    ],
)
def test_a_claim_is_a_number_and_a_verdict_and_never_holds_with_nan(fields, exception, match):
    with refuses(exception, match=match):
        claim(**fields)


def test_a_claim_may_fail_inside_its_limits_and_hold_on_their_edge():
    assert not claim(holds=False, limits=(1.0, 2.0)).holds  # the bound asked for something else as well
    assert claim(2.0, limits=(1.0, 2.0)).holds
    assert claim(-math.inf, limits=(-math.inf, 0.0)).holds


@pytest.mark.parametrize("measured", [3, np.float32(3), np.float64(3), np.int64(3)])
def test_any_real_number_becomes_a_float_that_json_can_hold(measured):
    with unchecked():
        assert type(claim(measured).measured) is float


def test_the_verdict_in_words_says_that_a_failure_is_one():
    assert [claim(holds=holds).verdict for holds in (True, False)] == ["holds", "not reproduced"]
    assert claim(math.nan, holds=False).verdict == "not reproduced"


# --- The verdict table ------------------------------------------------------------------------------------------


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_the_plain_table_is_the_same_whatever_was_measured(one, other):
    assert str(VerdictTable([claim(one)])) == str(VerdictTable([claim(other)]))


def test_the_plain_table_has_id_verdict_and_bound_in_columns():
    table = VerdictTable([claim(name="a"), claim(name="longer", holds=False, bound="below 3")])
    assert str(table).splitlines() == [
        "a       holds           slope in [1, 2]",
        "longer  not reproduced  below 3",
    ]
    assert str(VerdictTable([])) == ""


class Cells(HTMLParser):
    """The cells' texts, and every tag that a browser would see."""

    def __init__(self, source):
        super().__init__()
        self.cells, self.tags = [], set()
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data.strip()


def test_html_from_a_claim_is_text_not_markup():
    nasty = Claim("a<b>", 'x < y & "z"<script>', 2.0, False, "<img src=x>", "</td><td>")
    seen = Cells(VerdictTable([nasty])._repr_html_())
    assert seen.tags <= {"table", "thead", "tbody", "tr", "th", "td", "code", "br", "span"}
    row = seen.cells[5:]
    assert row == ['a<b>x < y & "z"<script>', "✗not reproduced", "2", "<img src=x>", "</td><td>"]


def test_a_terminal_shows_the_number_and_the_whole_bound_even_where_it_looks_like_markup():
    bounds = ["rate in [low, high]", "x [/b] y", "in [1, 2]", "a :smile: b"]
    shown = text(VerdictTable([claim(0.123456, name=f"[id{i}]", bound=b) for i, b in enumerate(bounds)]))
    for i, bound in enumerate(bounds):
        assert f"[id{i}]" in shown
        assert bound in shown
    assert shown.count("✓ holds  0.123") == 4


def test_a_terminal_shows_verdicts_in_colour_unless_no_color_is_set():
    table = VerdictTable([claim(), claim(holds=False)])
    assert "\x1b[32m✓" in text(table, force_terminal=True, color_system="standard", _environ={})
    assert "\x1b[31m✗" in text(table, force_terminal=True, color_system="standard", _environ={})
    plain = text(table, force_terminal=True, color_system="standard", _environ={"NO_COLOR": "1"})
    assert "\x1b[3" not in plain
