"""What a notebook calls, in a kernel's shell of its own process and without the book's packages."""

from __future__ import annotations

import json
import subprocess
import sys

from overparam.core import notebook
from tests.conftest import ROOT

# A shell as a kernel has it: setup(), then a figure and glued numbers, and what a front end would be sent.
CELLS = """
import json
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

shell = InteractiveShell.instance()
assert shell.run_cell("from overparam.core import notebook; notebook.setup()").success
with capture_output() as captured:
    result = shell.run_cell(
        "import numpy, torch; notebook.glue(slope=-1.95, name='two', peak=numpy.float64(1.5), rank=torch.tensor(3),"
        " row=numpy.arange(2))"
    )
assert result.success
figure = shell.run_cell("from overparam.core import figures; figures.new()[0]").result
data, _ = shell.display_formatter.format(figure)
import torch
glued = {output.metadata["scrapbook"]["name"]: output.data for output in captured.outputs}
print(json.dumps([glued, sorted(data), torch.get_num_threads(), captured.stdout]))
"""


def test_in_a_notebook_figures_are_svg_on_one_thread_and_numbers_are_kept_unseen_for_the_text(tmp_path):
    import os

    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "OMP_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", CELLS], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    glued, formats, threads, printed = json.loads(done.stdout.splitlines()[-1])
    assert glued["slope"]["application/papermill.record/text/plain"] == "-1.95"
    assert glued["name"]["application/papermill.record/text/plain"] == "'two'"
    # A format such as ``.2f`` is applied to the text, which must be that of a plain number.
    assert glued["peak"]["application/papermill.record/text/plain"] == "1.5"
    assert glued["rank"]["application/papermill.record/text/plain"] == "3"
    assert glued["row"]["application/papermill.record/text/plain"] == "array([0, 1])"
    assert all(key.startswith("application/papermill.record/") for data in glued.values() for key in data)
    assert "image/svg+xml" in formats
    assert "image/png" not in formats
    assert threads == 1
    assert printed == ""


def test_without_the_books_packages_there_is_nothing_to_keep(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "myst_nb", None)
    notebook.glue(slope=-1.95)
    assert capsys.readouterr() == ("", "")
