"""Measure chapters over seeds: each (chapter, seed) in a process of its own, which writes its own record.

The process that measures also writes the record, so whatever happens to the process that started it, nothing
finished is lost; and a record counts only while the code and the configuration that made it are those that are
there. Any executor may say where the processes run.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from overparam.core import chapters
from overparam.core.environment import ONE_THREAD, machine
from overparam.core.records import (
    BrokenRecordError,
    Record,
    TakenError,
    begun_path,
    place,
    plain,
    read_record,
    record_path,
)
from overparam.core.sweeps import SweepError, sweep

#: How a task ended: its record was there, was measured now, is being measured by somebody else.
KEPT, MEASURED, TAKEN = "kept", "measured", "taken"
#: What the server imports once, of which every process that measures is a copy. Not our own modules: they may change.
PRELOADED = ("torch", "matplotlib.figure", "scipy.optimize", "scipy.stats", "sklearn.datasets")
_STARTING = threading.Lock()


@dataclass(frozen=True)
class Task:
    """One chapter with one seed; ``wait`` says whether to wait for another process that is at it already."""

    chapter: str
    seed: int
    directory: Path
    wait: bool = False

    @property
    def path(self) -> Path:
        """Where its record stands."""
        return record_path(self.directory, self.chapter, self.seed)


class NoClusterError(OSError):
    """There is no Dask cluster to run on."""


@dataclass
class Verification:
    """How a verification ended: all records asked for that exist, and what stands in the way of the others.

    ``measured`` counts the runs of this call; the other records were kept from earlier ones, or made meanwhile by
    another process. ``outdated`` maps a task whose record was there, but could not be kept, to the reason.
    ``failed`` maps a task to what its process said.
    """

    records: list[Record] = field(default_factory=list)
    broken: list[BrokenRecordError] = field(default_factory=list)
    outdated: dict[Task, str] = field(default_factory=dict)
    failed: dict[Task, Exception] = field(default_factory=dict)
    measured: int = 0


def measure(
    chapter: chapters.Chapter, config: Any, *, device: Any = None, progress: bool = False
) -> tuple[Any, Record]:
    """Run a chapter and hold its claims; returns the result and its record.

    Raises
    ------
    RuntimeError
        If the chapter's source was changed while it ran, so that nobody can say what was measured.
    """
    digests = chapter.digest(), chapter.core_digest()
    module = chapter.load()
    import torch

    from overparam.core import compute

    where = compute.device(device, dtype=getattr(module, "DTYPE", torch.float32))
    start = time.process_time()
    result = module.run(config, device=where, progress=progress)
    cpu_seconds = time.process_time() - start
    claims = tuple(module.claims(result))
    if digests != (chapter.digest(), chapter.core_digest()):
        raise RuntimeError(f"the source of {chapter.name} was changed while it ran")
    record = Record(
        chapter=chapter.name,
        seed=config.seed,
        claims=claims,
        config=plain(asdict(config)),
        digest=digests[0],
        core=digests[1],
        versions={"python": platform.python_version(), **{p: version(p) for p in ("overparam", "torch", "numpy")}},
        machine=machine(),
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
    directory: Path | str,
    *,
    executor: Executor | None = None,
    jobs: int = 1,
    on_task: Callable[[Task, str | Exception], None] = lambda task, outcome: None,
) -> Verification:
    """Measure every chapter with every seed, keeping what earlier calls have finished.

    Parameters
    ----------
    names, seeds
        What to measure, at reader scale.
    directory
        Where the records stand and go; every worker of the executor must see it.
    executor
        Who starts the processes that measure; None starts ``jobs`` of them at a time on this machine.
    jobs
        Processes at a time, one thread each, where there is no executor.
    on_task
        Called with each task as it ends and with how it did, kept ones first: :data:`KEPT`, :data:`MEASURED`, or
        the exception.
    """
    names = list(names)
    wanted = {chapter.name: (chapter.digest(), chapter.core_digest()) for chapter in names}
    asked, missing = tasks(names, seeds, directory), []
    outcome = Verification()
    for task in asked:
        try:
            reason = _outdated(task)
        except BrokenRecordError as error:
            outcome.broken.append(error)
            on_task(task, error)
            continue
        if reason is None:
            on_task(task, KEPT)
            continue
        missing.append(task)
        if reason:
            outcome.outdated[task] = reason
    # The dearest first: the cheap ones then fill the gaps at the end.
    costs = expected_cpu_seconds()
    missing.sort(key=lambda task: -costs(task.chapter))
    with nullcontext(executor) if executor else ThreadPoolExecutor(jobs) as pool:
        ended = _carry_out(missing, pool, on_task)
        taken = [replace(task, wait=True) for task in missing if ended[task] == TAKEN]
        ended |= {replace(task, wait=False): how for task, how in _carry_out(taken, pool, on_task).items()}
    outcome.measured = sum(how == MEASURED for how in ended.values())
    outcome.failed = {task: how for task, how in ended.items() if isinstance(how, Exception)}
    _collect(outcome, asked, wanted)
    return outcome


def tasks(names: Iterable[chapters.Chapter], seeds: Iterable[int], directory: Path | str) -> list[Task]:
    """Every chapter with every seed."""
    seeds = list(seeds)
    return [Task(chapter.name, seed, Path(directory).resolve()) for chapter in names for seed in seeds]


def expected_cpu_seconds() -> Callable[[str], float]:
    """What a run of a chapter takes by the committed ledger, and what a mean one does where it does not know."""
    known = {name: row["cpu_seconds"] for name, row in chapters.ledger().items() if "cpu_seconds" in row}
    mean = sum(known.values()) / len(known) if known else 10.0
    return lambda name: known.get(name, mean)


def _outdated(task: Task) -> str | None:
    """Why the record of an earlier run does not count; None if it does, "" if there is none."""
    if not task.path.exists():
        return ""
    record, chapter = read_record(task.path), chapters.find(task.chapter)
    if record.digest != chapter.digest():
        return "another version of the chapter"
    if record.core != chapter.core_digest():
        return "another version of overparam.core"
    if record.config != plain(asdict(replace(chapter.load().Config(), seed=task.seed))):
        return "another configuration"
    return None


def _carry_out(
    asked: list[Task], executor: Executor, on_task: Callable[[Task, str | Exception], None]
) -> dict[Task, str | Exception]:
    """How each task ended."""

    def tell(index: int, how: str | Exception) -> None:
        if how != TAKEN:
            on_task(replace(asked[index], wait=False), how)

    try:
        results = sweep(_in_own_process, asked, executor=executor, on_result=tell)
    except SweepError as error:
        results = error.results
    return dict(zip(asked, results, strict=True))


def _collect(outcome: Verification, asked: list[Task], wanted: dict[str, tuple[str, str]]) -> None:
    """Read the records that are there now; one that should be there and is not, or is of other code, is a failure."""
    broken = {error.path for error in outcome.broken}
    for task in asked:
        if task in outcome.failed or task.path in broken:
            continue
        try:
            record = read_record(task.path)
        except BrokenRecordError as error:
            outcome.broken.append(error)
            continue
        if (record.digest, record.core) == wanted[task.chapter]:
            outcome.records.append(record)
        else:
            outcome.failed[task] = RuntimeError("its worker ran another version of the code than this process")
    outcome.records.sort(key=lambda r: (r.chapter, r.seed))


def under_way(asked: Iterable[Task]) -> list[Task]:
    """Those of the tasks that some process is measuring, or was killed at."""
    return [task for task in asked if begun_path(task.directory, task.chapter, task.seed).exists()]


# --- Where it runs ----------------------------------------------------------------------------------------------


@contextmanager
def dask_executor(address: str, jobs: int) -> Iterator[Executor]:
    """The executor of a Dask cluster: of the scheduler at ``address``, or of ``jobs`` workers here for "local".

    Raises
    ------
    NoClusterError
        If no scheduler answers, or the extra ``cluster`` is not installed.
    """
    from overparam.core import datasets

    try:
        distributed = datasets.optional("distributed", extra="cluster")
    except datasets.MissingExtraError as error:
        raise NoClusterError(str(error)) from None
    if address != "local":
        try:
            client = distributed.Client(address, timeout=10)
        except (OSError, ValueError) as error:
            raise NoClusterError(f"no Dask scheduler answers at {address!r}: {error}") from None
        with client:
            yield client.get_executor()
        return
    cluster = distributed.LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster) as client:
        yield client.get_executor()


def _processes() -> Any:
    """How to start a process; threads that ask at once must not start two servers."""
    with _STARTING:
        return _context()


@cache
def _context() -> Any:
    """As a copy of a server that has torch loaded, where there are such servers."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    # One thread for numpy's BLAS, which reads that when it is imported.
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return context


