"""Verification that can be killed: what is finished stays, what is broken is left, what is stale is measured anew."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from overparam.core import chapters, verify
from overparam.core.claims import read_record, read_records, record_path, write_record
from tests import toys

COIN = "games/coin"


def content(directory):
    """Every record below a folder: its bytes and when it was last written."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.rglob("seed-*.json")}


def until(condition, seconds=60):
    """Wait for what another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


# --- Processes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "seeds"), [("kill -9", 3), ("Ctrl-C", 2)])
def test_a_verification_that_was_ended_goes_on_with_what_is_missing(tmp_path, end, seeds):
    package, log, records = toys.tree(tmp_path / "tree"), tmp_path / "log", tmp_path / "records"
    # Two threads around it, so that one thread in the workers is verify's own doing.
    environment = toys.environment(package, OMP_NUM_THREADS="2", TOY_LOG=str(log))
    command = [*toys.INTERRUPTIBLE, "verify", "coin", "--seeds", str(seeds), "--jobs", "1", "--records", str(records)]
    first = subprocess.Popen(
        command, cwd=tmp_path, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        until(lambda: list(records.rglob("seed-*.json")) or first.poll() is not None)
        delay = random.uniform(0, 2)
        time.sleep(delay)
        if end == "Ctrl-C":  # the terminal sends it to all in the foreground
            os.killpg(first.pid, signal.SIGINT)
            first.wait(60)
    finally:
        first.kill()  # its worker, if any, lives on, finishes its run and writes its record
    first.communicate()
    finished = content(records)
    assert finished, f"after {delay:.2f} s"
    second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    until(lambda: set((records / "games" / "coin").iterdir()) == set(content(records)))  # no temporary file is left
    there, broken = read_records(records)
    assert ([r.seed for r in there], broken) == ([*range(seeds)], [])
    assert finished.items() <= content(records).items(), f"after {delay:.2f} s"
    for path in finished:
        assert toys.runs(log).count(read_record(path).seed) == 1
    assert set(toys.runs(log)) == set(range(seeds))
    assert {tuple(line.split()[1:]) for line in log.read_text().splitlines()} == {("1", "1")}
    if end == "Ctrl-C":  # after kill -9 the worker that lived on may have added a record
        assert f"{seeds} records, {seeds - len(finished)} of them measured now" in second.stdout


# --- In this process --------------------------------------------------------------------------------------------


@pytest.fixture
def measured(toy_book, monkeypatch, tmp_path):
    """Workers run in this process, where they take no time; the seeds that they have measured so far."""
    monkeypatch.setenv(toys.LOG, str(tmp_path / "log"))
    monkeypatch.setattr(
        verify, "_in_own_process", lambda task: verify._main(task.chapter, str(task.seed), str(task.directory))
    )
    return lambda: toys.runs(tmp_path / "log")


def run_coin(directory, seeds=(0, 1), names=("coin",), **kwargs):
    return verify.verify([chapters.find(name) for name in names], seeds, directory, **kwargs)


def test_every_chapter_and_seed_is_measured_once_and_kept_with_what_it_took(measured, tmp_path):
    outcome = run_coin(tmp_path / "records", seeds=iter([2, 0]))
    assert sorted(measured()) == [0, 2]
    assert outcome.measured == 2
    assert (outcome.broken, outcome.failed) == ([], {})
    assert [(r.chapter, r.seed) for r in outcome.records] == [(COIN, 0), (COIN, 2)]
    for record in outcome.records:
        assert read_record(record_path(tmp_path / "records", COIN, record.seed)) == record
        assert record.config == {"tosses": 400, "bias": 0.5, "sides": [0.0, 1.0], "label": "coin", "seed": record.seed}
        assert record.digest == chapters.find("coin").digest()
        assert set(record.versions) == {"python", "overparam", "torch", "numpy"}
        assert record.versions["python"] == ".".join(map(str, sys.version_info[:3]))
        assert record.device == "cpu"
        assert record.cpu_seconds >= 0
        assert 2**20 < record.peak_memory < 2**40


def test_a_second_call_measures_only_the_seeds_that_are_new(measured, tmp_path):
    first = run_coin(tmp_path, seeds=[0, 1])
    before = content(tmp_path / "games")
    second = run_coin(tmp_path, seeds=[0, 1, 2])
    assert measured()[-1:] == [2]
    assert len(measured()) == 3
    assert second.measured == 1
    assert second.records[:2] == first.records
    assert before.items() <= content(tmp_path / "games").items()


def test_a_record_of_other_code_is_measured_anew_and_replaced(measured, tmp_path, toy_book):
    run_coin(tmp_path)
    stale = record_path(tmp_path, COIN, 1)
    write_record(tmp_path, dataclasses.replace(read_record(stale), digest="of older code"))
    outcome = run_coin(tmp_path)
    assert measured()[2:] == [1]
    assert outcome.measured == 1
    assert read_record(stale).digest == chapters.find("coin").digest()
    with (toy_book / "games" / "coin.py").open("a") as source:
        source.write("# a change\n")
    assert run_coin(tmp_path).measured == 2


def test_a_broken_record_is_reported_and_left_and_the_others_are_measured(measured, tmp_path):
    broken = record_path(tmp_path, COIN, 0)
    broken.parent.mkdir(parents=True)
    broken.write_text('{"half": ')
    outcome = run_coin(tmp_path)
    assert measured() == [1]
    assert [error.path for error in outcome.broken] == [broken]
    assert [r.seed for r in outcome.records] == [1]
    assert broken.read_text() == '{"half": '
    assert outcome.measured == 1


def test_a_chapter_that_fails_is_named_with_what_it_said_and_stops_no_other(measured, tmp_path):
    outcome = run_coin(tmp_path, names=["dice", "coin"])
    assert [(r.chapter, r.seed) for r in outcome.records] == [(COIN, 0), (COIN, 1)]
    assert {(task.chapter, task.seed): str(error) for task, error in outcome.failed.items()} == {
        ("games/dice", seed): f"die {seed} rolled off the table" for seed in (0, 1)
    }
    assert outcome.measured == 4
    assert not (tmp_path / "games" / "dice").exists()


def test_every_task_is_told_as_it_ends_kept_ones_first(measured, tmp_path):
    run_coin(tmp_path, seeds=[1])
    broken = record_path(tmp_path, COIN, 2)
    broken.write_text("")
    told = []
    run_coin(
        tmp_path, seeds=[0, 1, 2], names=["coin", "dice"], on_task=lambda task: told.append((task.chapter, task.seed))
    )
    assert told[:2] == [(COIN, 1), (COIN, 2)]
    assert sorted(told) == sorted((name, seed) for name in (COIN, "games/dice") for seed in (0, 1, 2))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; print('first line\\nthe reason', file=sys.stderr); sys.exit(3)", "^the reason$"),
        ("import os; os.kill(os.getpid(), 9)", "^the process ended with status -9$"),
    ],
)
def test_a_worker_that_dies_says_why_or_how(monkeypatch, tmp_path, code, said):
    worker = tmp_path / "worker"
    worker.write_text(f"#!{sys.executable}\n{code}\n")
    worker.chmod(0o755)
    monkeypatch.setattr(verify.sys, "executable", str(worker))
    with pytest.raises(RuntimeError, match=said):
        verify._in_own_process(verify.Task(COIN, 0, tmp_path))


def test_one_run_is_measured_with_its_result_and_where_it_ran(toy_book):
    coin = chapters.find("coin")
    config = coin.load().Config(tosses=50, seed=4)
    result, record = verify.measure(coin, config, device="auto")
    assert result.heads.shape == (50,)
    assert record.seed == 4
    assert record.config["tosses"] == 50
    share = result.heads.double().mean().item()
    assert [(c.id, c.measured) for c in record.claims] == [("fair", share)]
    assert json.loads(record.to_json())["device"] == record.device == "cpu"


def test_peak_memory_is_what_the_kernel_says():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc on this system")
    kernel = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    # A process that replaced a larger one in memory keeps that one's peak, so only the unit is certain.
    assert 0.98 < verify._peak_memory() / (kernel * 1024) < 50
