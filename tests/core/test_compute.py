"""Devices that are not there, seeds, threads as the libraries themselves report them, and determinism."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
import torch
from hypothesis import given
from hypothesis import strategies as st

from overparam.core import compute
from overparam.core.compute import DeviceError
from tests.conftest import refuses


@pytest.fixture
def machine(monkeypatch):
    """Pretend that the machine has so many NVIDIA GPUs and, or, Apple's."""

    def pretend(gpus=0, apple=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)

    pretend()
    return pretend


# --- Devices ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "apple", "dtype", "best"),
    [
        (0, False, torch.float32, "cpu"),
        (1, False, torch.float64, "cuda"),
        (0, True, torch.float32, "mps"),
        (0, True, torch.float64, "cpu"),
        (2, True, torch.float32, "cuda"),
    ],
)
@pytest.mark.parametrize("name", [None, "auto"])
def test_auto_is_the_best_device_that_holds_the_dtype(machine, gpus, apple, dtype, best, name):
    machine(gpus, apple)
    assert compute.device(name, dtype=dtype) == torch.device(best)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps", torch.device("cuda", 0)])
def test_a_device_that_is_there_is_taken_as_named(machine, name):
    machine(2, True)
    assert compute.device(name) == torch.device(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda", "device 'cuda' is not on this machine, which has cpu"),
        ("cuda:7", "device 'cuda:7' is not on this machine, which has cpu"),
        (torch.device("cuda:7"), "device 'cuda:7' is not on this machine, which has cpu"),
        ("mps", "device 'mps' is not on this machine, which has cpu"),
        ("meta", "device 'meta' is not on this machine, which has cpu"),
        ("nonsense", "unknown device 'nonsense', expected auto, cpu, cuda, cuda:0 or mps"),
        ("", "unknown device '', expected auto, cpu, cuda, cuda:0 or mps"),
        ("cuda:-1", "unknown device 'cuda:-1', expected auto, cpu, cuda, cuda:0 or mps"),
    ],
)
def test_a_device_that_is_not_there_is_refused_by_name(machine, name, message):
    with refuses(DeviceError, match=f"^{message}$"):
        compute.device(name)


@pytest.mark.parametrize("index", [2, 7])
def test_a_gpu_beyond_the_last_is_refused_with_how_many_there_are(machine, index):
    machine(2)
    with refuses(DeviceError, match=rf"^device 'cuda:{index}' is not on this machine, which has 2 GPU\(s\)$"):
        compute.device(f"cuda:{index}")


@pytest.mark.parametrize("apple", [True, False])
def test_float64_on_apples_gpu_is_refused_because_it_has_none(machine, apple):
    machine(apple=apple)
    with refuses(DeviceError, match="'mps' has no float64.*use cpu"):
        compute.device("mps", dtype=torch.float64)


# --- Seeds ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**62))
def test_a_seed_always_draws_the_same_on_the_cpu_and_leaves_the_global_stream_alone(seed):
    before = torch.get_rng_state()
    generators = [compute.generator(seed) for _ in range(2)]
    draws = [torch.rand(5, generator=g) for g in generators]
    assert {g.device.type for g in generators} == {"cpu"}
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(seed)
    assert torch.equal(torch.rand(5), draws[0])
    torch.set_rng_state(before)


@given(st.integers(0, 2**62), st.integers(1, 6))
def test_the_seeds_of_streams_repeat_differ_and_do_not_depend_on_how_many_follow(seed, count):
    streams = compute.seeds(seed, count)
    assert len(set(streams)) == count
    assert compute.seeds(seed, count + 3)[:count] == streams
    assert compute.seeds(seed + 1, count) != streams
    draws = [torch.rand(4, generator=compute.generator(stream)) for stream in streams]
    assert len({tuple(draw.tolist()) for draw in draws}) == count


@given(st.integers(0, 2**62), st.lists(st.text(max_size=2) | st.tuples(st.integers()), unique=True, max_size=5))
def test_named_streams_are_the_same_seeds_by_name(seed, names):
    assert list(compute.streams(seed, names).items()) == list(zip(names, compute.seeds(seed, len(names)), strict=True))


# --- Threads ----------------------------------------------------------------------------------------------------


@pytest.fixture
def one_thread_afterwards():
    yield
    compute.use_threads(1)


@pytest.mark.parametrize("count", [2, 1])
def test_threads_reach_torch_numpys_blas_and_the_processes_started_later(one_thread_afterwards, count):
    np.ones((2, 2)) @ np.ones((2, 2))
    compute.use_threads(3 - count)
    compute.use_threads(count)
    assert torch.get_num_threads() == count
    pools = threadpoolctl.threadpool_info()
    assert {"blas", "openmp"} <= {pool["user_api"] for pool in pools}
    # A library that another test has loaded may be built for one thread only.
    assert all(pool["num_threads"] <= count for pool in pools)
    ours = [pool for pool in pools if Path(pool["filepath"]).parent.name in ("numpy.libs", "lib")]
    assert {pool["num_threads"] for pool in ours} == {count}
    ask = "import numpy, threadpoolctl; print({p['num_threads'] for p in threadpoolctl.threadpool_info()})"
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    assert said == f"{{{count}}}\n"


# --- Determinism ------------------------------------------------------------------------------------------------


@pytest.fixture
def free_choice_afterwards(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    compute.deterministic(False)


def test_the_switch_asks_torch_for_deterministic_kernels_and_gives_the_choice_back(free_choice_afterwards):
    compute.deterministic()
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.empty(3).isnan().all()  # in this mode torch fills the memory that nobody has written
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    compute.deterministic(False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_users_own_cublas_workspace_is_kept(free_choice_afterwards, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    compute.deterministic()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
