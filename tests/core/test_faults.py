"""Verifications that are killed, that meet, and whose disk is full: each test really does it, at a random moment.

Whatever happens, what is finished stays as it was and is not done again, and a second call completes the rest: no
record is missing, doubled or torn.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from overparam.core.records import read_records
from tests import toys

SEEDS = 4
#: What a toy run takes, so that there is a moment at which to kill it.
SECONDS = 0.3


class Scene:
    """A folder with a package of toys, a log of their runs, and commands that verify them there."""

    def __init__(self, folder: Path):
        self.folder, self.log, self.records = folder, folder / "log", folder / "records"
        self.package = toys.tree(folder / "tree")
        # Two threads around it, so that one thread in the workers is verify's own doing.
        variables = {toys.LOG: str(self.log), toys.SECONDS: str(SECONDS), "OMP_NUM_THREADS": "2"}
        # Python itself would write its caches on the full disk, and read back what it could write.
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
        self.environment = toys.environment(self.package, **variables)
        self.started: list[subprocess.Popen] = []

    def command(self, *arguments, jobs=1):
        return [
            *toys.INTERRUPTIBLE,
            *("verify", "coin", "--seeds", str(SEEDS), "--jobs", str(jobs), "--records", str(self.records)),
            *map(str, arguments),
        ]

    def start(self, *arguments, jobs=1, **options):
        """Start to verify, in a process group of its own."""
        process = subprocess.Popen(
            self.command(*arguments, jobs=jobs),
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self.started.append(process)
        return process

    def run(self, command):
        """Run a command to its end, which must be a good one."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    def finish(self, jobs=1):
        """Verify again, to the end."""
        return self.run(self.command(jobs=jobs)).stdout

    def content(self):
        """Every record: its bytes and when it was last written."""
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in self.records.rglob("seed-*.json")}

    def seeds_of(self, content):
        return {int(path.stem.removeprefix("seed-")) for path in content}

    def all_is_there(self):
        """No record is missing, doubled or torn, and nothing else is left beside them."""
        there, broken = read_records(self.records)
        assert ([record.seed for record in there], broken) == ([*range(SEEDS)], [])
        assert {path.name for path in (self.records / "games" / "coin").iterdir()} == {
            f"seed-{seed}.json" for seed in range(SEEDS)
        }
        assert {tuple(line.split()[1:3]) for line in self.log.read_text().splitlines()} == {("1", "1")}

    def until(self, condition, seconds=180):
        """Wait for what another process does."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.005)

    def until_a_random_moment(self):
        """Wait for the first runs, and then for a moment within the next two."""
        after = random.randrange(1, SEEDS - 1)
        self.until(lambda: len(toys.runs(self.log)) >= after)
        time.sleep(random.uniform(0, 2 * SECONDS))


@pytest.fixture
def scene(tmp_path):
    there = Scene(tmp_path)
    yield there
    for process in there.started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


# --- Killed -----------------------------------------------------------------------------------------------------


def test_when_the_driver_is_killed_its_workers_finish_and_nothing_is_done_twice(scene):
    driver = scene.start(jobs=2)
    scene.until_a_random_moment()
    driver.kill()
    finished = scene.content()
    said = scene.finish(jobs=2)
    scene.all_is_there()
    assert finished.items() <= scene.content().items()
    # The run that was under way lived on, and the second call waited for it.
    assert sorted(toys.runs(scene.log)) == [*range(SEEDS)]
    assert f"{SEEDS} records" in said


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_when_all_of_it_is_killed_or_interrupted_only_what_was_under_way_is_done_again(scene, end):
    driver = scene.start(jobs=2)
    scene.until_a_random_moment()
    os.killpg(driver.pid, end)
    driver.wait(180)
    scene.until(lambda: not any(map(alive, toys.workers(scene.log))))
    finished, begun = scene.content(), toys.runs(scene.log)
    said = scene.finish()
    scene.all_is_there()
    assert finished.items() <= scene.content().items()
    again = [*toys.runs(scene.log)[len(begun) :]]
    assert set(again) == set(range(SEEDS)) - scene.seeds_of(finished)
    assert len(again) == len(set(again))
    assert f"{SEEDS} records, {len(again)} of them measured now" in said


def alive(pid):
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_worker_that_is_killed_is_named_and_its_run_alone_is_missing(scene):
    scene.environment[toys.SECONDS] = "2"  # so that the run is not over before the signal is there
    after = random.randint(1, SEEDS)
    driver = scene.start()
    scene.until(lambda: len(toys.runs(scene.log)) >= after)
    time.sleep(random.uniform(0, 1))
    seed, pid = toys.runs(scene.log)[-1], toys.workers(scene.log)[-1]
    os.kill(pid, signal.SIGKILL)
    _, said = driver.communicate(timeout=180)
    finished = scene.content()
    assert driver.returncode == 1
    assert said == f"overparam: games/coin with seed {seed} failed: the process ended with status -9\n"
    assert scene.seeds_of(finished) == set(range(SEEDS)) - {seed}
    begun = len(toys.runs(scene.log))
    scene.finish()
    scene.all_is_there()
    assert finished.items() <= scene.content().items()
    assert toys.runs(scene.log)[begun:] == [seed]


# --- Two at once ------------------------------------------------------------------------------------------------


def test_two_verifications_of_one_ledger_share_the_work(scene):
    both = [scene.start("--export", scene.folder / "ledger.json", jobs=2) for _ in range(2)]
    said = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    scene.all_is_there()
    assert sorted(toys.runs(scene.log)) == [*range(SEEDS)]
    counts = [int(out.split(f"{SEEDS} records, ")[1].split()[0]) for out, _ in said]
    assert sum(counts) == SEEDS
    assert json.loads((scene.folder / "ledger.json").read_text())["chapters"]["games/coin"]["seeds"] == [*range(SEEDS)]


def test_two_verifications_of_other_chapters_export_to_one_ledger(scene):
    source = (scene.package / "games" / "coin.py").read_text()
    for name in ("penny", "dime"):
        (scene.package / "games" / f"{name}.py").write_text(source)
    export = scene.folder / "ledger.json"
    both = [scene.start(name, "--export", export) for name in ("penny", "dime")]
    assert [process.wait(180) for process in both] == [0, 0], [process.communicate() for process in both]
    rows = json.loads(export.read_text())["chapters"]
    assert {name: row["seeds"] for name, row in rows.items()} == {
        f"games/{name}": [*range(SEEDS)] for name in ("coin", "dime", "penny")
    }


# --- A full disk ------------------------------------------------------------------------------------------------


def test_a_limit_on_the_size_of_files_stops_a_run_before_it_begins(scene):
    driver = scene.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384)))
    _, said = driver.communicate(timeout=180)
    assert driver.returncode == 1
    assert said.splitlines() == [
        f"overparam: games/coin with seed {seed} failed: [Errno 27] File too large" for seed in range(SEEDS)
    ]
    assert (scene.content(), toys.runs(scene.log)) == ({}, [])
    scene.finish()
    scene.all_is_there()
    assert toys.runs(scene.log) == [*range(SEEDS)]


MOUNT = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-euc")


def can_mount():
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*MOUNT, "mount -t tmpfs tmpfs /mnt"], capture_output=True, check=False).returncode == 0


def test_a_disk_that_fills_up_loses_no_finished_run_and_takes_the_rest_when_there_is_room_again(scene):
    """A file system of 64 kB, of which a file in the way takes what would be room for the last records."""
    if not can_mount():
        pytest.skip("needs the right to mount a small disk")
    scene.records.mkdir()
    verify = '"$@"' + f" || echo status $? >>{scene.folder}/said"
    script = f"""
mount -t tmpfs -o size=64k tmpfs {scene.records}
head -c 28672 /dev/zero >{scene.records}/in-the-way
{verify}
ls {scene.records}/games/coin >{scene.folder}/first
cp {scene.log} {scene.folder}/first-log
rm {scene.records}/in-the-way
{verify}
cp -r {scene.records} {scene.folder}/kept
"""
    done = scene.run([*MOUNT, script, "sh", *scene.command()])
    assert (scene.folder / "said").read_text() == "status 1\n"  # the first call; the second went well
    assert "failed: [Errno 28] No space left on device" in done.stderr
    first = (scene.folder / "first").read_text().split()
    assert 0 < len(first) < SEEDS
    assert len(toys.runs(scene.folder / "first-log")) == len(first)  # what had no room was not begun
    scene.records.rmdir()
    (scene.folder / "kept").rename(scene.records)
    scene.all_is_there()
    assert sorted(toys.runs(scene.log)) == [*range(SEEDS)]
