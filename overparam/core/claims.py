"""Claims, their verdict table, and the ledger's records.

A claim is a sentence of a paper that code measures and that can fail. A chapter's ``claims(result)`` returns
them, a notebook and the command line show them as a :class:`VerdictTable`, and ``overparam verify`` keeps one
:class:`Record` for each finished (chapter, seed), from which :func:`summarize` makes the book's ledger.
"""

from __future__ import annotations

import html
import math
import os
import secrets
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from rich.table import Table

HOLDS = "holds"
FRAGILE = "fragile"
FAILS = "not reproduced"


@dataclass(frozen=True)
class Claim:
    """One result of a paper, measured and held against a bound that was fixed before the run.

    Parameters
    ----------
    id
        The claim's name, unique within its chapter.
    statement
        What is claimed, one sentence in plain words.
    measured
        The number that decides, or the leading one where several do; never NaN when the claim holds.
    holds
        The verdict.
    bound
        The rule that decided, as in ``"slope in [-2.2, -1.8]"``.
    source
        The paper's place for the claim and, where it has one, its own number.
    limits
        The lowest and the highest ``measured`` with which the claim can hold, infinite where the bound is open on
        that side. The bound may ask for more than that, of other numbers.

    Raises
    ------
    TypeError
        If ``measured`` is not a real number or ``holds`` not a ``bool`` (a tensor, say).
    ValueError
        If the claim is said to hold with a NaN or outside its limits, or if these are in the wrong order.
    """

    id: str
    statement: str
    measured: float
    holds: bool
    bound: str
    source: str
    limits: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        if not isinstance(self.measured, Real):
            raise TypeError(f"claim {self.id}: measured must be a float, got {self.measured!r}")
        if not isinstance(self.holds, bool):
            raise TypeError(f"claim {self.id}: holds must be a bool, got {self.holds!r}")
        if self.holds and math.isnan(self.measured):
            raise ValueError(f"claim {self.id} cannot hold: what it measured is nan")
        low, high = self.limits
        if not low <= high:
            raise ValueError(f"claim {self.id}: limits must be the lower and the upper one, got {self.limits!r}")
        if self.holds and not low <= self.measured <= high:
            raise ValueError(f"claim {self.id} cannot hold: {float(self.measured)!r} is outside {self.limits!r}")
        object.__setattr__(self, "measured", float(self.measured))  # numpy's scalars are no JSON

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return HOLDS if self.holds else FAILS


@dataclass(frozen=True)
class VerdictTable:
    """The claims of one run, for three readers: HTML for a notebook, rich for a terminal, plain text for nbval.

    The plain twin, ``str(table)``, has id, verdict and bound but no measured number, so that it is the same
    on every machine on which the claims hold.
    """

    claims: Sequence[Claim]

    def __str__(self) -> str:
        name, verdict = (max(map(len, column), default=0) for column in self._columns())
        return "\n".join(f"{c.id:{name}}  {c.verdict:{verdict}}  {c.bound}" for c in self.claims)

    def _columns(self) -> tuple[list[str], list[str]]:
        return [c.id for c in self.claims], [c.verdict for c in self.claims]

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{h}</th>' for h in ("Claim", "Verdict", "Measured", "Bound", "Source"))
        rows = "\n".join(_html_row(claim) for claim in self.claims)
        return f'<table class="dataframe verdicts"><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>'

    def __rich__(self) -> Table:
        from rich.table import Column, Table
        from rich.text import Text

        # As Text, because a bound such as "rate in [low, high]" looks like rich's own markup.
        table = Table(Column("claim", no_wrap=True), "verdict", "measured", "bound", box=None, pad_edge=False)
        for c in self.claims:
            mark = "[green]✓[/]" if c.holds else "[red]✗[/]"
            table.add_row(Text(c.id), f"{mark} {c.verdict}", f"{c.measured:.3g}", Text(c.bound))
        return table


def _html_row(claim: Claim) -> str:
    css, mark = ("holds", "✓") if claim.holds else ("fails", "✗")
    text = {key: html.escape(getattr(claim, key)) for key in ("id", "statement", "bound", "source", "verdict")}
    return (
        f"<tr><td><code>{text['id']}</code><br>{text['statement']}</td>"
        f'<td class="{css}"><span aria-hidden="true">{mark}</span> {text["verdict"]}</td>'
        f"<td>{claim.measured:.3g}</td><td>{text['bound']}</td><td>{text['source']}</td></tr>"
    )


