"""What the book shows of the ledger: its table, its map of seeds, its totals, and the role that links a claim to it."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from overparam import verification
from overparam.core import chapters
from overparam.core.chapters import Chapter
from overparam.core.claims import FAILS
from overparam.core.ledger import FRAGILE, REPRODUCED

log = logging.getLogger(__name__)
#: A verdict's class in the style sheet, and its mark.
SHOWN = {REPRODUCED: ("holds", "✓"), FRAGILE: ("fragile", "~"), FAILS: ("fails", "✗")}


def row_id(chapter: str, claim: str) -> str:
    """The anchor of a claim's row."""
    return f"{chapter.split('/')[1]}-{claim}"


def _title(chapter: str) -> str:
    return chapter.split("/")[1].replace("_", " ")


def marked(verdict: str) -> str:
    """A verdict with its mark, as HTML."""
    css, mark = SHOWN[verdict]
    return f'<span class="{css}"><span aria-hidden="true">{mark}</span> {verdict}</span>'


def _raw(content: str) -> list[nodes.Node]:
    return [nodes.raw("", content, format="html")]


def _scrolling(content: str, label: str) -> str:
    return (
        f'<div class="pst-scrollable-table-container" tabindex="0" role="region" aria-label="{label}">{content}</div>'
    )


# --- The table --------------------------------------------------------------------------------------------------

COLUMNS = ("Chapter", "Claim", "Verdict", "Measured", "Spreads to the bound", "Bound", "In the paper")


class LedgerTable(SphinxDirective):
    """Every claim of the ledger, in a table that sorts by any column; the page's script adds the filters."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
        body = "\n".join(_table_row(name, claim) for name, row in chapters.ledger().items() for claim in row["claims"])
        table = f'<table class="sortable ledger"><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'
        return _raw(_scrolling(table, "The ledger"))


def _table_row(name: str, claim: dict[str, Any]) -> str:
    chapter = chapters.find(name)
    seeds, passed = len(claim["held"]), claim["passed"]
    low, median, high = (float(value) for value in claim["measured"])
    distance = float(claim["distance"])
    text = {key: html.escape(claim[key]) for key in ("id", "statement", "bound", "source")}
    return (
        f'<tr id="{row_id(name, text["id"])}" data-part="{chapter.part}" data-verdict="{claim["verdict"]}">'
        f'<td><a href="{name}.html">{html.escape(_title(name))}</a></td>'
        f"<td><code>{text['id']}</code><br>{text['statement']}</td>"
        f'<td data-sort="{passed / seeds}">{marked(claim["verdict"])}<br>'
        f"<small>{passed} of {seeds}, {_interval(claim)}</small></td>"
        f'<td data-sort="{median!r}">{median:.3g}<br><small>{low:.3g} to {high:.3g}</small></td>'
        f'<td data-sort="{distance!r}">{verification.distance_text(distance)}</td>'
        f"<td>{text['bound']}</td><td>{text['source']}<br>{_paper(chapter)}</td></tr>"
    )


def _interval(claim: dict[str, Any]) -> str:
    low, high = claim["interval"]
    return f"{low:.2f} to {high:.2f}"


def _paper(chapter: Chapter) -> str:
    """The chapter's paper as a link to it, or to the bibliography if it is not on arXiv."""
    arxiv = chapter.paper.arxiv
    address = f"https://arxiv.org/abs/{arxiv}" if arxiv else "bibliography.html"
    return f'<a href="{address}">{html.escape(chapter.paper.short)}</a>'


# --- The map of seeds -------------------------------------------------------------------------------------------

CELL, GAP, LINE, LABEL = 11, 2, 18, 192
#: Spreads from the bound up to which a seed's value is close to it, and not far.
CLOSE, FAR = 1.0, 3.0


class LedgerMap(SphinxDirective):
    """The claims, one line each, and the seeds, one column each: where each held, and how far from its bound."""

    def run(self) -> list[nodes.Node]:
        """Draw it, part by part."""
        maps = []
        for part, title in chapters.parts().items():
            rows = {name: row for name, row in chapters.ledger().items() if name.split("/")[0] == part}
            if rows:
                maps.append(f'<div><p class="rubric">{html.escape(title)}</p>{_map(rows, title)}</div>')
        return _raw(f'<div class="seed-maps">{"".join(maps)}</div>')


