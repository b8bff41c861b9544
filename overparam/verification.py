"""How a verification is told: live to whoever watches, line by line to machines, and in tables at the end."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from overparam.core import verify
from overparam.core.claims import FAILS
from overparam.core.ledger import FRAGILE, REPRODUCED
from overparam.core.verify import Task

#: A claim that held with every seed, when even all of these seeds do not make it reproduced.
UNDECIDED = "○"
MARKS = {REPRODUCED: "[green]✓[/]", FRAGILE: "[yellow]~[/]", FAILS: "[red]✗[/]"}
#: Lines of the live view that name what is running.
NAMED = 8


@dataclass
class Tally:
    """What has ended so far of the tasks of a verification, and how long the others will take."""

    tasks: list[Task]
    costs: Callable[[str], float]
    ended: dict[Task, str] = field(default_factory=dict)
    start: float = field(default_factory=time.monotonic)

    def add(self, task: Task, outcome: str | Exception) -> None:
        """Note how a task ended."""
        self.ended[task] = "failed" if isinstance(outcome, Exception) else outcome

    def seconds_left(self) -> float | None:
        """Of wall time, if the rest goes as fast as what was measured so far; None before anything was."""
        ended = dict(self.ended)  # the live view reads while tasks end
        work = sum(self.costs(task.chapter) for task, how in ended.items() if how != verify.KEPT)
        left = sum(self.costs(task.chapter) for task in self.tasks if task not in ended)
        if not left:
            return 0.0
        return (time.monotonic() - self.start) * left / work if work else None


@contextmanager
def live(tally: Tally, console: Console) -> Iterator[Callable[[Task, str | Exception], None]]:
    """Show the tally while tasks are added to it by what this yields."""
    with Live(get_renderable=lambda: view(tally), console=console, refresh_per_second=2, transient=True):
        yield tally.add


def view(tally: Tally) -> RenderableType:
    """The tally as a terminal shows it: a bar, counts, time left, and what is running."""
    running = verify.under_way([task for task in tally.tasks if task not in tally.ended])
    line = Table.grid(
        Column(no_wrap=True), Column(ratio=1), *(Column(no_wrap=True) for _ in range(4)), padding=(0, 2), expand=True
    )
    failed, left = list(tally.ended.values()).count("failed"), tally.seconds_left()
    line.add_row(
        "chapters × seeds",
        ProgressBar(len(tally.tasks), len(tally.ended)),
        f"{len(tally.ended)}/{len(tally.tasks)} done",
        f"{len(running)} running",
        Text(f"{failed} failed", style="red" if failed else ""),
        "" if left is None else f"{_clock(left)} left",
    )
    names = [Text(f"  {task.chapter}, seed {task.seed}", style="dim") for task in running[:NAMED]]
    return Group(line, *names)


def _clock(seconds: float) -> str:
    minutes = round(seconds) // 60
    return f"{minutes // 60}:{minutes % 60:02}:{round(seconds) % 60:02}"


def add_and_print(tally: Tally, task: Task, outcome: str | Exception) -> None:
    """Add a task to the tally, and print a line of JSON about it."""
    tally.add(task, outcome)
    said = {"error": str(outcome)} if isinstance(outcome, Exception) else {}
    left = tally.seconds_left()
    counts = {"done": len(tally.ended), "of": len(tally.tasks), "seconds_left": None if left is None else round(left)}
    print_json(event="task", chapter=task.chapter, seed=task.seed, outcome=tally.ended[task], **said, **counts)


def watched() -> bool:
    """Whether somebody is looking."""
    return sys.stderr.isatty() and "CI" not in os.environ


def print_json(**content: Any) -> None:
    """One line of JSON on stdout, at once."""
    print(json.dumps(content), flush=True)


# --- Tables -----------------------------------------------------------------------------------------------------


def table(first: str, *others: str, title: str | None = None) -> Table:
    """A table without rules whose first column is never broken: it fits a terminal of 80 columns."""
    return Table(Column(first, no_wrap=True), *others, title=title, title_justify="left", box=None, pad_edge=False)


def claims_table(name: str, row: dict[str, Any]) -> Table:
    """What the seeds say about a chapter's claims."""
    shown = table("claim", "held", "95 % interval", "median", "spread", "to the bound", title=name)
    for claim in row["claims"]:
        low, high = claim["interval"]
        shown.add_row(
            escape(claim["id"]),
            f"{mark(claim)} {claim['passed']}/{len(claim['held'])}",
            f"{low:.2f} to {high:.2f}",
            f"{float(claim['measured'][1]):.3g}",
            f"{float(claim['spread']):.2g}",
            in_spreads(float(claim["distance"])),
        )
    return shown


def mark(claim: dict[str, Any]) -> str:
    """A claim's verdict in one character."""
    return UNDECIDED if claim["verdict"] == FRAGILE and all(claim["held"]) else MARKS[claim["verdict"]]


def too_few(rows: dict[str, dict[str, Any]]) -> bool:
    """Whether some claim is undecided for want of seeds."""
    return any(mark(claim) == UNDECIDED for row in rows.values() for claim in row["claims"])


def in_spreads(distance: float) -> str:
    """The distance of a median to its bound, in words that fit a cell of a terminal."""
    return f"{distance_text(distance)}{' spreads' if math.isfinite(distance) else ''}"


def distance_text(distance: float) -> str:
    """The same as a number, or what stands in its way."""
    if math.isnan(distance):
        return "not measured"
    if math.isinf(distance):
        return "no spread"
    return f"{distance:.2g}" if abs(distance) < 100 else f"over {'-' if distance < 0 else ''}100"


def cost_table(rows: dict[str, dict[str, Any]]) -> Table:
    """What the chapters take, and how many of their claims are reproduced."""
    shown = table("chapter", "seeds", "CPU s", "memory", "reproduced")
    for name, row in rows.items():
        verdicts = [claim["verdict"] for claim in row["claims"]]
        reproduced = f"{verdicts.count(REPRODUCED)} of {len(verdicts)}"
        shown.add_row(name, str(len(row["seeds"])), f"{row['cpu_seconds']:.1f}", gigabytes(row), reproduced)
    total = totals(rows)
    all_of_it = f"{total['reproduced']} of {total['claims']}"
    shown.add_section()
    shown.add_row("one seed of each", "1", f"{total['cpu_seconds']:.0f}", gigabytes(total), all_of_it)
    shown.add_row("all of it", str(total["runs"]), f"{total['all_cpu_seconds']:.0f}", gigabytes(total), all_of_it)
    return shown


def gigabytes(row: dict[str, Any]) -> str:
    """A chapter's peak memory."""
    return f"{row['peak_memory'] / 2**30:.2f} GB"


def totals(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the chapters take together: one seed of each, and all seeds; memory is the largest."""
    claims = [claim for row in rows.values() for claim in row["claims"]]
    return {
        "chapters": len(rows),
        "runs": sum(len(row["seeds"]) for row in rows.values()),
        "claims": len(claims),
        "reproduced": sum(claim["verdict"] == REPRODUCED for claim in claims),
        "cpu_seconds": sum(row["cpu_seconds"] for row in rows.values()),
        "all_cpu_seconds": sum(row["cpu_seconds"] * len(row["seeds"]) for row in rows.values()),
        "peak_memory": max((row["peak_memory"] for row in rows.values()), default=0),
    }