def _in_own_process(task: Task) -> str:
    """Measure in a process of its own: its peak memory is the chapter's, and a crash is the chapter's alone."""
    if multiprocessing.parent_process() is not None:  # in a pool's or a Dask worker, which may have no such children
        return _in_own_interpreter(task)
    context = _processes()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(task, theirs))
    process.start()
    theirs.close()
    try:
        how, said = ours.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"the process ended with status {process.exitcode}") from None
    process.join()
    if how is None:
        raise RuntimeError(said)
    return how


def _work(task: Task, answer: Connection) -> None:
    """What the process does; it ends in silence if nobody is there any more to hear how it went."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a chapter's warnings would break the live view
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        report = _measure_task(task), ""
    except Exception as error:
        report = None, _said(error)
    with suppress(BrokenPipeError):
        answer.send(report)


def _said(error: Exception) -> str:
    """One line of an exception."""
    text = str(error).strip().splitlines()
    return text[-1] if text else type(error).__name__


def _in_own_interpreter(task: Task) -> str:
    command = [sys.executable, "-m", "overparam.core.verify", task.chapter, str(task.seed), str(task.directory)]
    command += ["--wait"] if task.wait else []
    done = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RuntimeError(said[-1] if said else f"the process ended with status {done.returncode}")
    return done.stdout.split()[-1]


def _measure_task(task: Task) -> str:
    """Measure in this process and write the record, unless another process does or has done it."""
    from overparam.core import compute

    try:
        with place(task.directory, task.chapter, task.seed, wait=task.wait) as put:
            if _outdated(task) is None:
                return KEPT
            compute.use_threads(1)
            chapter = chapters.find(task.chapter)
            put(measure(chapter, replace(chapter.load().Config(), seed=task.seed), device="cpu")[1])
            return MEASURED
    except TakenError:
        return TAKEN


if __name__ == "__main__":
    print(_measure_task(Task(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), wait="--wait" in sys.argv)))
