"""Records that survive crashes, a full disk, NaN and each other."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overparam.core import records as records_module
from overparam.core.records import (
    ROOM,
    BrokenRecordError,
    TakenError,
    begun_path,
    place,
    plain,
    read_record,
    read_records,
    record_path,
    updating,
    write_atomically,
    write_record,
)
from tests import toys
from tests.toys import claim, record

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

    monkeypatch.setattr(*{"fsync": (records_module.os, "fsync"), "replace": (Path, "replace")}[failing], fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_process_killed_before_the_replacement_leaves_the_old_record_and_nothing_that_counts(tmp_path):
    path = write_record(tmp_path, record(digest="old"))
    kill = f"""
import dataclasses, os, pathlib
from overparam.core import records
def die(*_): os.kill(os.getpid(), {signal.SIGKILL:d})
pathlib.Path.replace = die
path = pathlib.Path({str(path)!r})
records.write_record(path.parents[2], dataclasses.replace(records.read_record(path), digest="new"))
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


@pytest.mark.parametrize("where", ["part/slug/seed-1.json", "part/other/seed-0.json", "other/slug/seed-0.json"])
def test_a_record_in_the_place_of_another_is_refused(tmp_path, where):
    (tmp_path / where).parent.mkdir(parents=True)
    (tmp_path / where).write_bytes(record().to_json())
    with pytest.raises(BrokenRecordError, match=rf"{where}: holds the record of part/slug/seed-0\.json"):
        read_record(tmp_path / where)


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


# --- Places -----------------------------------------------------------------------------------------------------


def test_a_place_is_held_by_one_at_a_time_and_free_again_afterwards(tmp_path):
    with place(tmp_path, "part/slug", 0, wait=False):
        with (
            pytest.raises(TakenError, match="part-slug-0 is being measured by another process"),
            place(tmp_path, "part/slug", 0, wait=False),
        ):
            pass
        with place(tmp_path, "part/slug", 1, wait=False), place(tmp_path, "part/other", 0, wait=False):
            pass
    with place(tmp_path, "part/slug", 0, wait=False):
        pass


def test_who_waits_for_a_place_gets_it_when_its_holder_is_killed(tmp_path):
    hold = f"""
import pathlib, time
from overparam.core import records
with records.place(pathlib.Path({str(tmp_path)!r}), "part/slug", 0):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TakenError), place(tmp_path, "part/slug", 0, wait=False):
            pass
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(write_record, tmp_path, record())
            time.sleep(0.2)
            assert not waiting.done()
            holder.kill()
            path = waiting.result(timeout=30)
    finally:
        holder.kill()
        holder.communicate()
    assert read_record(path) == record()
    assert list(path.parent.iterdir()) == [path]


def test_room_for_the_record_is_taken_before_the_work_and_given_back_after_it(tmp_path):
    begun = begun_path(tmp_path, "part/slug", 0)
    with place(tmp_path, "part/slug", 0) as put:
        assert begun.stat().st_blocks * 512 >= ROOM
        path = put(record())
        assert not begun.exists()
    assert path.read_bytes() == record().to_json()
    assert len(path.read_bytes()) < ROOM
    with pytest.raises(KeyError), place(tmp_path, "part/slug", 1):
        raise KeyError
    assert list(path.parent.iterdir()) == [path]


def test_a_record_larger_than_the_room_that_was_taken_is_written_all_the_same(tmp_path):
    large = record(config={"text": "x" * (2 * ROOM)})
    assert read_record(write_record(tmp_path, large)) == large


def test_what_a_killed_process_began_does_not_stand_in_the_way(tmp_path):
    begun = begun_path(tmp_path, "part/slug", 0)
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"x" * (2 * ROOM))
    path = write_record(tmp_path, record())
    assert read_record(path) == record()
    assert list(path.parent.iterdir()) == [path]


def test_updates_of_one_file_wait_for_each_other(tmp_path):
    path = tmp_path / "count"
    path.write_text("0")

    def add_one_slowly(_):
        with updating(path):
            count = int(path.read_text())
            time.sleep(0.01)
            write_atomically(path, str(count + 1).encode())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_one_slowly, range(12)))
    assert path.read_text() == "12"


def test_a_configuration_is_compared_as_a_record_holds_it(tmp_path):
    config = {"clip": math.inf, "dtype": torch.float64, "grid": (1, 2), "name": "x"}
    assert read_record(write_record(tmp_path, record(config=config))).config == plain(config)
    assert plain(config) == {"clip": "Infinity", "dtype": "torch.float64", "grid": [1, 2], "name": "x"}


def test_reading_and_writing_records_needs_no_torch():
    code = "import sys; from overparam.core import records; records._adapter(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=True)
