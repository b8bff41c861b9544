"""Claims, their table for three readers, and records that survive crashes, NaN and each other."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from overparam.core import claims as claims_module
from overparam.core.claims import (
    BrokenRecordError,
    Claim,
    Record,
    VerdictTable,
    read_record,
    read_records,
    record_path,
    summarize,
    write_atomically,
    write_record,
)
from tests import toys
from tests.conftest import refuses, unchecked


def claim(measured=1.5, holds=True, name="slope", bound="slope in [1, 2]", **limits):
    return Claim(name, "the loss falls like a power", measured, holds, bound, "Theorem 1", **limits)


def record(*claims, seed=0, chapter="part/slug", **changes):
    fields = {"config": {"lr": 0.1}, "digest": "d", "versions": {"torch": "2"}, "device": "cpu"}
    return Record(chapter, seed, claims or (claim(),), **{**fields, "cpu_seconds": 1.0, "peak_memory": 100, **changes})


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
        assert json.loads(record(claim(measured)).to_json())["claims"][0]["measured"] == 3.0


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


# --- Records ----------------------------------------------------------------------------------------------------

names = st.text("abc_", min_size=1, max_size=5)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def as_strings(value):
    """What plain JSON has no room for, as the record writes it."""
    if isinstance(value, dict):
        return {key: as_strings(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_strings(inner) for inner in value]
    return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, value) if type(value) is float else value


@given(
    part=names,
    slug=names,
    seed=st.integers(0, 10**9),
    measured=st.floats(allow_nan=False),
    config=st.dictionaries(st.text(), anything, max_size=4),
    words=st.text(),
)
def test_a_record_comes_back_as_it_was_written(tmp_path_factory, part, slug, seed, measured, config, words):
    directory = tmp_path_factory.mktemp("records")
    written = record(claim(measured, bound=words), seed=seed, chapter=f"{part}/{slug}", config=config)
    path = write_record(directory, written)
    assert path == directory / part / slug / f"seed-{seed}.json"
    assert read_record(path) == dataclasses.replace(written, config=as_strings(config))


def test_nan_and_infinities_come_back_and_the_file_is_plain_json(tmp_path):
    values = [math.nan, math.inf, -math.inf]
    claims = [claim(value, holds=False, name=str(value)) for value in values]
    path = write_record(tmp_path, record(*claims, config={"clip": math.inf, "dtype": torch.float64, "grid": (1, 2)}))
    np.testing.assert_array_equal([c.measured for c in read_record(path).claims], values)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    config = json.loads(path.read_text(), parse_constant=refuse)["config"]
    assert config == {"clip": "Infinity", "dtype": "torch.float64", "grid": [1, 2]}


def test_a_record_can_be_replaced_by_a_newer_one(tmp_path):
    for digest in ("old", "new"):
        path = write_record(tmp_path, record(digest=digest))
    assert read_record(path).digest == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_before_the_replacement_leaves_the_old_file_and_no_temporary_one(
    tmp_path, monkeypatch, failing, error
):
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(*{"fsync": (claims_module.os, "fsync"), "replace": (Path, "replace")}[failing], fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_process_killed_before_the_replacement_leaves_the_old_record_and_nothing_that_counts(tmp_path):
    path = write_record(tmp_path, record(digest="old"))
    kill = f"""
