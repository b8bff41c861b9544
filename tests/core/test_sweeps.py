"""Sweeps over every kind of executor: order, failures that are named, and Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st

from overparam.core.sweeps import SweepError, sweep


class Immediate(Executor):
    """An executor of somebody else's, which works when asked."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def dask():
    """The executor of a Dask cluster with two workers, in this process."""
    with Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        yield client.get_executor()


EXECUTORS = {
    "none": contextlib.nullcontext,
    "threads": lambda: ThreadPoolExecutor(3),
    "processes": lambda: ProcessPoolExecutor(2),
    "dask": dask,
    "somebody's": Immediate,
}


@pytest.fixture(params=EXECUTORS)
def executor(request):
    with EXECUTORS[request.param]() as pool:
        yield pool


def square_slowly_at_first(x):
    time.sleep(0.02 if x == 0 else 0)
    return x * x


def square_of_even(x):
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x * x


def die_at_three(x):
    if x == 3:
        os._exit(1)
    time.sleep(0.01)
    return x


def test_results_come_in_the_order_of_the_configurations(executor):
    assert sweep(square_slowly_at_first, range(7), executor=executor) == [0, 1, 4, 9, 16, 25, 36]
    assert sweep(square_slowly_at_first, [], executor=executor) == []


def test_failures_wait_until_all_have_ended_and_name_their_configurations(executor):
    seen = {}
    with pytest.raises(SweepError, match="2 of 5 configurations failed") as caught:
        sweep(square_of_even, range(5), executor=executor, on_result=lambda i, outcome: seen.update({i: outcome}))
    results = caught.value.results
    assert [results[i] for i in (0, 2, 4)] == [0, 4, 16]
    assert [str(error) for error in caught.value.exceptions] == ["1 is odd", "3 is odd"]
    assert [error.__notes__[-1] for error in caught.value.exceptions] == ["configuration: 1", "configuration: 3"]
    assert (results[1], results[3]) == caught.value.exceptions
    assert seen == dict(enumerate(results))


@given(st.lists(st.integers(0, 9), max_size=8))
def test_a_sweep_fails_exactly_when_one_of_its_configurations_does(configs):
    odd = sum(x % 2 for x in configs)
    if not odd:
        assert sweep(square_of_even, configs) == [x * x for x in configs]
        return
    with pytest.raises(SweepError, match=f"^{odd} of {len(configs)} configurations failed") as caught:
        sweep(square_of_even, configs)
    kept = [r for r in caught.value.results if not isinstance(r, Exception)]
    assert kept == [x * x for x in configs if x % 2 == 0]


def test_a_part_of_a_sweeps_error_keeps_the_results():
    def fail(x):
        raise (ValueError if x else KeyError)(x)

    with pytest.raises(SweepError) as caught:
        sweep(fail, [0, 1])
    part = caught.value.subgroup(KeyError)
    assert isinstance(part, SweepError)
    assert [str(error) for error in part.exceptions] == ["0"]
    assert [type(result) for result in part.results] == [KeyError, ValueError]


def test_the_configurations_that_a_dead_worker_takes_with_it_are_named_each_by_its_own():
    with ProcessPoolExecutor(1) as pool, pytest.raises(SweepError) as caught:
        sweep(die_at_three, range(6), executor=pool)
    assert caught.value.results[:3] == [0, 1, 2]
    assert [error.__notes__ for error in caught.value.exceptions] == [[f"configuration: {i}"] for i in (3, 4, 5)]


@pytest.mark.parametrize("where", ["in a worker", "in this process"])
def test_after_ctrl_c_nothing_starts_that_has_not_started(where):
    started, go_on = [], threading.Event()

    def work(x):
        started.append(x)
        if x == 0 and where == "in a worker":
            raise KeyboardInterrupt
        if x == 1:
            assert go_on.wait(10)
        return x

    def interrupt(index, _):
        if where == "in this process":
            raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            sweep(work, range(6), executor=pool, on_result=interrupt)
        go_on.set()
    assert set(started) <= {0, 1}


def test_what_was_submitted_is_cancelled_when_the_executor_takes_no_more():
    class Full(Executor):
        def __init__(self):
            self.futures = []

        def submit(self, fn, /, *args, **kwargs):
            if len(self.futures) == 2:
                raise RuntimeError("full")
            self.futures.append(Future())
            return self.futures[-1]

    pool = Full()
    with pytest.raises(RuntimeError, match="full"):
        sweep(square_of_even, range(5), executor=pool)
    assert [future.cancelled() for future in pool.futures] == [True, True]


def test_the_bar_counts_failures_too_and_is_silent_unless_asked_for(capsys):
    sweep(square_of_even, [0, 2])
    assert capsys.readouterr() == ("", "")
    with pytest.raises(SweepError):
        sweep(square_of_even, [0, 1, 2], progress=True)
    said = capsys.readouterr()
    assert "3/3" in said.err
    assert said.out == ""
