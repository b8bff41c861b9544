"""Measure chapters over seeds: each (chapter, seed) in a process of its own, which writes its own record.

The process that measures also writes the record, so whatever happens to the process that started it, nothing
finished is lost; and a record counts only while the code that made it is the code that is there.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from overparam.core import chapters
from overparam.core.claims import BrokenRecordError, Record, read_record, record_path, write_record
from overparam.core.environment import ONE_THREAD
from overparam.core.sweeps import SweepError, sweep


@dataclass(frozen=True)
class Task:
    """One chapter with one seed."""

    chapter: str
    seed: int
    directory: Path


@dataclass
class Verification:
    """How a verification ended: all records asked for that exist, and what stands in the way of the others.

    ``measured`` counts the runs of this call; the other records were kept from earlier ones. ``failed`` maps a
    task to what its process said.
    """

    records: list[Record] = field(default_factory=list)
    broken: list[BrokenRecordError] = field(default_factory=list)
    failed: dict[Task, Exception] = field(default_factory=dict)
    measured: int = 0


def measure(
    chapter: chapters.Chapter, config: Any, *, device: Any = None, progress: bool = False
) -> tuple[Any, Record]:
    """Run a chapter and hold its claims; returns the result and its record."""
    module = chapter.load()
    import torch

    from overparam.core import compute

    where = compute.device(device, dtype=getattr(module, "DTYPE", torch.float32))
    start = time.process_time()
    result = module.run(config, device=where, progress=progress)
    cpu_seconds = time.process_time() - start
    record = Record(
        chapter=chapter.name,
        seed=config.seed,
        claims=tuple(module.claims(result)),
        config=asdict(config),
        digest=chapter.digest(),
        versions={"python": platform.python_version(), **{p: version(p) for p in ("overparam", "torch", "numpy")}},
        device=str(where),
        cpu_seconds=cpu_seconds,
        peak_memory=_peak_memory(),
    )
    return result, record


def _peak_memory() -> int:
    """The largest memory this process ever held, in bytes; 0 on Windows, which has no ``resource``."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def verify(
    names: Iterable[chapters.Chapter],
    seeds: Iterable[int],
    directory: Path,
    *,
    jobs: int = 1,
    on_task: Callable[[Task], None] = lambda task: None,
) -> Verification:
    """Measure every chapter with every seed, keeping what earlier calls have finished.

    Parameters
    ----------
    names, seeds
        What to measure, at reader scale.
    directory
        Where the records stand and go.
    jobs
        Processes at a time, one thread each.
    on_task
        Called as each task ends, kept ones first.
    """
    seeds = list(seeds)
    tasks = [Task(chapter.name, seed, directory) for chapter in names for seed in seeds]
    outcome, missing = Verification(), []
    for task in tasks:
        try:
            kept = _kept(task)
        except BrokenRecordError as error:
            outcome.broken.append(error)
            on_task(task)
            continue
        if kept is None:
            missing.append(task)
        else:
            outcome.records.append(kept)
            on_task(task)
    outcome.measured = len(missing)
    with ThreadPoolExecutor(jobs) as pool:
        try:
            sweep(_in_own_process, missing, executor=pool, on_result=lambda index, _: on_task(missing[index]))
        except SweepError as error:
            outcome.failed = {t: r for t, r in zip(missing, error.results, strict=True) if isinstance(r, Exception)}
    outcome.records += [
        read_record(record_path(t.directory, t.chapter, t.seed)) for t in missing if t not in outcome.failed
    ]
    outcome.records.sort(key=lambda r: (r.chapter, r.seed))
    return outcome


def _kept(task: Task) -> Record | None:
    """The record of an earlier run, if it is there and of the code that is there now."""
    path = record_path(task.directory, task.chapter, task.seed)
    if not path.exists():
        return None
    record = read_record(path)
    return record if record.digest == chapters.find(task.chapter).digest() else None


def _in_own_process(task: Task) -> None:
    """Measure in a fresh interpreter: its peak memory is the chapter's, and a crash is the chapter's alone."""
    command = [sys.executable, "-m", "overparam.core.verify", task.chapter, str(task.seed), str(task.directory)]
    done = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RuntimeError(said[-1] if said else f"the process ended with status {done.returncode}")


def _main(name: str, seed: str, directory: str) -> None:
    from overparam.core import compute

    compute.use_threads(1)
    chapter = chapters.find(name)
    config = replace(chapter.load().Config(), seed=int(seed))
    write_record(Path(directory), measure(chapter, config, device="cpu")[1])


if __name__ == "__main__":
    _main(*sys.argv[1:])
