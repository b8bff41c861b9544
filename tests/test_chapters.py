"""What every chapter passes, found by the registry: protocol, repetition, refusals, isolation."""

from __future__ import annotations

import dataclasses
import inspect
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from overparam.core import chapters
from overparam.core.claims import Claim
from tests.conftest import ROOT, refuses, small_config

CHAPTERS = [pytest.param(chapter, id=chapter.name) for chapter in chapters.chapters()]


@pytest.fixture(scope="module")
def first_run():
    """The result of each chapter's small run, made once."""
    results = {}

    def result(chapter):
        if chapter.name not in results:
            results[chapter.name] = chapter.load().run(small_config(chapter), device="cpu", progress=False)
        return results[chapter.name]

    return result


def test_there_are_chapters():
    assert {"dynamics/matrix_sensing", "imperfect_data/noisy_labels"} <= {c.name for c in chapters.chapters()}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_protocol_is_kept(chapter, first_run):
    module = chapter.load()
    assert isinstance(module.PAPER, chapters.Paper)
    assert chapter.paper == module.PAPER
    assert module.LEVEL in ("introductory", "intermediate", "advanced")
    for data in (module.Config, module.Result):
        assert dataclasses.is_dataclass(data)
        with pytest.raises(dataclasses.FrozenInstanceError):
            object.__new__(data).anything = 1
    assert module.Config().seed == 0
    assert isinstance(module.FULL, module.Config)
    assert module.Config() != module.FULL
    parameters = inspect.signature(module.run).parameters
    assert list(parameters) == ["config", "device", "progress"]
    assert parameters["device"].default is None
    assert parameters["progress"].default is True
    result = first_run(chapter)
    assert isinstance(result, module.Result)
    claims = module.claims(result)
    assert all(isinstance(claim, Claim) for claim in claims)
    assert len({claim.id for claim in claims}) == len(claims) > 0
    for claim in claims:  # the ledger tells how far from its bound a claim is
        assert any(map(math.isfinite, claim.limits)), claim.id
    for name in (n for n in dir(module) if n == "plot" or n.startswith("plot_")):
        assert isinstance(getattr(module, name)(result), Figure)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_same_seed_gives_the_same_result_bit_for_bit(chapter, first_run):
    again = chapter.load().run(small_config(chapter), device="cpu", progress=False)
    assert_identical(first_run(chapter), again)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_another_seed_gives_another_result(chapter, first_run):
    config = dataclasses.replace(small_config(chapter), seed=12_345)
    with pytest.raises(AssertionError):
        assert_identical(first_run(chapter), chapter.load().run(config, device="cpu", progress=False))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_gpu_runs_it_and_hands_back_what_can_be_plotted(chapter):
    module = chapter.load()
    result = module.run(small_config(chapter), device="cuda", progress=False)
    assert all(isinstance(claim, Claim) for claim in module.claims(result))
    assert isinstance(module.plot(result), Figure)
    assert_on_the_cpu(result)


def assert_on_the_cpu(value, where="result"):
    """Whoever gets a result need not know where it was computed."""
    if isinstance(value, torch.Tensor):
        assert value.device.type == "cpu", where
    elif dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            assert_on_the_cpu(getattr(value, f.name), f"{where}.{f.name}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            assert_on_the_cpu(inner, f"{where}[{key}]")
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            assert_on_the_cpu(inner, f"{where}[{i}]")


def assert_identical(one, other, where="result"):
    assert type(one) is type(other), where
    if dataclasses.is_dataclass(one):
        for f in dataclasses.fields(one):
            if f.name != "config":
                assert_identical(getattr(one, f.name), getattr(other, f.name), f"{where}.{f.name}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one.nan_to_num(-1), other.nan_to_num(-1)), where
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, err_msg=where)
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_identical(one[key], other[key], f"{where}[{key}]")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_identical(*pair, f"{where}[{i}]")
    else:
        assert one == other or (one != one and other != other), where


def bad_fields():
    """Every number of every configuration, with a value that none of them may have."""
    for chapter in chapters.chapters():
        for f in dataclasses.fields(chapter.load().Config):
            value = getattr(chapter.load().Config(), f.name)
            if isinstance(value, bool):
                continue
            bad = {int: -1, float: math.nan, str: "no-such-thing"}.get(type(value))
            if bad is not None:
                yield pytest.param(chapter, f.name, bad, id=f"{chapter.slug}-{f.name}")


@pytest.mark.parametrize(("chapter", "name", "bad"), list(bad_fields()))
def test_a_bad_configuration_is_refused_by_name_and_value(chapter, name, bad):
    with refuses(ValueError, match=f"{name}.*{bad}"):
        dataclasses.replace(chapter.load().Config(), **{name: bad})


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_device_that_is_not_there_is_refused(chapter):
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="cuda"):
            chapter.load().run(small_config(chapter), device="cuda", progress=False)


def test_no_chapter_imports_another_and_core_imports_no_part():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    # A part that the contracts forget would be held to nothing.
    contracts = (ROOT / "pyproject.toml").read_text()
    for part in chapters.parts():
        assert f'"overparam.{part}.*"' in contracts, part
        assert f"overparam.{part} " in contracts or f"overparam.{part}" + '"' in contracts, part


def test_help_and_the_registry_need_no_torch():
    program = (
        "import sys; from overparam.core import chapters; chapters.chapters(); import overparam.cli;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
