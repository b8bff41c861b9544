"""The registry: finds the chapters by looking at the parts' packages, without importing any of them.

A chapter is a module, or a package, of a part that assigns ``PAPER = Paper(...)``. Its paper is read from the
source text, so that listing the book needs no torch; :meth:`Chapter.load` imports it.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent
BOOK = PACKAGE.parent / "book"
#: The parts in the book's order; a part that is not named here comes last.
PART_ORDER = (
    "dynamics",
    "generalization",
    "imperfect_data",
    "robustness",
    "compression",
    "adaptation",
    "scaling",
    "generative",
    "physics",
    "numerics",
)
#: Modules of ``core`` that chapters import and that no number depends on.
WITHOUT_NUMBERS = frozenset({"chapters", "figures", "progress"})
PROTOCOL = ("PAPER", "Config", "FULL", "Result", "run", "claims", "plot")


@dataclass(frozen=True)
class Paper:
    """The paper behind a chapter.

    ``arxiv`` is the identifier alone ("2310.01769"), ``code`` the address of the authors' code; either is None
    where there is none.
    """

    title: str
    authors: tuple[str, ...]
    year: int
    venue: str
    arxiv: str | None
    code: str | None

    @property
    def short(self) -> str:
        """The paper as a text cites it: "Xiong et al. (2024)"."""
        names = [author.split()[-1] for author in self.authors]
        who = names[0] if len(names) == 1 else " & ".join(names) if len(names) == 2 else f"{names[0]} et al."
        return f"{who} ({self.year})"


@dataclass(frozen=True)
class Chapter:
    """A chapter of the book: where it stands, its title, its paper and the level it asks for."""

    part: str
    slug: str
    title: str
    paper: Paper
    level: str = "intermediate"

    @property
    def name(self) -> str:
        """The chapter's name everywhere: "part/slug"."""
        return f"{self.part}/{self.slug}"

    def load(self) -> ModuleType:
        """Import the chapter's module (this imports torch).

        Raises
        ------
        AttributeError
            If the module lacks a name of the chapter protocol.
        """
        module = importlib.import_module(f"overparam.{self.part}.{self.slug}")
        if missing := [name for name in PROTOCOL if not hasattr(module, name)]:
            raise AttributeError(f"chapter {self.name} lacks {', '.join(missing)}")
        return module

    def digest(self) -> str:
        """A hash of the chapter's own source: results of another digest are of another version of the chapter."""
        return _hash(_sources(self.part, self.slug))

    def core_digest(self) -> str:
        """A hash of the modules of ``core`` that can change a result of the chapter.

        These are the modules that it imports, directly or through each other, without those of
        :data:`WITHOUT_NUMBERS`.
        """
        found: set[Path] = set()
        waiting = _sources(self.part, self.slug)
        while waiting:
            modules = {PACKAGE / "core" / f"{name}.py" for name in _imported_from_core(waiting.pop().read_text())}
            new = {path for path in modules - found if path.exists()}
            found |= new
            waiting += new
        return _hash(sorted(found))


class UnknownChapterError(LookupError):
    """No chapter has this name; the message suggests the nearest ones."""

    def __init__(self, name: str) -> None:
        known = [c.name for c in chapters()] + [c.slug for c in chapters()]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "`overparam list` shows them all"
        super().__init__(f"no chapter {name!r}; {hint}")


def find(name: str) -> Chapter:
    """The chapter called ``name``, "part/slug" or the slug alone.

    Raises
    ------
    UnknownChapterError
        If there is none.
    """
    for chapter in chapters():
        if name in (chapter.name, chapter.slug):
            return chapter
    raise UnknownChapterError(name)


@cache
def parts() -> dict[str, str]:
    """The parts that have a package, in the book's order: name to title (the package's first docstring line)."""
    found = [p.parent.name for p in PACKAGE.glob("*/__init__.py") if p.parent.name != "core"]
    order = {part: place for place, part in enumerate(PART_ORDER)}
    return {part: _part_title(part) for part in sorted(found, key=lambda p: (order.get(p, len(order)), p))}


@cache
def chapters() -> tuple[Chapter, ...]:
    """Every chapter of the book, by part and then by slug."""
    return tuple(chapter for part in parts() for chapter in _chapters_of(part))


def page_digest(part: str, slug: str | None = None) -> str:
    """A hash of what a chapter's page may show: the chapter and all of ``core``; without ``slug``, of a part's page."""
    slugs = [slug] if slug else [c.slug for c in chapters() if c.part == part]
    return _hash([*(path for one in slugs for path in _sources(part, one)), *sorted((PACKAGE / "core").glob("*.py"))])


def ledger() -> dict[str, Any]:
    """The committed ledger's chapters, by name; empty where the package was installed without the book."""
    path = BOOK / "ledger.json"
    return json.loads(path.read_text())["chapters"] if path.exists() else {}


def _chapters_of(part: str) -> list[Chapter]:
    folder = PACKAGE / part
    slugs = {p.stem for p in folder.glob("*.py")} | {p.parent.name for p in folder.glob("*/__init__.py")}
    trees = {slug: ast.parse(_sources(part, slug)[0].read_text()) for slug in sorted(slugs - {"__init__"})}
    return [_chapter(part, slug, tree) for slug, tree in trees.items() if _assigned(tree, "PAPER")]


def _chapter(part: str, slug: str, tree: ast.Module) -> Chapter:
    call = _assigned(tree, "PAPER")
    assert isinstance(call, ast.Call), f"PAPER of {part}/{slug} must be written out as Paper(...)"
    paper = Paper(
        *(ast.literal_eval(argument) for argument in call.args),
        **{keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg},
    )
    level = _assigned(tree, "LEVEL")
    return Chapter(part, slug, _first_line(tree, slug), paper, ast.literal_eval(level) if level else "intermediate")


def _sources(part: str, slug: str) -> list[Path]:
    """The chapter's source files, the one that holds PAPER first."""
    module = PACKAGE / part / f"{slug}.py"
    if module.exists():
        return [module]
    folder = PACKAGE / part / slug
    return [folder / "__init__.py", *sorted(p for p in folder.rglob("*.py") if p != folder / "__init__.py")]


def _hash(paths: Iterable[Path]) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:16]


@cache
def _imported_from_core(source: str) -> frozenset[str]:
    """The modules of ``core`` that a source text names in its imports, wherever in it they stand."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(name.split(".")[2] for name in names if name.startswith("overparam.core.")) - WITHOUT_NUMBERS


def _part_title(part: str) -> str:
    return _first_line(ast.parse((PACKAGE / part / "__init__.py").read_text()), part)


def _first_line(tree: ast.Module, default: str) -> str:
    return (ast.get_docstring(tree) or default).splitlines()[0].rstrip(".")


def _assigned(tree: ast.Module, name: str) -> ast.expr | None:
    """The expression that the module assigns to ``name`` at its top level."""
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                return node.value
    return None