@dataclass(frozen=True)
class Record:
    """What one finished run of one chapter with one seed measured, and what it took.

    ``config`` is the configuration as plain data, ``digest`` the hash of the code that ran
    (:meth:`overparam.core.chapters.Chapter.digest`), ``peak_memory`` in bytes.
    """

    chapter: str
    seed: int
    claims: tuple[Claim, ...]
    config: dict[str, Any]
    digest: str
    versions: dict[str, str]
    device: str
    cpu_seconds: float
    peak_memory: int

    def to_json(self) -> bytes:
        """The record as JSON; what JSON lacks, such as NaN, infinities and a dtype, is written as a string."""
        from pydantic_core import to_json

        return to_json(self, indent=1, inf_nan_mode="strings", serialize_unknown=True)


class BrokenRecordError(ValueError):
    """A record's file that cannot be read back; the message names the file and says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"broken record {path}: {reason}")
        self.path = path


@cache
def _adapter() -> TypeAdapter[Record]:
    # Imported here: pydantic costs a tenth of a second that `overparam --help` need not pay.
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def record_path(directory: Path, chapter: str, seed: int) -> Path:
    """Where the record of ``chapter`` ("part/slug") and ``seed`` stands below ``directory``."""
    return Path(directory) / chapter / f"seed-{seed}.json"


def write_record(directory: Path, record: Record) -> Path:
    """Write a record atomically: a reader, or a crash, sees the old file or the new one, never half of one.

    Raises
    ------
    BrokenRecordError
        If a broken file stands in the place; it may be somebody's only copy and is left as it is.
    """
    path = record_path(directory, record.chapter, record.seed)
    if path.exists():
        read_record(path)
    write_atomically(path, record.to_json())
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step, through a temporary file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_record(path: Path) -> Record:
    """Read one record back.

    Raises
    ------
    BrokenRecordError
        If the file is not a record, or is the record of another chapter or seed than its path says.
    """
    from pydantic import ValidationError

    try:
        record = _adapter().validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise BrokenRecordError(path, f"{place}: {first['msg']}") from None
    except (OSError, TypeError) as error:
        raise BrokenRecordError(path, str(error)) from None
    own_name = record_path(Path(), record.chapter, record.seed)
    if Path(*path.parts[-3:]) != own_name:
        raise BrokenRecordError(path, f"holds the record of {own_name}")
    return record


def read_records(directory: Path) -> tuple[list[Record], list[BrokenRecordError]]:
    """All records below ``directory``, by chapter and seed, and the files that are broken."""
    records: list[Record] = []
    broken: list[BrokenRecordError] = []
    for path in sorted(Path(directory).glob("*/*/seed-*.json")):
        try:
            records.append(read_record(path))
        except BrokenRecordError as error:
            broken.append(error)
    return sorted(records, key=lambda r: (r.chapter, r.seed)), broken


def summarize(records: Iterable[Record]) -> dict[str, Any]:
    """The ledger: for each chapter its cost, for each claim its pass rate and the spread of what was measured.

    Returns
    -------
    Plain data, as ``book/ledger.json`` holds it: ``chapters`` maps "part/slug" to ``seeds``, ``versions``,
    ``device``, ``cpu_seconds`` (median), ``peak_memory`` (largest, bytes) and ``claims``, a list of ``id``,
    ``statement``, ``bound``, ``source``, ``passed`` (of the seeds), ``verdict`` and ``measured`` (lowest, median,
    highest; the seeds that measured NaN, and so failed, are left out of it unless all did). A claim *holds* if it
    held with every seed, is *fragile* if it held with at least half of them, and else *not reproduced*.
    """
    by_chapter: dict[str, list[Record]] = {}
    for record in records:
        by_chapter.setdefault(record.chapter, []).append(record)
    return {"chapters": {name: _chapter_row(group) for name, group in sorted(by_chapter.items())}}


def _chapter_row(records: list[Record]) -> dict[str, Any]:
    by_claim: dict[str, list[Claim]] = {}
    for record in records:
        for claim in record.claims:
            by_claim.setdefault(claim.id, []).append(claim)
    return {
        "seeds": sorted(r.seed for r in records),
        "digest": records[-1].digest,
        "versions": records[-1].versions,
        "device": records[-1].device,
        "cpu_seconds": round(statistics.median(r.cpu_seconds for r in records), 2),
        "peak_memory": max(r.peak_memory for r in records),
        "claims": [_claim_row(group) for group in by_claim.values()],
    }


def _claim_row(claims: list[Claim]) -> dict[str, Any]:
    passed = sum(c.holds for c in claims)
    measured = [c.measured for c in claims if not math.isnan(c.measured)] or [math.nan]
    return {
        "id": claims[0].id,
        "statement": claims[0].statement,
        "bound": claims[0].bound,
        "source": claims[0].source,
        "passed": passed,
        "verdict": HOLDS if passed == len(claims) else FRAGILE if 2 * passed >= len(claims) else FAILS,
        "measured": [min(measured), statistics.median(measured), max(measured)],
    }
