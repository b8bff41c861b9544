"""Where and how a chapter computes: device, seeds, threads, determinism."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence

import torch

from overparam.core.environment import THREAD_VARIABLES

Device = torch.device | str | None


class DeviceError(ValueError):
    """The device asked for is unknown, not on this machine, or cannot hold the dtype."""


def device(name: Device = None, *, dtype: torch.dtype = torch.float32) -> torch.device:
    """The device to run on.

    Parameters
    ----------
    name
        "cpu", "cuda", "cuda:1", "mps" or a ``torch.device``; "auto" or None picks the best one present.
    dtype
        What will be computed there: Apple's GPUs have no float64, so "auto" passes over them for it.

    Raises
    ------
    DeviceError
        If the device is unknown, not on this machine, or cannot hold ``dtype``.
    """
    if name is None or name == "auto":
        return torch.device(_available(dtype)[0])
    try:
        wanted = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"unknown device {str(name)!r}, expected auto, cpu, cuda, cuda:0 or mps") from None
    if wanted.type == "mps" and dtype == torch.float64:
        raise DeviceError("device 'mps' has no float64, which this computation needs; use cpu")
    there = _available(dtype)
    if wanted.type not in there and str(wanted) not in there:
        raise DeviceError(f"device {str(name)!r} is not on this machine, which has {', '.join(there)}")
    if wanted.index is not None and wanted.type == "cuda" and wanted.index >= torch.cuda.device_count():
        raise DeviceError(f"device {str(name)!r} is not on this machine, which has {torch.cuda.device_count()} GPU(s)")
    return wanted


def _available(dtype: torch.dtype) -> list[str]:
    gpu = ["cuda"] if torch.cuda.is_available() else []
    apple = ["mps"] if torch.backends.mps.is_available() and dtype != torch.float64 else []
    return [*gpu, *apple, "cpu"]


def generator(seed: int) -> torch.Generator:
    """A CPU generator: what it draws is moved to the device afterwards, so that every device sees the same data."""
    return torch.Generator().manual_seed(seed)


def seeds(seed: int, count: int) -> list[int]:
    """Seeds of ``count`` independent streams, so that changing what one part of a run draws leaves the others alone."""
    return torch.randint(2**62, (count,), generator=generator(seed)).tolist()


def streams(seed: int, names: Sequence[Hashable]) -> dict[Hashable, int]:
    """The :func:`seeds` of as many streams as there are names, by name."""
    return dict(zip(names, seeds(seed, len(names)), strict=True))


def use_threads(count: int) -> None:
    """Let this process, numpy's BLAS and every process it starts use ``count`` threads.

    ``torch.set_num_threads`` alone leaves OpenBLAS and MKL as they were.
    """
    from threadpoolctl import threadpool_limits

    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(count)))
    torch.set_num_threads(count)
    threadpool_limits(count)


def deterministic(on: bool = True) -> None:
    """Ask torch for the deterministic kernels, or, with False, give it back its choice.

    On one CPU thread a chapter repeats bit for bit without it; some CUDA kernels need it.
    """
    if on:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(on)
