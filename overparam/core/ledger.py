"""The ledger: what many seeds say about each claim, and what the chapters cost.

A claim is *reproduced* if the seeds leave little doubt that it holds with four seeds in five at least: if the lower
end of the Wilson interval of its pass rate reaches :data:`ENOUGH`, as it does for 20 seeds of 20 or 24 of 25. It is
*not reproduced* if it fails with more than half of the seeds, and *fragile* between the two.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from overparam.core.claims import FAILS, Claim
from overparam.core.records import Record

REPRODUCED = "reproduced"
FRAGILE = "fragile"
#: What the lower end of the interval must reach, and the interval's confidence.
ENOUGH = 0.8
CONFIDENCE = 0.95


def wilson(passed: int, seeds: int) -> tuple[float, float]:
    """The Wilson score interval of a pass rate.

    References
    ----------
    Wilson, Probable inference, the law of succession, and statistical inference. JASA 22 (1927).
    """
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    center, half = passed + z**2 / 2, z * math.sqrt(passed * (seeds - passed) / seeds + z**2 / 4)
    return max(0.0, (center - half) / (seeds + z**2)), min(1.0, (center + half) / (seeds + z**2))


def verdict(passed: int, seeds: int) -> str:
    """What ``passed`` of ``seeds`` make of a claim."""
    if wilson(passed, seeds)[0] >= ENOUGH:
        return REPRODUCED
    return FRAGILE if 2 * passed >= seeds else FAILS


def distance(measured: Sequence[float], limits: tuple[float, float]) -> float:
    """How far the median lies from the nearer limit, in spreads (interquartile ranges); negative on the wrong side.

    Infinite where the middle half of the seeds measured the same, NaN where there is no limit or nothing was measured.
    """
    _, low, median, high, _ = _quartiles(measured)
    room = min(median - limits[0], limits[1] - median)
    if not math.isfinite(room):
        return math.nan
    return room / (high - low) if high > low else math.copysign(math.inf, room)


def summarize(records: Iterable[Record]) -> dict[str, Any]:
    """The ledger: for each chapter its cost, for each claim its pass rate and the spread of what was measured.

    Returns
    -------
    Plain data, as ``book/ledger.json`` holds it: ``chapters`` maps "part/slug" to ``seeds``, ``digest`` and ``core``
    (hashes of the code), ``runs`` (versions, machine and device, with the seeds that ran there), ``cpu_seconds``
    (median), ``peak_memory`` (largest, bytes) and ``claims``, a list of ``id``, ``statement``, ``bound``, ``source``,
    ``limits``, ``passed`` (of the seeds), ``interval`` (Wilson's), ``verdict``, ``measured`` (lowest, median,
    highest), ``spread`` (interquartile range), ``distance`` (of the median to the nearer limit, in spreads), and
    seed by seed ``values`` and ``held``. Seeds that measured NaN, and so failed, count in no statistic of what
    was measured.
    """
    by_chapter: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: (r.chapter, r.seed)):
        by_chapter.setdefault(record.chapter, []).append(record)
    return {"chapters": {name: _chapter_row(group) for name, group in by_chapter.items()}}


def _chapter_row(records: list[Record]) -> dict[str, Any]:
    by_claim: dict[str, list[Claim]] = {}
    for record in records:
        for claim in record.claims:
            by_claim.setdefault(claim.id, []).append(claim)
    return {
        "seeds": [r.seed for r in records],
        "digest": records[-1].digest,
        "core": records[-1].core,
        "runs": _runs(records),
        "cpu_seconds": _rounded(statistics.median(r.cpu_seconds for r in records)),
        "peak_memory": max(r.peak_memory for r in records),
        "claims": [_claim_row(group) for group in by_claim.values()],
    }


def _runs(records: list[Record]) -> list[dict[str, Any]]:
    """Where the records were made: versions, machine and device, each with its seeds."""
    runs: list[dict[str, Any]] = []
    for record in records:
        where = {"versions": record.versions, "machine": record.machine, "device": record.device}
        for run in runs:
            if where.items() <= run.items():
                run["seeds"].append(record.seed)
                break
        else:
            runs.append({**where, "seeds": [record.seed]})
    return runs


def _claim_row(claims: list[Claim]) -> dict[str, Any]:
    passed, seeds = sum(c.holds for c in claims), len(claims)
    measured = [c.measured for c in claims if not math.isnan(c.measured)]
    low, first, median, third, high = _quartiles(measured)
    last = claims[-1]
    return {
        "id": last.id,
        "statement": last.statement,
        "bound": last.bound,
        "source": last.source,
        "limits": list(last.limits),
        "passed": passed,
        "interval": [_rounded(end) for end in wilson(passed, seeds)],
        "verdict": verdict(passed, seeds),
        "measured": [_rounded(value) for value in (low, median, high)],
        "spread": _rounded(third - first),
        "distance": _rounded(distance(measured, last.limits)),
        "values": [_rounded(c.measured) for c in claims],
        "held": [c.holds for c in claims],
    }


def _quartiles(values: Sequence[float]) -> tuple[float, ...]:
    """Lowest, first quartile, median, third quartile and highest, of which some may be infinite; NaN without values."""
    if not values:
        return (math.nan,) * 5
    at_least_two = values if len(values) > 1 else [*values, *values]
    first, _, third = statistics.quantiles(at_least_two, n=4, method="inclusive")
    return min(values), first, statistics.median(values), third, max(values)


def _rounded(value: float) -> float:
    """Six digits: the file is read by people too, and compared."""
    return float(f"{value:.6g}")
