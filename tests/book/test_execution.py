"""What nbval has executed is not executed again by the build, unless the text or the code has changed since."""

from __future__ import annotations

import shutil
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import create_autospec

import nbformat
import pytest
from jupyter_cache import get_cache
from sphinx.application import Sphinx

from overparam import book
from tests.conftest import ROOT

TEXT = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A game

```{code-cell} ipython3
print(6 * 7)
```
"""


def notebook(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def test_nbval_keeps_the_outputs_of_notebooks_that_pass_and_of_no_other(tmp_path):
    shutil.copy(ROOT / "book" / "conftest.py", tmp_path)
    good, bad = tmp_path / "games" / "good.ipynb", tmp_path / "games" / "bad.ipynb"
    good.parent.mkdir()
    nbformat.write(notebook("answer = 6 * 7", "print(answer)"), good)
    nbformat.write(notebook("answer = 6 * 7", "print(question)"), bad)
    tests = [sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", tmp_path]
    done = subprocess.run(tests, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "3 passed" in done.stdout
    assert "1 failed" in done.stdout
    kept = nbformat.read(book.executed_path(tmp_path, good), as_version=4)
    assert [output.text for cell in kept.cells for output in cell.outputs] == ["42\n"]
    assert not book.executed_path(tmp_path, bad).exists()


@pytest.mark.parametrize(
    ("digest", "source", "printed"),
    [
        pytest.param("of now", "print(6 * 7)", "kept", id="both as they were"),
        pytest.param("of then", "print(6 * 7)", "42\n", id="the code has changed"),
        pytest.param("of now", "print(7 * 6)", "42\n", id="the text has changed"),
    ],
)
def test_a_build_takes_over_what_was_executed_if_nothing_has_changed(tmp_path, monkeypatch, digest, source, printed):
    page = tmp_path / "games" / "toy.md"
    page.parent.mkdir()
    page.write_text(TEXT)
    kept = notebook(source)
    kept.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text="kept")]
    kept.metadata.digest = digest
    path = book.executed_path(tmp_path, page)
    path.parent.mkdir(parents=True)
    nbformat.write(kept, path)
    monkeypatch.setattr(book, "content_digests", lambda source: {"games/toy": "of now"})
    monkeypatch.setattr(book, "quiet_environment", lambda: None)
    cache = tmp_path / "cache"
    app = create_autospec(Sphinx, instance=True, srcdir=str(tmp_path), outdir=str(tmp_path / "out"))
    app.config = SimpleNamespace(nb_execution_cache_path=str(cache), nb_execution_timeout=60)
    book.execute_changed(app)
    found = get_cache(cache).get_cached_project_nb(str(page))
    assert found is not None
    cells = get_cache(cache).get_cache_bundle(found.pk).nb.cells
    assert [output.text for cell in cells if cell.cell_type == "code" for output in cell.outputs] == [printed]
