"""A package tree like overparam's, with the real core and command line, and chapters that take no time.

Processes see it through ``PYTHONPATH``, so that a test can break, kill and edit its chapters without touching ours.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from overparam.core import chapters
from overparam.core.claims import Claim
from overparam.core.environment import ONE_THREAD
from overparam.core.records import Record

#: ``overparam`` in a process that Ctrl-C ends, even where the test suite itself runs in a background that ignores it.
INTERRUPTIBLE = (
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from overparam import cli; cli.main()",
)
#: Every run of a toy chapter appends a line to the file that this variable names, and takes as long as this one says.
LOG = "TOY_LOG"
SECONDS = "TOY_SECONDS"

CHAPTER = '''"""Tossing a coin.

Toy (1999).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

from overparam.core import checks, compute, figures
from overparam.core.chapters import Paper
from overparam.core.claims import Claim

PAPER = Paper("On [a] Coin", ("Ann Lee", "Bo Ek"), 1999, venue="Toys", arxiv="9901.00001", code=None)
LEVEL = "introductory"


@dataclass(frozen=True)
class Config:
    tosses: int = 400
    bias: float = 0.5
    sides: tuple[float, ...] = (0.0, 1.0)
    label: str = "coin"
    seed: int = 0

    def __post_init__(self):
        checks.integer(1, tosses=self.tosses)
        checks.probability(bias=self.bias)


FULL = Config(tosses=4000)


@dataclass(frozen=True)
class Result:
    config: Config
    heads: torch.Tensor
    spread: float


def run(config=Config(), *, device=None, progress=True):
    with open(os.environ.get("TOY_LOG", os.devnull), "a") as log:
        print(config.seed, os.environ["OMP_NUM_THREADS"], torch.get_num_threads(), os.getpid(), file=log)
    time.sleep(float(os.environ.get("TOY_SECONDS", 0)))
    heads = torch.rand(config.tosses, generator=compute.generator(config.seed)) < config.bias
    return Result(config, heads, float("nan"))


def claims(result):
    share = float(result.heads.double().mean())
    limits = (0.4, 0.6)
    return [Claim("fair", "half the tosses", share, 0.4 < share < 0.6, "share in [low, high]", "Theorem 1", limits)]


def plot(result):
    figure, axes = figures.new()
    axes.plot(result.heads.double().cumsum(0))
    return figure
'''

SOURCES = {
    "games/__init__.py": '"""Games of chance."""\n',
    "games/coin.py": CHAPTER,
    # A chapter that is a package: its paper stands in __init__.py, its code in a file of its own.
    "games/dice/__init__.py": '''"""Throwing dice."""

from overparam.core.chapters import Paper
from overparam.games.dice.throws import FULL, Config, Result, claims, plot, run

PAPER = Paper(title="Dice", authors=("Cy Fox",), year=2001, venue="Toys", arxiv=None, code="https://example.org/dice")
''',
    "games/dice/throws.py": '''"""One throw, which fails."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    seed: int = 0


FULL, Result, claims, plot = Config(), None, None, None


def run(config, *, device=None, progress=True):
    raise RuntimeError(f"die {config.seed} rolled off the table")
''',
    # Not a chapter: it has no PAPER of its own.
    "games/helpers.py": '"""Helpers."""\n\nfrom overparam.games.coin import PAPER as THEIRS\n',
    # A part that the book's order does not know, and that has no chapter yet.
    "aardvarks/__init__.py": '"""Part to come."""\n',
}


def claim(measured=1.5, holds=True, name="slope", bound="slope in [1, 2]", **limits) -> Claim:
    """A claim that somebody might make."""
    return Claim(name, "the loss falls like a power", measured, holds, bound, "Theorem 1", **limits)


def record(*claims: Claim, seed: int = 0, chapter: str = "part/slug", **changes) -> Record:
    """A record of claims, of one that holds if none are given."""
    fields = {"config": {"lr": 0.1}, "digest": "d", "core": "c", "versions": {"torch": "2"}, "device": "cpu"}
    fields |= {"machine": {"processor": "abacus"}, "cpu_seconds": 1.0, "peak_memory": 100}
    return Record(chapter, seed, claims or (claim(),), **{**fields, **changes})


def tree(folder: Path) -> Path:
    """Write the tree below ``folder``; returns the package's directory."""
    package = folder / "overparam"
    shutil.copytree(chapters.PACKAGE / "core", package / "core", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "__main__.py", "cli.py", "verification.py"):
        shutil.copy(chapters.PACKAGE / name, package / name)
    for name, source in SOURCES.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(source)
    return package


def environment(package: Path, **variables: str) -> dict[str, str]:
    """The environment in which a new process sees the tree, and nothing decides about colours."""
    ambient = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS")}
    return {**ambient, **ONE_THREAD, "PYTHONPATH": str(package.parent), LOG: os.devnull, **variables}


def runs(log: Path) -> list[int]:
    """The seeds of the toy runs so far, in the order in which they started."""
    return [int(line.split()[0]) for line in log.read_text().splitlines()] if log.exists() else []


def workers(log: Path) -> list[int]:
    """The processes of these runs."""
    return [int(line.split()[3]) for line in log.read_text().splitlines()] if log.exists() else []
