"""Verification that can be killed: what is finished stays, what is broken is left, what is stale is measured anew."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from overparam.core import chapters, verify
from overparam.core.records import read_record, read_records, record_path, write_record
from tests import toys
from tests.conftest import fresh_registry

COIN = "games/coin"


def content(directory):
    """Every record below a folder: its bytes and when it was last written."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.rglob("seed-*.json")}


@pytest.fixture
def measured(toy_book, monkeypatch, tmp_path):
    """Workers run in this process, where they take no time; the seeds that they have measured so far."""
    monkeypatch.setenv(toys.LOG, str(tmp_path / "log"))
    monkeypatch.setattr(verify, "_in_own_process", verify._measure_task)
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
    assert outcome.measured == 2
    assert content(tmp_path).keys() == {record_path(tmp_path, COIN, seed) for seed in (0, 1)}


def test_every_task_is_told_as_it_ends_kept_ones_first(measured, tmp_path):
    run_coin(tmp_path, seeds=[1])
    broken = record_path(tmp_path, COIN, 2)
    broken.write_text("")
    told = {}
    run_coin(
        tmp_path,
        seeds=[0, 1, 2],
        names=["coin", "dice"],
        on_task=lambda task, how: told.update({(task.chapter, task.seed): str(how)}),
    )
    assert list(told)[:2] == [(COIN, 1), (COIN, 2)]
    assert told[COIN, 0] == verify.MEASURED
    assert told[COIN, 1] == verify.KEPT
    assert told[COIN, 2].startswith(f"broken record {broken}")
    assert {told["games/dice", seed] for seed in range(3)} == {f"die {seed} rolled off the table" for seed in range(3)}


def test_what_was_kept_for_want_of_change_is_told_from_what_was_not(measured, tmp_path, toy_book):
    run_coin(tmp_path, seeds=range(4))
    changes = {0: {"digest": "older"}, 1: {"core": "older"}, 2: {"config": {"tosses": 3}}}
    for seed, change in changes.items():
        old = read_record(record_path(tmp_path, COIN, seed))
        write_record(tmp_path, dataclasses.replace(old, **change))
    outcome = run_coin(tmp_path, seeds=range(4))
    assert {task.seed: reason for task, reason in outcome.outdated.items()} == {
        0: "another version of the chapter",
        1: "another version of overparam.core",
        2: "another configuration",
    }
    assert sorted(measured()[4:]) == [0, 1, 2]
    assert outcome.measured == 3
    assert run_coin(tmp_path, seeds=range(4)).outdated == {}


def test_a_record_that_somebody_else_makes_meanwhile_is_waited_for_and_kept(measured, tmp_path, monkeypatch):
    asked = []

    def taken_at_first(task):
        asked.append((task.seed, task.wait))
        return verify._measure_task(task) if task.wait or task.seed else verify.TAKEN

    monkeypatch.setattr(verify, "_in_own_process", taken_at_first)
    told = []
    outcome = run_coin(tmp_path, on_task=lambda task, how: told.append((task.seed, how)))
    assert asked == [(0, False), (1, False), (0, True)]
    assert told == [(1, verify.MEASURED), (0, verify.MEASURED)]
    assert [r.seed for r in outcome.records] == [0, 1]
    assert outcome.measured == 2


def test_a_source_that_is_edited_while_it_runs_leaves_no_record(measured, tmp_path, toy_book, monkeypatch):
    source = toy_book / "games" / "coin.py"
    coin = chapters.find("coin").load()
    run = coin.run

    def run_and_edit(*arguments, **keywords):
        source.write_text(source.read_text() + "# a change\n")
        return run(*arguments, **keywords)

    monkeypatch.setattr(coin, "run", run_and_edit)
    outcome = run_coin(tmp_path, seeds=[0])
    assert [str(error) for error in outcome.failed.values()] == ["the source of games/coin was changed while it ran"]
    assert content(tmp_path) == {}


def test_a_record_of_a_worker_with_other_code_does_not_count(measured, tmp_path, monkeypatch):
    def elsewhere(task):
        how = verify._measure_task(task)
        write_record(task.directory, dataclasses.replace(read_record(task.path), digest="of another checkout"))
        return how

    monkeypatch.setattr(verify, "_in_own_process", elsewhere)
    outcome = run_coin(tmp_path, seeds=[0])
    assert outcome.records == []
    assert [str(error) for error in outcome.failed.values()] == [
        "its worker ran another version of the code than this process"
    ]


def test_the_dearest_chapters_are_begun_first(measured, tmp_path, monkeypatch, toy_book):
    (toy_book / "games" / "penny.py").write_text(toys.CHAPTER)
    ledger = {"games/penny": {"cpu_seconds": 9.0}, COIN: {"cpu_seconds": 1.0}}
    monkeypatch.setattr(chapters, "ledger", lambda: ledger)
    begun = []
    monkeypatch.setattr(verify, "_in_own_process", lambda task: begun.append(task.chapter) or verify.KEPT)
    with fresh_registry():
        run_coin(tmp_path, names=["coin", "penny"])
    assert begun == ["games/penny"] * 2 + [COIN] * 2
    assert verify.expected_cpu_seconds()("games/unheard of") == 5.0


# --- Processes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["copy of a server", "interpreter"])
@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("raise ValueError('first line\\nthe reason')", "^the reason$"),
        ("raise ValueError", "^ValueError$"),
        ("os.kill(os.getpid(), 9)", "^the process ended with status -9$"),
    ],
)
def test_a_worker_that_dies_says_why_or_how(tmp_path, action, said, kind):
    package = toys.tree(tmp_path / "tree")
    coin = package / "games" / "coin.py"
    coin.write_text(coin.read_text().replace("    heads = ", f"    {action}\n    heads = "))
    way = "_in_own_process" if kind == "copy of a server" else "_in_own_interpreter"
    code = f"from overparam.core import verify, records; verify.{way}(verify.Task({COIN!r}, 0, {str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=toys.environment(package),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1].removeprefix("RuntimeError: ")
    assert re.search(said, last), done.stderr


def test_the_same_record_is_made_on_threads_in_interpreters_and_on_a_dask_cluster(tmp_path):
    package = toys.tree(tmp_path / "tree")
    code = f"""
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from overparam.core import chapters, verify

def main():
    coin = [chapters.find("coin")]
    kinds = dict(threads=ThreadPoolExecutor(2), processes=ProcessPoolExecutor(2))
    for name, executor in kinds.items():
        with executor:
            outcome = verify.verify(coin, range(2), Path({str(tmp_path)!r}) / name, executor=executor)
            assert not outcome.failed, (name, outcome.failed)
    with verify.dask_executor("local", 2) as executor:
        assert verify.verify(coin, range(2), Path({str(tmp_path)!r}) / "dask", executor=executor).measured == 2

if __name__ == "__main__":
    main()
"""
    program = tmp_path / "program.py"
    program.write_text(code)
    environment = toys.environment(package, OMP_NUM_THREADS="2")
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = {name: read_records(tmp_path / name) for name in ("threads", "processes", "dask")}
    for records, broken in made.values():
        assert broken == []
        assert [(r.seed, r.claims, r.digest) for r in records] == [
            (r.seed, r.claims, r.digest) for r in made["threads"][0]
        ]
        assert len(records) == 2


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