def _map(rows: dict[str, dict[str, Any]], title: str) -> str:
    """One part's map, as SVG: its marks are explained in words on the page, and every number is in the table."""
    seeds = sorted({seed for row in rows.values() for seed in row["seeds"]})
    lines, top = [_seed_numbers(seeds)], LINE
    for name, row in rows.items():
        lines.append(
            f'<a href="{name}.html"><text class="chapter" x="0" y="{top + LINE - 5}">'
            f"{html.escape(_title(name))}</text></a>"
        )
        top += LINE
        for claim in row["claims"]:
            lines.append(f'<g transform="translate(0 {top})">{_map_line(name, row, claim, seeds)}</g>')
            top += CELL + GAP
        top += GAP
    width = LABEL + len(seeds) * (CELL + GAP)
    svg = f'<svg class="seed-map" viewBox="0 0 {width} {top}" width="{width}" height="{top}">{"".join(lines)}</svg>'
    return _scrolling(svg, f"Claims and seeds, {html.escape(title)}")


def _seed_numbers(seeds: list[int]) -> str:
    numbers = (
        f'<text x="{_left(column) + CELL / 2}" y="{LINE - 5}" text-anchor="middle">{seed}</text>'
        for column, seed in enumerate(seeds)
        if seed % 5 == 0
    )
    return "".join(numbers)


def _left(column: int) -> int:
    return LABEL + column * (CELL + GAP)


def _map_line(name: str, row: dict[str, Any], claim: dict[str, Any], seeds: list[int]) -> str:
    """A claim's label, and one mark for each seed: the three kinds that held as squares, what failed as a cross."""
    held = f"{claim['id']}: held with {claim['passed']} of {len(claim['held'])} seeds"
    paths: dict[str, str] = {}
    titles = ""
    for seed, value, holds in zip(row["seeds"], claim["values"], claim["held"], strict=True):
        x = _left(seeds.index(seed))
        kind = _kind(float(value), holds, claim)
        if kind == "seed-failed":
            paths[kind] = paths.get(kind, "") + f"M{x + 2} 2l{CELL - 4} {CELL - 4}m0 {4 - CELL}l{4 - CELL} {CELL - 4}"
            titles += (
                f'<rect x="{x}" y="0" width="{CELL}" height="{CELL}" fill="transparent">'
                f"<title>{html.escape(claim['id'])}, seed {seed}: {float(value):.3g}</title></rect>"
            )
        else:
            paths[kind] = paths.get(kind, "") + f"M{x} 0h{CELL}v{CELL}h-{CELL}z"
    drawn = "".join(f'<path class="{kind}" d="{path}"/>' for kind, path in paths.items())
    label = f'<a href="#{row_id(name, claim["id"])}"><text x="8" y="{CELL - 3}">{html.escape(claim["id"])}</text></a>'
    return f"{label}<g><title>{html.escape(held)}</title>{drawn}</g>{titles}"


def _kind(value: float, holds: bool, claim: dict[str, Any]) -> str:
    """How a seed did: failed, or held close to the bound, with some room, or far from it."""
    if not holds:
        return "seed-failed"
    low, high = (float(limit) for limit in claim["limits"])
    room, spread = min(value - low, high - value), float(claim["spread"])
    if not (math.isfinite(spread) and spread > 0) or room > FAR * spread:
        return "seed-far"
    return "seed-close" if room < CLOSE * spread else "seed-some"


# --- Totals, costs, and single claims ---------------------------------------------------------------------------