import dataclasses, os, pathlib
from overparam.core import claims
def die(*_): os.kill(os.getpid(), {signal.SIGKILL:d})
pathlib.Path.replace = die
path = pathlib.Path({str(path)!r})
claims.write_record(path.parents[2], dataclasses.replace(claims.read_record(path), digest="new"))
"""
    done = subprocess.run([sys.executable, "-c", kill], env=toys.environment(Path.cwd() / "x"), check=False)
    assert done.returncode == -signal.SIGKILL
    records, broken = read_records(tmp_path)
    assert [r.digest for r in records] == ["old"]
    assert broken == []
    assert read_record(write_record(tmp_path, record(digest="newer"))).digest == "newer"


def test_readers_never_see_half_a_file_while_it_is_replaced(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([letter]) * 100_000 for letter in b"ab"]
    write_atomically(path, contents[0])

    def replace_again_and_again():
        for i in range(40):
            write_atomically(path, contents[i % 2])

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(replace_again_and_again) for _ in range(2)]
        seen = {path.read_bytes()}
        while not all(writer.done() for writer in writers):
            seen.add(path.read_bytes())
    assert [writer.exception() for writer in writers] == [None, None]
    assert seen <= set(contents)
    assert list(tmp_path.iterdir()) == [path]


BROKEN = {
    "empty": "",
    "half": lambda good: good[: len(good) // 2],
    "no record": "[1, 2]",
    "no digest": lambda good: good.replace('"digest"', '"digset"'),
    "a claim that holds with nan": lambda good: good.replace("1.5", '"NaN"'),
    "no text": b"\xff\xfe{}",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_reported_by_name_never_overwritten_and_never_counted(tmp_path, kind):
    for seed in (0, 1):
        write_record(tmp_path, record(seed=seed))
    path = record_path(tmp_path, "part/slug", 1)
    content = BROKEN[kind](path.read_text()) if callable(BROKEN[kind]) else BROKEN[kind]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = path.read_bytes()
    with pytest.raises(BrokenRecordError, match=r"broken record .*part/slug/seed-1\.json: .") as caught:
        write_record(tmp_path, record(seed=1))
    assert "\n" not in str(caught.value)
    assert caught.value.path == path
    assert path.read_bytes() == before
    records, broken = read_records(tmp_path)
    assert [r.seed for r in records] == [0]
    assert [error.path for error in broken] == [path]
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize("place", ["part/slug/seed-1.json", "part/other/seed-0.json", "other/slug/seed-0.json"])
def test_a_record_in_the_place_of_another_is_refused(tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_bytes(record().to_json())
    with pytest.raises(BrokenRecordError, match=rf"{place}: holds the record of part/slug/seed-0\.json"):
        read_record(tmp_path / place)


def test_a_file_that_cannot_be_read_is_a_broken_record(tmp_path):
    path = record_path(tmp_path, "part/slug", 0)
    with pytest.raises(BrokenRecordError, match="No such file"):
        read_record(path)
    path.mkdir(parents=True)
    assert [error.path for error in read_records(tmp_path)[1]] == [path]


def test_records_are_read_by_chapter_and_seed_as_numbers_and_other_files_are_left_alone(tmp_path):
    for chapter, seed in (("b/b", 10), ("b/b", 9), ("a/c", 0)):
        write_record(tmp_path, record(seed=seed, chapter=chapter))
    (tmp_path / "b" / "b" / ".seed-11.json.abcdef").write_text("half a rec")
    (tmp_path / "b" / "b" / "notes.txt").write_text("mine")
    records, broken = read_records(tmp_path)
    assert [(r.chapter, r.seed) for r in records] == [("a/c", 0), ("b/b", 9), ("b/b", 10)]
    assert broken == []
    assert read_records(tmp_path / "nowhere") == ([], [])


# --- The ledger -------------------------------------------------------------------------------------------------


def test_the_summary_is_what_a_hand_computes():
    rows = [(0, 1.0, True, 2.0, 30), (1, 4.0, False, 5.0, 10), (2, 2.5, True, 9.0, 20)]
    records = [
        record(
            claim(m, holds=h, name="a"), claim(-m, name="b"), seed=s, chapter="p/x", cpu_seconds=c, peak_memory=memory
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
    assert (row["digest"], row["device"], row["versions"]) == ("d", "cpu", {"torch": "2"})
    common = {"statement": "the loss falls like a power", "bound": "slope in [1, 2]", "source": "Theorem 1"}
    assert row["claims"] == [
        {"id": "a", "passed": 2, "verdict": "fragile", "measured": [1.0, 2.5, 4.0], **common},
        {"id": "b", "passed": 3, "verdict": "holds", "measured": [-4.0, -2.5, -1.0], **common},
    ]


@pytest.mark.parametrize(
    ("passed", "verdict"), [(4, "holds"), (3, "fragile"), (2, "fragile"), (1, "not reproduced"), (0, "not reproduced")]
)
def test_the_verdict_over_seeds_follows_from_the_pass_rate_alone(passed, verdict):
    records = [record(claim(1.0, holds=seed < passed), seed=seed) for seed in range(4)]
    assert summarize(records)["chapters"]["part/slug"]["claims"][0]["verdict"] == verdict


@given(st.permutations([1.0, math.nan, 3.0, -math.inf]))
def test_a_seed_that_measured_nan_fails_but_does_not_garble_the_spread(order):
    records = [record(claim(m, holds=m > 0), seed=i) for i, m in enumerate(order)]
    row = summarize(records)["chapters"]["part/slug"]["claims"][0]
    assert row["measured"] == [-math.inf, 1.0, 3.0]
    assert row["passed"] == 2


def test_the_spread_of_nothing_but_nan_is_nan():
    row = summarize([record(claim(math.nan, holds=False))])["chapters"]["part/slug"]["claims"][0]
    assert all(math.isnan(value) for value in row["measured"])
    assert len(row["measured"]) == 3


def test_no_records_make_an_empty_ledger():
    assert summarize([]) == {"chapters": {}}


def test_reading_and_writing_records_needs_no_torch():
    code = "import sys; from overparam.core import claims; claims._adapter(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=True)
