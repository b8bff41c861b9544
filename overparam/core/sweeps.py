"""Map a function over many configurations, on any ``concurrent.futures.Executor``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from typing import Any

from tqdm.auto import tqdm


class SweepError(ExceptionGroup):
    """Some configurations of a sweep failed; the others finished and stand in ``results``.

    ``results`` is in the order of the configurations, with the exception itself where one failed. Each
    exception carries a note that names its configuration.
    """

    results: list[Any]

    def derive(self, excs: Sequence[Exception]) -> SweepError:
        """A group of some of the exceptions, with the same results (used by ``except*``)."""
        part = SweepError(self.message, excs)
        part.results = self.results
        return part


def sweep(
    function: Callable[[Any], Any],
    configs: Sequence[Any],
    *,
    executor: Executor | None = None,
    progress: bool = False,
    on_result: Callable[[int, Any], None] | None = None,
) -> list[Any]:
    """Apply ``function`` to every configuration and wait for all of them.

    Parameters
    ----------
    function
        Called with one configuration; for a process pool it must be importable, so no lambda.
    configs
        What to map over.
    executor
        Where to run: a thread or process pool, a Dask client's executor; None runs here, one after the other.
    progress
        Show a bar.
    on_result
        Called with (index, result or exception) as each one finishes, in this process.

    Returns
    -------
    The results in the order of ``configs``.

    Raises
    ------
    SweepError
        When all have ended, if some of them failed.
    """
    results: list[Any] = [None] * len(configs)
    bar = tqdm(total=len(configs), disable=not progress)
    with bar:
        for index, outcome in _outcomes(function, configs, executor):
            results[index] = outcome
            bar.update()
            if on_result is not None:
                on_result(index, outcome)
    failures = [outcome for outcome in results if isinstance(outcome, Exception)]
    if failures:
        error = SweepError(f"{len(failures)} of {len(configs)} configurations failed", failures)
        error.results = results
        raise error
    return results


def _outcomes(function, configs, executor):
    """Yield (index, result or exception) as they come."""
    if executor is None:
        for index, config in enumerate(configs):
            yield index, _outcome(lambda config=config: function(config), config)
        return
    futures: dict[Future, int] = {}
    try:
        for index, config in enumerate(configs):
            futures[executor.submit(function, config)] = index
        for future in as_completed(futures):
            yield futures[future], _outcome(future.result, configs[futures[future]])
    finally:
        # After Ctrl-C what has not started must not start.
        for future in futures:
            future.cancel()


def _outcome(call: Callable[[], Any], config: Any) -> Any:
    try:
        return call()
    except Exception as error:
        if isinstance(error, BrokenExecutor):
            # A broken pool gives all its futures one exception; each configuration needs its own to be named on.
            error = type(error)(*error.args)
        error.add_note(f"configuration: {config!r}")
        return error
