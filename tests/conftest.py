"""Set-up for every test: shapes checked at run time, one thread, and a way to test refusals."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jaxtyping
import pytest

import tests.typecheck  # noqa: F401 - the hook below names it

# Before anything imports overparam: from here on every annotated shape and type of the package is checked.
HOOK = jaxtyping.install_import_hook("overparam", "tests.typecheck.checked")

from overparam.core import chapters, compute  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

compute.use_threads(1)
# The processes that a test starts (command line, notebook kernels) run on one thread too.
os.environ.setdefault("PYTHONWARNINGS", "default")


@contextlib.contextmanager
def refuses(exception: type[Exception] | tuple[type[Exception], ...], match: str) -> Iterator[None]:
    """Expect a refusal by the function itself: the run-time shape check, which would come first, is off inside."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(exception, match=match):
            yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


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
