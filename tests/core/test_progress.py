"""The progress bar: it changes nothing, says what it counts, and can be silenced."""

from __future__ import annotations

import pytest

from overparam.core import progress


@pytest.fixture(autouse=True)
def loud(monkeypatch):
    monkeypatch.delenv(progress.QUIET, raising=False)


@pytest.mark.parametrize("shown", [True, False])
def test_every_item_comes_through_once_and_in_order(shown):
    assert list(progress.track(iter(range(5)), shown, "items")) == [0, 1, 2, 3, 4]


def test_the_bar_goes_to_stderr_and_says_what_it_counts(capsys):
    list(progress.track(range(3), True, "three things"))
    assert "three things" in (said := capsys.readouterr()).err
    assert said.out == ""


def test_a_bar_that_is_not_asked_for_or_is_silenced_from_outside_prints_nothing(capsys, monkeypatch):
    list(progress.track(range(3), False, "three things"))
    monkeypatch.setenv(progress.QUIET, "")
    list(progress.track(range(3), True, "three things"))
    assert capsys.readouterr() == ("", "")
