"""The notebooks and their pairs; nbval itself runs the pairs, from the folder ``book``."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import warnings
from typing import NamedTuple

import nbformat
import pytest
import yaml

from overparam import __version__, book
from overparam.core import chapters
from overparam.core.ledger import REPRODUCED
from overparam.verification import totals
from tests.conftest import ROOT

BOOK = ROOT / "book"
CHECKED = "nbval-check-output"
SECTIONS = (
    "The question",
    "The result",
    "The code that matters",
    "The experiment",
    "What breaks it",
    "Claims",
    "At full scale",
    "Exercises",
    "Further reading",
)
CHAPTERS = [pytest.param(chapter, id=chapter.name) for chapter in chapters.chapters()]


class Page(NamedTuple):
    """A part's page that computes; like a chapter it has a name."""

    name: str


PARTS = [Page(name) for name in book.notebooks(BOOK) if name.endswith("/index")]
NOTEBOOKS = CHAPTERS + [pytest.param(page, id=page.name) for page in PARTS]


def text(chapter):
    return (BOOK / f"{chapter.name}.md").read_text()


def notebook(chapter):
    return nbformat.read(BOOK / f"{chapter.name}.ipynb", as_version=4)


def code_cells(chapter):
    return [cell for cell in notebook(chapter).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_the_pair_is_what_jupytext_makes_of_the_text(chapter, tmp_path):
    made = tmp_path / "made.ipynb"
    jupytext = [sys.executable, "-m", "jupytext", "--to", "ipynb", "--output", made, BOOK / f"{chapter.name}.md"]
    subprocess.run(jupytext, check=True, capture_output=True)
    fresh, stored = nbformat.read(made, as_version=4), notebook(chapter)
    assert [(c.cell_type, c.source, c.metadata) for c in fresh.cells] == [
        (c.cell_type, c.source, c.metadata) for c in stored.cells
    ], f"run: overparam book pair {chapter.name.removesuffix('/index')}"
    assert fresh.metadata.kernelspec == stored.metadata.kernelspec


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_only_checked_cells_store_output_and_all_of_them_do(chapter):
    # nbval passes a checked cell that has none.
    for cell in code_cells(chapter):
        assert bool(cell.outputs) == (CHECKED in cell.metadata.get("tags", [])), cell.source
        assert bool(cell.execution_count) == bool(cell.outputs), cell.source


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_last_code_cell_prints_every_verdict_and_no_measured_number(chapter):
    last = code_cells(chapter)[-1]
    assert CHECKED in last.metadata.tags
    lines = "".join(last.outputs[0].text).splitlines()
    row = chapters.ledger()[chapter.name]
    assert [line.split()[0] for line in lines] == [claim["id"] for claim in row["claims"]]
    for line, claim in zip(lines, row["claims"], strict=True):
        assert re.fullmatch(rf"{claim['id']} +(holds|not reproduced) +{re.escape(claim['bound'])}", line)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_sections_come_in_the_order_of_the_template(chapter):
    assert tuple(re.findall(r"^## (.+)$", text(chapter), re.M)) == SECTIONS
    assert f"```{{chapter-card}} {chapter.name}" in text(chapter)
    for question in (
        "What are the parameters?",
        "How many were needed?",
        "What does the excess cost?",
        "What does it buy?",
    ):
        assert question in text(chapter)


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_every_figure_has_a_caption_a_name_and_an_alternative_text(chapter):
    figures = [c.metadata.mystnb for c in code_cells(chapter) if "mystnb" in c.metadata]
    assert len(figures) >= (1 if chapter in PARTS else 3)
    for figure in figures:
        assert figure.figure.name.startswith("fig-")
        assert len(figure.figure.caption) > 40
        assert len(figure.image.alt) > 40
        assert f"{{numref}}`{figure.figure.name}`" in text(chapter)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_exercises_have_folded_solutions_that_run(chapter):
    names = re.findall(r"```\{exercise\}\n:label: (\S+)", text(chapter))
    assert len(names) >= 3
    for name in names:
        solution = re.search(
            rf"\{{solution-start\}} {name}\n:class: dropdown\n(.*?)\{{solution-end\}}", text(chapter), re.S
        )
        assert solution, name
        assert CHECKED in solution[1], name


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_a_notebook_imports_public_names_and_defines_no_function(chapter):
    for cell in code_cells(chapter):
        tree = ast.parse(re.sub(r"^(\s*)%.*$", r"\1pass", cell.source, flags=re.M))
        for node in ast.walk(tree):
            assert not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda)), cell.source
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_"), node.attr


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_the_first_cell_installs_this_version_on_colab_and_nothing_elsewhere(chapter):
    first = code_cells(chapter)[0].source
    assert f"overparam@v{__version__}" in first
    assert re.search(r'if "google.colab" in sys.modules:\n    %pip install', first)
    before = set(sys.modules)
    exec(compile(first.replace("%pip install", "raise AssertionError #"), "first cell", "exec"), {})
    assert set(sys.modules) == before


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_the_prose_keeps_to_the_style(chapter):
    prose = re.sub(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$", "", text(chapter), flags=re.S)
    for banned in ("as we can see", "simply", "In this section", "obviously"):
        assert banned.lower() not in prose.lower(), banned
    assert "!" not in re.sub(r"!\[", "", prose)
    # A line that begins with a per cent sign is a comment to MyST, and would be lost.
    assert not re.search(r"^%", text(chapter), re.M)


def test_every_chapter_and_every_parts_modules_are_in_the_table_of_contents():
    contents = yaml.safe_load((BOOK / "_toc.yml").read_text())
    listed = {
        section["file"]: chapter["file"]
        for part in contents["parts"]
        for chapter in part["chapters"]
        for section in chapter.get("sections", [])
    }
    pages = {chapter.name: f"{chapter.part}/index" for chapter in chapters.chapters()}
    others = {f"api/{name}": "api" for name in ("core", *chapters.parts())} | {"fragile": "ledger"}
    assert listed == pages | others


# --- The ledger -------------------------------------------------------------------------------------------------


def test_the_ledger_is_of_the_chapters_that_are_there():
    ledger = json.loads((BOOK / "ledger.json").read_text())["chapters"]
    assert set(ledger) == {chapter.name for chapter in chapters.chapters()}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_ledger_was_measured_on_the_module_that_is_there_with_twenty_seeds(chapter):
    row = chapters.ledger()[chapter.name]
    assert row["digest"] == chapter.digest(), (
        f"run: overparam verify {chapter.slug} --seeds 20 --export book/ledger.json"
    )
    assert row["seeds"][:20] == [*range(20)]
    if row["core"] != chapter.core_digest():
        warnings.warn(f"{chapter.name} was measured with another version of overparam.core", stacklevel=1)


def test_what_is_not_reproduced_has_its_reason_and_nothing_else_has():
    told = re.findall(r"^```\{claim-statistics\} (\S+)$", (BOOK / "fragile.md").read_text(), re.M)
    expected = {
        f"{name.split('/')[1]}/{claim['id']}"
        for name, row in chapters.ledger().items()
        for claim in row["claims"]
        if claim["verdict"] != REPRODUCED
    }
    assert set(told) == expected
    assert len(told) == len(expected)


def test_the_readme_says_what_the_ledger_costs():
    total = totals(chapters.ledger())
    minutes, hours = total["cpu_seconds"] / 60, total["all_cpu_seconds"] / 3600
    expected = (
        f"{total['claims']} claims of {total['chapters']} chapters, {total['reproduced']} of them reproduced: "
        f"{minutes:.0f} CPU-minutes for one seed, {hours:.1f} CPU-hours for all {total['runs']} runs"
    )
    assert expected in " ".join((ROOT / "README.md").read_text().split())
