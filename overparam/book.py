"""The book's Sphinx extension: notebooks run in parallel, and pages that the registry and the ledger write.

Before a build it executes the chapters and the parts' pages whose notebook, modules or core changed, all cores at
once, into the cache that MyST-NB reads; what the tests have executed since the change is taken over. Its directives
(``chapter-card``, ``chapter-grid``, ``chapter-modules``, and those of :mod:`overparam.book_ledger`) show what the
registry (:mod:`overparam.core.chapters`) and the committed ``ledger.json`` know, so that no page repeats it by hand.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, ClassVar

import jupytext
import nbformat
from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.cache.main import JupyterCacheBase
from jupyter_cache.executors import load_executor
from nbclient import NotebookClient
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from overparam import __version__, book_ledger
from overparam.core import chapters
from overparam.core.chapters import Chapter
from overparam.core.claims import FAILS
from overparam.core.environment import ONE_THREAD, QUIET
from overparam.core.ledger import FRAGILE, REPRODUCED
from overparam.core.records import write_atomically

log = logging.getLogger(__name__)
MYST_NOTEBOOK = {"name": "myst_nb_md", "type": "plugin"}
CHECKED = "nbval-check-output"


# --- Execution --------------------------------------------------------------------------------------------------


def notebooks(source: Path) -> dict[str, str]:
    """The executable pages below ``source`` by name, with a digest of the code each runs: chapters and parts' pages."""
    pages = {chapter.name: chapters.page_digest(chapter.part, chapter.slug) for chapter in chapters.chapters()}
    pages |= {f"{part}/index": chapters.page_digest(part) for part in chapters.parts()}
    return {name: digest for name, digest in pages.items() if _is_notebook(source / f"{name}.md")}


def _is_notebook(page: Path) -> bool:
    return page.exists() and "{code-cell}" in page.read_text()


def execute_changed(app: Sphinx) -> None:
    """Execute, in parallel, the notebooks that changed since the cache saw them."""
    quiet_environment()
    cache = get_cache(app.config.nb_execution_cache_path or str(Path(app.outdir).parent / ".jupyter_cache"))
    seen_path = Path(cache.path) / "digests.json"
    seen = json.loads(seen_path.read_text()) if seen_path.exists() else {}
    source = Path(app.srcdir)
    current = {str(source / f"{name}.md"): digest for name, digest in content_digests(source).items()}
    for uri, digest in current.items():
        cache.add_nb_to_project(uri, read_data=MYST_NOTEBOOK)
        if seen.get(uri) != digest:
            _forget(cache, uri)
    for uri in _unexecuted(cache, current):
        _take_over(cache, uri, executed_path(source, Path(uri)), current[uri])
    if missing := _unexecuted(cache, current):
        log.info("executing %d notebook(s) on %d cores", len(missing), os.cpu_count() or 1)
        executor = load_executor("local-parallel", cache)
        outcome = executor.run_and_cache(filter_uris=missing, timeout=app.config.nb_execution_timeout)
        for uri in [*outcome.excepted, *outcome.errored]:
            log.warning("%s failed when executed", uri)
            current.pop(uri)
    write_atomically(seen_path, json.dumps(current).encode())


def content_digests(source: Path) -> dict[str, str]:
    """The executable pages below ``source`` by name, with a digest of all that their outputs depend on but their text.

    That is the code that each runs, and its row of the ledger, which a notebook may quote.
    """
    rows = chapters.ledger()
    return {name: _hash([digest, rows.get(name)]) for name, digest in notebooks(source).items()}


def executed_path(source: Path, notebook: Path) -> Path:
    """Where a test run keeps the outputs of ``notebook``, a page below ``source`` or its pair."""
    return source / "_build" / "executed" / notebook.relative_to(source).with_suffix(".ipynb")


def _unexecuted(cache: JupyterCacheBase, uris: dict[str, str]) -> list[str]:
    return [uri for record in cache.list_unexecuted() if (uri := str(record.uri)) in uris]


def _take_over(cache: JupyterCacheBase, uri: str, path: Path, digest: str) -> None:
    """Put the outputs that a test run kept into the cache, if they are of this text and this code."""
    if not path.exists():
        return
    kept, notebook = nbformat.read(path, as_version=4), cache.get_project_notebook(uri).nb
    if kept.metadata.digest != digest or _sources(kept) != _sources(notebook):
        return
    for count, (cell, old) in enumerate(zip(_code_cells(notebook), _code_cells(kept), strict=True), 1):
        cell.outputs, cell.execution_count = old.outputs, count
    cache.cache_notebook_bundle(CacheBundleIn(notebook, uri), overwrite=True)


def _sources(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in _code_cells(notebook)]


def _code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def quiet_environment() -> None:
    """What every kernel that a build starts inherits: one thread, no progress bars."""
    os.environ.update({**ONE_THREAD, QUIET: "1"})


def _hash(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _forget(cache: JupyterCacheBase, uri: str) -> None:
    if (record := cache.get_cached_project_nb(uri)) is not None:
        key: Any = record.pk
        cache.remove_cache(key)


def pair(source: Path) -> Path:
    """Write the notebook's pair: the .ipynb beside the .md, holding only the outputs that nbval compares.

    Returns
    -------
    The pair's path.
    """
    quiet_environment()
    notebook = jupytext.read(source)
    notebook.nbformat_minor = 4  # which has no cell ids: jupytext draws them at random
    for cell in notebook.cells:
        cell.pop("id", None)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(source.parent)}}).execute()
    for cell in _code_cells(notebook):
        cell.metadata.pop("execution", None)
        if CHECKED not in cell.metadata.get("tags", []):
            # nbval takes a cell with outputs but without a count for one that was never run, and the reverse.
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("language_info", None)
    path = source.with_suffix(".ipynb")
    write_atomically(path, (nbformat.writes(notebook) + "\n").encode())
    return path