class LedgerTotals(SphinxDirective):
    """The ledger in three sentences: how many claims, what they cost, and what they ran on."""

    def run(self) -> list[nodes.Node]:
        """Write them."""
        rows = chapters.ledger()
        total = verification.totals(rows)
        verdicts = [claim["verdict"] for row in rows.values() for claim in row["claims"]]
        counts = ", ".join(f"<strong>{verdicts.count(kind)}</strong> {marked(kind)}" for kind in SHOWN)
        runs = [run for row in rows.values() for run in row["runs"]]
        machines = _distinct(
            f"{m['processor']}, {m['cores']} cores, {m['system']}" for m in (r["machine"] for r in runs)
        )
        versions = _distinct(", ".join(f"{name} {number}" for name, number in r["versions"].items()) for r in runs)
        other = [name for name, row in rows.items() if row["core"] != chapters.find(name).core_digest()]
        note = f" Since then the parts of <code>core</code> that these chapters use have changed: {', '.join(other)}."
        return _raw(
            f'<p class="ledger-totals">{total["claims"]} claims of {total["chapters"]} chapters: {counts}. '
            f"One seed of everything takes {total['cpu_seconds'] / 60:.0f} CPU-minutes, all {total['runs']} runs "
            f"{total['all_cpu_seconds'] / 3600:.1f} CPU-hours, and no run more than {verification.gigabytes(total)}. "
            f"Measured with {versions} on {machines}.{note if other else ''}</p>"
        )


def _distinct(texts: Iterable[str]) -> str:
    return "; ".join(html.escape(text) for text in dict.fromkeys(texts))


class LedgerCosts(SphinxDirective):
    """What each chapter takes."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        head = "".join(f'<th scope="col">{name}</th>' for name in ("Chapter", "CPU-seconds", "Peak memory", "Seeds"))
        body = "\n".join(
            f'<tr><td><a href="{name}.html">{html.escape(_title(name))}</a></td>'
            f"<td>{row['cpu_seconds']:.1f}</td>"
            f'<td data-sort="{row["peak_memory"]}">{verification.gigabytes(row)}</td><td>{len(row["seeds"])}</td></tr>'
            for name, row in chapters.ledger().items()
        )
        table = f'<table class="sortable ledger costs"><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'
        return _raw(_scrolling(table, "What each chapter takes"))


class ClaimStatistics(SphinxDirective):
    """What the ledger has about one claim, written ``slug/id``: for the page of those that are not reproduced."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write it as a paragraph."""
        found = find_claim(self.arguments[0])
        if found is None:
            log.warning("the ledger has no claim %r, expected slug/id", self.arguments[0], location=self.get_location())
            return []
        name, row, claim = found
        failed = [
            f"seed {seed} measured {float(value):.3g}"
            for seed, value, holds in zip(row["seeds"], claim["values"], claim["held"], strict=True)
            if not holds
        ]
        text = {key: html.escape(claim[key]) for key in ("statement", "bound")}
        return _raw(
            f'<p class="claim-statistics"><a href="{name}.html">{html.escape(_title(name))}</a> · '
            f'<a href="ledger.html#{row_id(name, claim["id"])}">'
            f"{marked(claim['verdict'])}</a><br>"
            f"{text['statement']}.<br>Bound: {text['bound']}.<br>"
            f"Held with {claim['passed']} of {len(claim['held'])} seeds (95 % interval {_interval(claim)}); median "
            f"{float(claim['measured'][1]):.3g}{_away(claim)}; {html.escape(', '.join(failed))}.</p>"
        )


def _away(claim: dict[str, Any]) -> str:
    distance = float(claim["distance"])
    return f", {verification.in_spreads(distance)} from the bound" if math.isfinite(distance) else ""


def find_claim(text: str) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
    """The chapter's name, its row and the claim that is written ``slug/id``; None if the ledger does not have it."""
    slug, _, claim_id = text.partition("/")
    for name, row in chapters.ledger().items():
        for claim in row["claims"]:
            if (name.split("/")[1], claim["id"]) == (slug, claim_id):
                return name, row, claim
    return None


class ClaimRole(SphinxRole):
    """A claim, written ``slug/id``, with the ledger's verdict and a link to its row there."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Build the link; a claim that the ledger does not have is a warning."""
        found = find_claim(self.text)
        if found is None:
            log.warning("the ledger has no claim %r, expected slug/id", self.text, location=self.get_location())
            return [nodes.literal("", self.text)], []
        name, _, claim = found
        uri = self.env.app.builder.get_relative_uri(self.env.docname, "ledger")
        css, mark = SHOWN[claim["verdict"]]
        parts = nodes.inline("", f"{mark} ", classes=[css]), nodes.literal("", claim["id"])
        title = f"{claim['verdict']}: {claim['statement']}"
        anchor = row_id(name, claim["id"])
        return [nodes.reference("", "", *parts, refuri=f"{uri}#{anchor}", reftitle=title)], []
