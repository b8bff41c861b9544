"""Claims, and the table of their verdicts.

A claim is a sentence of a paper that code measures and that can fail. A chapter's ``claims(result)`` returns
them, a notebook and the command line show them as a :class:`VerdictTable`, and ``overparam verify`` keeps them in
a :class:`~overparam.core.records.Record` for each finished (chapter, seed).
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

HOLDS = "holds"
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