# --- Directives -------------------------------------------------------------------------------------------------


class ChapterCard(SphinxDirective):
    """The card at the head of a chapter: paper, level, cost, what to read before, and the four answers."""

    has_content = True
    required_arguments = 1
    option_spec: ClassVar = {"before": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Build the card."""
        chapter = chapters.find(self.arguments[0])
        paper, row = chapter.paper, chapters.ledger().get(chapter.name)
        links = [f"[arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})"] if paper.arxiv else []
        links += [f"[the authors' code]({paper.code})"] if paper.code else []
        cost = f"{row['cpu_seconds']:.0f} CPU-seconds, {row['peak_memory'] / 2**30:.1f} GB" if row else "not measured"
        before = self.options.get("before", "nothing")
        lines = [
            f":::{{card}} {paper.title}",
            ":class-card: chapter-card",
            "",
            " · ".join([f"{', '.join(paper.authors)}. {paper.venue}", *links]),
            "",
            f"{{bdg-primary}}`{chapter.level}` {_badge(row)} · {cost} · read before: {before}",
            "",
            *self.content,
            ":::",
        ]
        return _parse(self, lines)


class ChapterGrid(SphinxDirective):
    """Cards of all chapters, or of one part's."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build the grid."""
        only = self.arguments[0] if self.arguments else None
        found: list[nodes.Node] = []
        for part, title in chapters.parts().items():
            if only in (None, part):
                found += [] if only else _parse(self, [f"### [{title}](/{part}/index.md)"])
                found += _parse(self, _grid([c for c in chapters.chapters() if c.part == part]))
        return found


def _grid(part: list[Chapter]) -> list[str]:
    rows = chapters.ledger()
    lines = ["::::{grid} 1 1 2 2", ":gutter: 3", ""]
    for chapter in part:
        lines += [
            f":::{{grid-item-card}} {_heading(chapter)}",
            f":link: /{chapter.name}",
            ":link-type: doc",
            "",
            f"{chapter.title}. {chapter.paper.short}",
            "",
            f"{_badge(rows.get(chapter.name))} {{bdg-secondary}}`{chapter.level}`",
            ":::",
        ]
    return [*lines, "::::"]


def _heading(chapter: Chapter) -> str:
    """What the chapter's page calls itself."""
    lines = (chapters.BOOK / f"{chapter.name}.md").read_text().splitlines()
    return next(line.removeprefix("# ") for line in lines if line.startswith("# "))


def _badge(row: dict[str, Any] | None) -> str:
    """How many of a chapter's claims the ledger counts as reproduced."""
    if row is None:
        return "{bdg-warning}`not in the ledger yet`"
    verdicts = [claim["verdict"] for claim in row["claims"]]
    color = "danger" if FAILS in verdicts else "warning" if FRAGILE in verdicts else "success"
    return f"{{bdg-{color}}}`{verdicts.count(REPRODUCED)} of {len(verdicts)} claims reproduced`"


class ChapterModules(SphinxDirective):
    """The documentation of the modules of a part's chapters."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build it, chapter after chapter."""
        found: list[nodes.Node] = []
        for chapter in (one for one in chapters.chapters() if one.part == self.arguments[0]):
            module = f"overparam.{chapter.part}.{chapter.slug}"
            documented = ["```{eval-rst}", f".. automodule:: {module}", "   :members:", "```"]
            found += _parse(self, [f"## {_heading(chapter)}", "", *documented])
        return found


def _parse(directive: Directive, lines: list[str]) -> list[nodes.Node]:
    """MyST text as nodes, in the place of the directive."""
    container = nodes.Element()
    directive.state.nested_parse(StringList(lines, source="overparam.book"), directive.content_offset, container)
    return container.children


def outdated(app: Sphinx, env: BuildEnvironment, *_: set[str]) -> list[str]:
    """All pages, if something changed that shows on every page and that Sphinx does not watch."""
    static = sorted(path for path in (Path(app.srcdir) / "_static").rglob("*") if path.is_file())
    watched = [Path(__file__), Path(book_ledger.__file__), chapters.BOOK / "ledger.json", *static]
    content = [path.read_bytes() for path in watched if path.exists()]
    pairs = [str(path) for path in sorted(Path(app.srcdir).glob("*/*.ipynb"))]
    digest = _hash([content, pairs, chapters.chapters()])
    seen, env.overparam_digest = getattr(env, "overparam_digest", None), digest  # type: ignore[attr-defined]
    return [] if seen == digest else sorted(env.found_docs)


def drop_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Leave out the scripts of Thebe, which Jupyter Book adds, twice, to every page, for a CDN that we never ask."""
    scripts = context["script_files"]
    context["script_files"] = [s for s in scripts if "thebe" not in f"{s.filename}{s.attributes.get('body')}".lower()]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything with Sphinx."""
    app.add_directive("chapter-card", ChapterCard)
    app.add_directive("chapter-grid", ChapterGrid)
    app.add_directive("chapter-modules", ChapterModules)
    app.add_directive("ledger-table", book_ledger.LedgerTable)
    app.add_directive("ledger-map", book_ledger.LedgerMap)
    app.add_directive("ledger-totals", book_ledger.LedgerTotals)
    app.add_directive("ledger-costs", book_ledger.LedgerCosts)
    app.add_directive("claim-statistics", book_ledger.ClaimStatistics)
    app.add_role("claim", book_ledger.ClaimRole())
    app.connect("builder-inited", execute_changed)
    app.connect("env-get-outdated", outdated)
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
