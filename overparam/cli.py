"""The command line: list, show, run and verify chapters, and build the book.

Nothing here imports torch before a chapter runs, so that help and listings answer at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from overparam import __version__, verification
from overparam.core import chapters
from overparam.core import verify as engine
from overparam.core.chapters import Chapter
from overparam.core.claims import VerdictTable
from overparam.core.records import Record, read_records, updating, write_atomically

app = typer.Typer(
    name="overparam",
    help="An executable book on parameterization: every result a claim that the code measures and that can fail.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
book_app = typer.Typer(help="Build the book and look at it.", no_args_is_help=True)
app.add_typer(book_app, name="book")
out = Console()


def main() -> None:
    """Entry point of the ``overparam`` command."""
    app()


def _fail(message: str) -> NoReturn:
    """One line on stderr and exit status 2: the request was wrong, nothing was run."""
    print(f"overparam: {message}", file=sys.stderr)
    raise typer.Exit(2)


def _chapter(name: str) -> Chapter:
    try:
        return chapters.find(name)
    except chapters.UnknownChapterError as error:
        _fail(str(error))


def _complete(incomplete: str) -> list[str]:
    by_name = [c.name for c in chapters.chapters() if c.name.startswith(incomplete)]
    return by_name or [c.slug for c in chapters.chapters() if c.slug.startswith(incomplete)]


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"overparam {__version__}")
        raise typer.Exit
    return wanted


ChapterName = Annotated[str, typer.Argument(help="part/slug, or the slug alone", autocompletion=_complete)]


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


#: The columns of the listing.
LISTED = ("part", "chapter", "paper", "level", "CPU time")


@app.command("list")
def list_chapters(part: Annotated[str | None, typer.Option(help="Only this part.")] = None) -> None:
    """List the chapters: part, chapter, paper, level, CPU time."""
    known = chapters.parts()
    if part is not None and part not in known:
        _fail(f"no part {part!r}; there are {', '.join(known)}")
    ledger = chapters.ledger()
    # On a narrow terminal the paper is cut short, and nothing else: one line a chapter.
    columns = [Column(name, no_wrap=True, ratio=1 if name == "paper" else None) for name in LISTED]
    table = Table(*columns, box=None, pad_edge=False, expand=True)
    for chapter in chapters.chapters():
        if part in (None, chapter.part):
            cost = ledger.get(chapter.name, {}).get("cpu_seconds")
            time = "not measured" if cost is None else f"{cost:.0f} s"
            table.add_row(chapter.part, chapter.slug, chapter.paper.short, chapter.level, time)
    out.print(table)


@app.command()
def show(chapter: ChapterName) -> None:
    """Show a chapter: its paper, its claims as the ledger has them, and how to run it."""
    found = _chapter(chapter)
    paper = found.paper
    out.print(f"[bold]{escape(found.title)}[/]  ({found.name}, {found.level})")
    year = "" if str(paper.year) in paper.venue else f", {paper.year}"
    out.print(escape(f"{', '.join(paper.authors)}. {paper.title}. {paper.venue}{year}."))
    if paper.arxiv:
        out.print(f"paper: https://arxiv.org/abs/{paper.arxiv}")
    if paper.code:
        out.print(f"authors' code: {paper.code}")
    row = chapters.ledger().get(found.name)
    if row is None:
        out.print("\nThe ledger has no run of it yet.")
    else:
        table = verification.table(
            "claim", "held", "median", "bound", "statement", title=f"over {len(row['seeds'])} seeds"
        )
        for claim in row["claims"]:
            held = f"{verification.mark(claim)} {claim['passed']}/{len(row['seeds'])}"
            median = f"{float(claim['measured'][1]):.3g}"
            words = map(escape, (median, claim["bound"], claim["statement"]))
            table.add_row(escape(claim["id"]), held, *words)
        out.print(table)
    out.print(f"\nRun it:  overparam run {found.name}")
    out.print(f"At the paper's scale, on a GPU:  overparam run {found.name} --full")


@app.command()
def run(
    chapter: ChapterName,
    full: Annotated[bool, typer.Option("--full", help="The paper's scale (a GPU, please).")] = False,
    seed: Annotated[int | None, typer.Option(max=2**63 - 1, help="Seed of everything random.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a field of the configuration.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write result.json and the figures here.")
    ] = None,
) -> None:
    """Run a chapter and hold its claims; exit status 1 if one does not hold."""
    found = _chapter(chapter)
    if directory is not None:
        _make_writable(directory)
    module = found.load()
    from overparam.core import compute, datasets, figures

    config = _configure(module, full, seed, settings or [])
    # At reader scale one thread: the numbers then do not depend on the machine's cores.
    compute.use_threads(os.cpu_count() or 1 if full else 1)
    try:
        result, record = engine.measure(found, config, device=device, progress=sys.stderr.isatty())
    except (compute.DeviceError, datasets.MissingExtraError) as error:
        _fail(str(error))
    out.print(VerdictTable(record.claims))
    out.print(f"{record.cpu_seconds:.1f} CPU-seconds, {record.peak_memory / 2**30:.2f} GB, on {record.device}")
    if directory is not None:
        for name in sorted(n for n in dir(module) if n == "plot" or n.startswith("plot_")):
            figures.save(getattr(module, name)(result), directory, name)
        content = {**json.loads(record.to_json()), "result": _plain(result)}
        write_atomically(directory / "result.json", json.dumps(content, indent=1).encode())
        out.print(f"wrote result.json and the figures to {escape(str(directory))}", soft_wrap=True)
    raise typer.Exit(0 if all(claim.holds for claim in record.claims) else 1)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[CHAPTER]...", autocompletion=_complete)] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0..N-1.")] = 2,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at a time; the default is one a core.")] = None,
    records: Annotated[Path, typer.Option(metavar="DIR", help="Where the records are kept.")] = Path("runs/ledger"),
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write, or update, the summary that the book's ledger shows.")
    ] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS|local", help="Run on the Dask cluster of this scheduler.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Run nothing: what the records, or else the committed ledger, say.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Lines of JSON for machines, one as each run ends.")] = False,
) -> None:
    """Run chapters over seeds in worker processes, keeping every finished record; exit status 1 if a claim fails."""
    # One chapter named twice, "slug" and "part/slug", is measured once.
    wanted = list(dict.fromkeys(map(_chapter, names))) if names else list(chapters.chapters())
    if report:
        _report(wanted, records, as_json)
        raise typer.Exit
    _make_writable(records)
    if export is not None:
        if export.is_dir():
            _fail(f"cannot write {export}: it is a directory")
        _make_writable(export.parent)
        _exported(export)
    outcome = _verify(wanted, range(seeds), records, jobs or os.cpu_count() or 1, dask, as_json)
    summary = _plain(_summary(outcome.records))
    complete = not (outcome.broken or outcome.failed)
    if as_json:
        counts = {"records": len(outcome.records), "measured": outcome.measured, "complete": complete}
        verification.print_json(event="summary", **counts, **summary)
    else:
        for name, row in summary["chapters"].items():
            out.print(verification.claims_table(name, row))
        if verification.too_few(summary["chapters"]):
            out.print(f"{verification.UNDECIDED} held with every seed, but these are too few to say reproduced")
        for reason, count in Counter(outcome.outdated.values()).items():
            out.print(f"{count} records were of {reason} and had to be made anew")
        out.print(f"{len(outcome.records)} records, {outcome.measured} of them measured now")
    for error in outcome.broken:
        print(f"overparam: {error}; move it away to measure this seed again", file=sys.stderr)
    for task, error in outcome.failed.items():
        print(f"overparam: {task.chapter} with seed {task.seed} failed: {error}", file=sys.stderr)
    if export is not None and complete:
        _export(summary["chapters"], export)
        if not as_json:
            out.print(f"wrote {escape(str(export))}", soft_wrap=True)
    held = all(claim.holds for record in outcome.records for claim in record.claims)
    raise typer.Exit(0 if held and complete else 1)


def _verify(
    wanted: list[Chapter], seeds: range, records: Path, jobs: int, dask: str | None, as_json: bool
) -> engine.Verification:
    """Measure what is missing, and show how it goes."""
    tally = verification.Tally(engine.tasks(wanted, seeds, records), engine.expected_cpu_seconds())
    if as_json:
        shown = nullcontext(partial(verification.add_and_print, tally))
    elif verification.watched():
        shown = verification.live(tally, Console(stderr=True))
    else:
        shown = nullcontext(tally.add)
    try:
        with nullcontext() if dask is None else engine.dask_executor(dask, jobs) as executor, shown as tell:
            return engine.verify(wanted, seeds, records, executor=executor, jobs=jobs, on_task=tell)
    except engine.NoClusterError as error:
        _fail(str(error))


def _summary(records: Iterable[Record]) -> dict[str, Any]:
    from overparam.core.ledger import summarize

    return summarize(records)


def _report(wanted: list[Chapter], directory: Path, as_json: bool) -> None:
    """Print what is known about the chapters without running any."""
    now = {chapter.name: (chapter.digest(), chapter.core_digest()) for chapter in wanted}
    records, broken = read_records(directory)
    found = [record for record in records if record.chapter in now]
    for error in broken:
        print(f"overparam: {error}", file=sys.stderr)
    if outdated := sum((record.digest, record.core) != now[record.chapter] for record in found):
        print(f"overparam: {outdated} of these records are of another version of the code", file=sys.stderr)
    committed = {name: row for name, row in chapters.ledger().items() if name in now}
    rows = _plain(_summary(found))["chapters"] if found else committed
    if not rows:
        _fail(f"nothing to report: {directory} has no records of these chapters, and neither has the ledger")
    if as_json:
        verification.print_json(event="report", **verification.totals(rows), rows=rows)
        return
    out.print(verification.cost_table(rows))
    out.print(f"from {'the records in ' + escape(str(directory)) if found else 'the committed ledger'}", soft_wrap=True)


def _export(rows: dict[str, Any], path: Path) -> None:
    """Put the rows into the file; those of other chapters, which this call did not measure, stay as they are."""
    with updating(path):
        content = {"chapters": dict(sorted({**_exported(path), **rows}.items()))}
        write_atomically(path, f"{json.dumps(content, indent=1)}\n".encode())


def _exported(path: Path) -> dict[str, Any]:
    """The rows of an earlier export, of chapters that are still there."""
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text())["chapters"]
    except (ValueError, KeyError, TypeError):
        _fail(f"cannot update {path}: it is no export of verify")
    there = {chapter.name for chapter in chapters.chapters()}
    return {name: row for name, row in rows.items() if name in there}


@book_app.command()
def build(
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")] = False,
) -> None:
    """Build the book; chapters that changed are executed, in parallel, the others come from the cache."""
    import subprocess

    source = _book()
    _need_book_extra()
    start = "from jupyter_book.cli.main import main; main()"
    options = ["-W", "--keep-going"] if strict else []
    status = subprocess.run([sys.executable, "-c", start, "build", str(source), *options], check=False).returncode
    if status == 0:
        out.print(f"open {source / '_build' / 'html' / 'index.html'}")
    raise typer.Exit(status)


@book_app.command()
def pair(
    names: Annotated[list[str] | None, typer.Argument(metavar="[CHAPTER|PART]...", autocompletion=_complete)] = None,
) -> None:
    """Write the .ipynb pairs of notebooks, chapters' and parts' pages, with the outputs that the tests compare."""
    wanted = [f"{name}/index" if name in chapters.parts() else _chapter(name).name for name in names or []]
    source = _book()
    _need_book_extra()
    from overparam import book

    for name in wanted or book.notebooks(source):
        out.print(f"wrote {book.pair(source / f'{name}.md')}")


@book_app.command()
def serve(port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine.")] = 8000) -> None:
    """Serve the built book on this machine."""
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    handler = partial(SimpleHTTPRequestHandler, directory=str(_built()))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        _fail(f"cannot serve on port {port}: {error.strerror}")
    out.print(f"http://127.0.0.1:{server.server_port}  (Ctrl-C ends it)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


@book_app.command("open")
def open_book() -> None:
    """Open the built book in a browser."""
    typer.launch((_built() / "index.html").as_uri())


def _book() -> Path:
    for place in (Path("book").resolve(), chapters.BOOK):
        if (place / "_config.yml").exists():
            return place
    _fail("no book here; run this from a checkout of the repository")


def _need_book_extra() -> None:
    from importlib.util import find_spec

    if find_spec("jupyter_book") is None:
        _fail("jupyter-book is missing; install it with: pip install 'overparam[book]'")


def _built() -> Path:
    html = _book() / "_build" / "html"
    if not (html / "index.html").exists():
        _fail("the book is not built yet; run: overparam book build")
    return html


def _configure(module: Any, full: bool, seed: int | None, settings: list[str]) -> Any:
    """The configuration that the options describe."""
    base = module.FULL if full else module.Config()
    changes = dict(_setting(module.Config, text) for text in settings)
    if seed is not None:
        changes["seed"] = seed
    try:
        return replace(base, **changes)
    except (ValueError, TypeError) as error:
        _fail(str(error))


def _setting(config: type, text: str) -> tuple[str, Any]:
    """Parse "name=value" by the type of the field."""
    import difflib

    from pydantic import TypeAdapter, ValidationError

    name, equals, value = text.partition("=")
    known = [f.name for f in fields(config)]
    if not equals:
        _fail(f"--set wants NAME=VALUE, got {text!r}")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        _fail(f"--set {text}: no field {name!r}; {hint}")
    hint = get_type_hints(config)[name]
    adapter = TypeAdapter(hint)
    # As JSON, as the inside of a JSON list (for tuples), and as it is (for strings); JSON's true is no number.
    strictly = partial(adapter.validate_json, strict=True)
    for read in (strictly, lambda v: strictly(f"[{v}]"), adapter.validate_python):
        try:
            return name, read(value)
        except ValidationError:
            continue
    _fail(f"--set {text}: {name} expects {getattr(hint, '__name__', None) if isinstance(hint, type) else hint}")


def _make_writable(directory: Path) -> None:
    """Refuse a folder that cannot be written before anything is run."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        _fail(f"cannot write to {directory}: {error.strerror}")


def _plain(value: Any) -> Any:
    """A result as JSON can hold it: tensors and arrays as lists, numbers that JSON lacks as strings."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if (as_list := getattr(value, "tolist", None)) is not None:
        return _plain(as_list())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
