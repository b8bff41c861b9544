"""Our code and its peer side by side in one run; what counts is the ratio, never a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import jaxtyping
import pytest

RATIOS = pytest.StashKey[list[str]]()


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """Without the tests' run-time shape checks, which only our side would pay for."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def compare(benchmark, request) -> Callable[..., float]:
    """``compare(ours, peer, target=15)`` times both, alternating, and reports how many times faster ours is.

    The CPU time of the best round counts, which other load on the machine disturbs least. The target is the
    brief's; a ratio below it is reported, not failed, because it depends on the machine.
    """

    def timed(function: Callable[[], object]) -> float:
        start = time.process_time()
        function()
        return time.process_time() - start

    def run(ours: Callable[[], object], peer: Callable[[], object], *, target: float, rounds: int = 5) -> float:
        ours(), peer()  # warm up
        times = [(timed(ours), timed(peer)) for _ in range(rounds)]
        ratio = min(t for _, t in times) / min(t for t, _ in times)
        benchmark.extra_info.update(ratio=ratio, target=target)
        benchmark.pedantic(ours, rounds=1)
        verdict = "meets" if ratio >= target else "BELOW"
        line = f"{request.node.name}: {ratio:.1f} times less CPU than the peer, {verdict} the target of {target:g}"
        request.config.stash.setdefault(RATIOS, []).append(line)
        return ratio

    return run


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the ratios after the timings."""
    for line in terminalreporter.config.stash.get(RATIOS, []):
        terminalreporter.write_line(line)
