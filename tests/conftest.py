"""Set-up for every test: shapes checked at run time, one thread, and a way to test refusals."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import hypothesis
import jaxtyping
import pytest

import tests.typecheck  # noqa: F401 - the hook below names it

# Before anything imports overparam: from here on every annotated shape and type of the package is checked.
HOOK = jaxtyping.install_import_hook("overparam", "tests.typecheck.checked")

import overparam  # noqa: E402
from overparam.core import chapters, compute  # noqa: E402
from tests import toys  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

compute.use_threads(1)
# Hypothesis would fail a test that is slow on a busy machine.
hypothesis.settings.register_profile("any speed", deadline=None)
hypothesis.settings.load_profile("any speed")
# The processes that a test starts (command line, notebook kernels) run on one thread too.
os.environ.setdefault("PYTHONWARNINGS", "default")


@contextlib.contextmanager
def refuses(exception: type[Exception] | tuple[type[Exception], ...], match: str) -> Iterator[None]:
    """Expect a refusal by the function itself: the run-time shape check, which would come first, is off inside."""
    with unchecked(), pytest.raises(exception, match=match):
        yield


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Switch the run-time check of types and shapes off, for what the hints rule out but users do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def toy_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The registry sees the toy chapters of :mod:`tests.toys` instead of ours; the tree's package directory."""
    package = toys.tree(tmp_path / "toys")
    monkeypatch.setattr(chapters, "PACKAGE", package)
    monkeypatch.setattr(chapters, "BOOK", tmp_path / "toys" / "book")
    monkeypatch.setattr(overparam, "__path__", [*overparam.__path__, str(package)])
    with fresh_registry():
        yield package
    for name in [name for name in sys.modules if name.startswith("overparam.games")]:
        del sys.modules[name]
    vars(overparam).pop("games", None)


@contextlib.contextmanager
def fresh_registry() -> Iterator[None]:
    """What the registry remembers is forgotten before and after."""
    for cached in (chapters.chapters, chapters.parts):
        cached.cache_clear()
    try:
        yield
    finally:
        for cached in (chapters.chapters, chapters.parts):
            cached.cache_clear()


def small_config(chapter: chapters.Chapter) -> object:
    """The chapter's ``SMALL`` configuration, which its test module defines for the checks that every chapter passes."""
    return _test_module(chapter).SMALL


def _test_module(chapter: chapters.Chapter) -> ModuleType:
    name = f"tests_of_{chapter.slug}"
    if name not in sys.modules:
        path = ROOT / "tests" / chapter.part / f"test_{chapter.slug}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
