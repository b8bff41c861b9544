"""What nbval executes is kept for the build, which would otherwise compute every chapter once more."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell

from overparam import book
from overparam.core.records import write_atomically

SOURCE = Path(__file__).resolve().parent

book.quiet_environment()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note what a notebook is about to be run against: an edit during the run must not pass for what was run."""
    if isinstance(item, IPyNbCell) and not hasattr(item.parent, "digest"):
        name = item.path.relative_to(SOURCE).with_suffix("").as_posix()
        item.parent.digest, item.parent.outputs = book.content_digests(SOURCE).get(name), []


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> None:
    """Collect the outputs of the cells that pass."""
    if isinstance(item, IPyNbCell) and call.when == "call" and call.excinfo is None:
        item.parent.outputs.append(item.test_outputs)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Keep the notebook when its last cell is through, if all of them passed."""
    if not isinstance(item, IPyNbCell) or (nextitem is not None and nextitem.parent is item.parent):
        return
    notebook = nbformat.read(item.path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if len(cells) != len(item.parent.outputs):
        return
    for cell, outputs in zip(cells, item.parent.outputs, strict=True):
        cell.outputs = nbformat.from_dict(outputs)
    notebook.metadata.digest = item.parent.digest
    write_atomically(book.executed_path(SOURCE, item.path), nbformat.writes(notebook).encode())
