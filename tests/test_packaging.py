"""The files around the package agree with each other: dependencies, versions, licences, commands, workflows."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import overparam
from overparam.core import chapters
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"pytorch": "torch"}


def requirements(*extras: str) -> dict[str, Requirement]:
    """The direct dependencies, of the base and of some extras, by name."""
    lines = PROJECT["dependencies"] + [r for extra in extras for r in PROJECT["optional-dependencies"][extra]]
    found = map(Requirement, lines)
    return {canonicalize_name(r.name): r for r in found if r.name != "overparam"}


def constraints() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def environment() -> dict[str, Requirement]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    found = [Requirement(line) for line in listed if isinstance(line, str)]
    return {canonicalize_name(CONDA_NAMES.get(r.name, r.name)): r for r in found}


def test_every_direct_dependency_is_pinned_within_its_range():
    pins = constraints()
    for name, requirement in requirements(*PROJECT["optional-dependencies"]).items():
        assert name in pins, name
        assert pins[name] in requirement.specifier, name
    assert pins["torch"] == Version("2.13.0")


def test_everything_that_the_extras_bring_along_is_pinned():
    """What pip resolved for the extras, walked through the installed packages' own metadata."""
    needed, frontier = set(), list(requirements(*PROJECT["optional-dependencies"]).values())
    while frontier:
        requirement = frontier.pop()
        name = canonicalize_name(requirement.name)
        key = (name, tuple(sorted(requirement.extras)))
        if key in needed:
            continue
        needed.add(key)
        for line in metadata.requires(name) or []:
            child = Requirement(line)
            wanted = [
                child.marker is None,
                *(child.marker.evaluate({"extra": e}) for e in ("", *requirement.extras) if child.marker),
            ]
            if any(wanted):
                frontier.append(child)
    # pip freeze leaves out what comes with pip itself.
    assert {name for name, _ in needed} - set(constraints()) <= {"pip", "setuptools", "wheel"}


def test_the_pins_are_what_is_installed_here():
    installed = {canonicalize_name(d.name): Version(d.version) for d in metadata.distributions()}
    # Another system or Python may need fewer packages.
    for name, pin in constraints().items():
        assert name not in installed or Version(installed[name].public) == pin, name
    assert "torch" in installed


def test_the_conda_environment_has_the_base_dependencies_with_the_same_ranges():
    conda = environment()
    python = conda.pop("python")
    assert str(python.specifier) == PROJECT["requires-python"]
    conda.pop("pip")
    assert {name: str(r.specifier) for name, r in conda.items()} == {
        name: str(r.specifier) for name, r in requirements().items()
    }
    text = (ROOT / "environment.yml").read_text()
    assert "- -e .[book]" in text
    assert "conda-forge" in text


def test_every_part_that_needs_more_has_an_extra_and_all_has_everything():
    extras = PROJECT["optional-dependencies"]
    assert {"book", "test", "full", "dev", "all"} <= set(extras)
    (everything,) = map(Requirement, extras["all"])
    assert set(everything.extras) == set(extras) - {"all"}
    assert set(extras) - {"book", "cluster", "test", "full", "dev", "all"} <= set(chapters.PART_ORDER)


def test_the_version_is_said_once_and_agreed_with_elsewhere():
    assert PROJECT["dynamic"] == ["version"]
    assert metadata.version("overparam") == overparam.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == overparam.__version__


def test_the_licences_are_there_and_named():
    assert (ROOT / "LICENSE").read_text().startswith("BSD 3-Clause License")
    assert "Attribution 4.0" in (ROOT / "LICENSE-book").read_text()
    assert PROJECT["license"] == "BSD-3-Clause"


def commands() -> list[str]:
    return re.findall(r"^```bash\n(.*?)\n```", (ROOT / "README.md").read_text(), re.M | re.S)[:2]


def test_the_readmes_two_commands_are_single_lines_that_make_their_own_environment():
    run, test = commands()
    for command in (run, test):
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install")
        assert "-c constraints.txt" in command
    assert "overparam run" in run
    assert "book build" in run
    # The site's tests come last: their build takes over the notebooks that the others have executed.
    first, last = re.findall(r"-m pytest (.+?)(?: &&|$)", test)
    assert first == "-q -n auto --dist loadfile --ignore tests/book/test_site.py"
    assert last == "-q -n auto --dist worksteal tests/book/test_site.py"


def test_ci_runs_the_readmes_test_command():
    extract = next(line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("command="))
    done = subprocess.run(
        ["bash", "-c", f'{extract}; printf %s "$command"'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == commands()[1]


def test_workflows_and_citation_fit_their_schemas():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert workflows
    for schema, files in (("github-workflows", workflows), ("citation-file-format", [ROOT / "CITATION.cff"])):
        done = subprocess.run([*check, f"vendor.{schema}", *files], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not shutil.which("actionlint"), reason="no actionlint here; the workflow `tests` installs it")
def test_actionlint_finds_nothing_in_the_workflows():
    done = subprocess.run(["actionlint"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "command", [["ruff", "check"], ["ruff", "format", "--check"], ["pyright", "--pythonpath", sys.executable]]
)
def test_the_code_is_clean(command):
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines()]


def test_nothing_committed_names_a_place_on_somebodys_machine():
    machine = re.compile(r"/(?:work|farm|home|Users|root)/[a-z]|/tmp/[a-z]")
    for path in tracked_files():
        if path.suffix in {".py", ".md", ".yml", ".toml", ".txt", ".cff", ".ipynb", ".json", ".css", ""}:
            found = [line for line in path.read_text().splitlines() if machine.search(line)]
            assert not [line for line in found if "machine = re.compile" not in line], path


def test_torch_loads_weights_only():
    for path in tracked_files():
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                    assert "weights_only=True" in map(ast.unparse, node.keywords), (path, node.lineno)


def test_the_package_installs_what_the_command_line_needs_and_no_tests(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    pytest.importorskip("hatchling")
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    assert "overparam/cli.py" in names
    assert "overparam/dynamics/matrix_sensing.py" in names
    assert not [name for name in names if name.startswith(("tests", "book"))]
