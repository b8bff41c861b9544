"""The command line: what it prints and writes, how it ends, and one line for every request that is wrong."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
import typer
from typer.testing import CliRunner

import overparam
from overparam import cli
from overparam.core import chapters, compute, verify
from overparam.core.records import read_record, record_path
from tests import toys
from tests.conftest import ROOT


def invoke(*arguments, **kwargs):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], **kwargs)


def process(package, *arguments, cwd, **variables):
    command = [sys.executable, "-m", "overparam", *map(str, arguments)]
    environment = toys.environment(package, **variables)
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def plain_json(path):
    """JSON as the standard has it: without NaN and Infinity, which Python's parser would let pass."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def measure_here(monkeypatch):
    """Let verify measure in this process, one run after the other: chapters share it and are no threads' friends."""
    monkeypatch.setattr(verify, "_in_own_process", verify._measure_task)
    monkeypatch.setattr(cli.os, "cpu_count", lambda: 1)


@pytest.fixture(autouse=True)
def wide_terminal_and_one_thread_afterwards(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    yield
    compute.use_threads(1)


# --- Without torch ----------------------------------------------------------------------------------------------


def test_help_listings_cards_and_completion_answer_without_torch():
    code = """
import sys
from typer.testing import CliRunner
from overparam.cli import app

def invoke(*arguments, **environment):
    result = CliRunner().invoke(app, arguments, env=environment, prog_name="overparam")
    heavy = {"torch", "numpy", "scipy", "matplotlib"} & set(sys.modules)
    assert not heavy, (arguments, heavy)
    return result

for arguments in ("--help",), ("run", "--help"), ("verify", "--help"), ("book", "--help"), ("list",), ("--version",):
    assert invoke(*arguments).exit_code == 0, arguments
assert "matrix_sensing" in invoke("list").stdout
assert "Xiong" in invoke("show", "matrix_sensing").stdout
assert invoke("show", "matrixsensing").exit_code == 2
completed = invoke(_OVERPARAM_COMPLETE="complete_bash", COMP_WORDS="overparam run dyn", COMP_CWORD="2").stdout
assert "dynamics/matrix_sensing" in completed.split(), completed
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- Completion -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("run ", ["games/coin", "games/dice"]),
        ("show games/c", ["games/coin"]),
        ("run co", ["coin"]),
        ("verify coin di", ["dice"]),
        ("run x", []),
        ("bo", ["book"]),
        ("book o", ["open"]),
    ],
)
def test_the_shell_completes_commands_and_chapters_by_name_and_by_slug(toy_book, words, offered):
    environment = {
        "_OVERPARAM_COMPLETE": "complete_bash",
        "COMP_WORDS": f"overparam {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }
    assert invoke(env=environment, prog_name="overparam").stdout.split() == offered


# --- list, show -------------------------------------------------------------------------------------------------


def test_a_listing_has_a_row_for_every_chapter_or_those_of_a_part():
    assert [row.split()[:2] for row in invoke("list").stdout.splitlines()[1:]] == [
        [chapter.part, chapter.slug] for chapter in chapters.chapters()
    ]
    rows = invoke("list", "--part", "dynamics").stdout.splitlines()[1:]
    assert rows
    assert {row.split()[0] for row in rows} == {"dynamics"}


def test_what_verify_exports_is_what_list_and_show_tell(toy_book, monkeypatch, tmp_path):
    measure_here(monkeypatch)
    before = invoke("list").stdout
    assert re.search(r"games +coin +Lee & Ek \(1999\) +introductory +not measured", before)
    assert "The ledger has no run of it yet." in invoke("show", "coin").stdout
    ledger = chapters.BOOK / "ledger.json"
    done = invoke("verify", "coin", "--seeds", "3", "--records", tmp_path / "records", "--export", ledger)
    assert done.exit_code == 0, done.output
    assert re.search(r"games +coin +Lee & Ek \(1999\) +introductory +0 s", invoke("list").stdout)
    card = invoke("show", "coin").stdout
    for line in (
        "Tossing a coin  (games/coin, introductory)",
        "Ann Lee, Bo Ek. On [a] Coin. Toys, 1999.",
        "paper: https://arxiv.org/abs/9901.00001",
        "overparam run games/coin --full",
    ):
        assert line in card
    shares = sorted(claim.measured for seed in range(3) for claim in claims_of(tmp_path / "records", seed))
    row = ("fair", "○ 3/3", f"{shares[1]:.3g}", "share in [low, high]", "half the tosses")
    assert re.search("[ │]+".join(map(re.escape, row)), card)
    assert "authors' code" not in card
    assert "arxiv" not in invoke("show", "dice").stdout
    assert "authors' code: https://example.org/dice" in invoke("show", "dice").stdout


def claims_of(records, seed):
    return read_record(record_path(records, "games/coin", seed)).claims


def test_the_version_is_the_packages():
    assert invoke("--version").stdout == f"overparam {overparam.__version__}\n"


# --- run --------------------------------------------------------------------------------------------------------


def test_a_real_chapter_holds_its_claims_and_writes_what_it_measured(tmp_path):
    directory = tmp_path / "new" / "[folder]"
    changes = {"n": 10, "k": 4, "measurements": 1000, "steps": 2000}
    settings = [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
    done = invoke("run", "matrix_sensing", "--device", "cpu", *settings, "--out", directory)
    assert done.exit_code == 0, done.output
    content = plain_json(directory / "result.json")
    assert len(content["claims"]) == done.stdout.count("✓ holds") > 3
    for claim in content["claims"]:
        assert claim["id"] in done.stdout
        assert claim["holds"] is True
    assert {name: content["config"][name] for name in changes} == changes
    assert (content["chapter"], content["device"]) == ("dynamics/matrix_sensing", "cpu")
    assert content["versions"]["overparam"] == overparam.__version__
    assert f"{content['cpu_seconds']:.1f} CPU-seconds, {content['peak_memory'] / 2**30:.2f} GB" in done.stdout
    assert len(content["result"]["symmetric_over"]) == len(content["result"]["steps"]) == 201
    assert str(directory) in done.stdout
    plots = {path.stem for path in directory.iterdir()} - {"result"}
    assert "plot" in plots
    assert {path.name for path in directory.iterdir()} == {"result.json"} | {
        f"{plot}{suffix}" for plot in plots for suffix in (".png", ".svg")
    }


def test_a_claim_that_fails_is_shown_and_ends_the_run_with_status_1():
    done = invoke("run", "dynamics/matrix_sensing", "--set", "steps=300")
    assert done.exit_code == 1
    assert "✗ not reproduced" in done.stdout
    assert "✓ holds" in done.stdout  # some of them still do
    assert done.stderr == ""


def test_a_process_of_its_own_writes_the_same_result_without_a_single_escape_code(tmp_path, toy_book):
    runs = [process(toy_book, "run", "coin", "--out", "there", cwd=tmp_path)]
    runs.append(invoke("run", "coin", "--out", tmp_path / "here"))
    assert [runs[0].returncode, runs[1].exit_code] == [0, 0], runs[0].stderr
    for run in runs:
        assert re.search(r"fair +✓ holds +0\.\d+ +share in \[low, high\]", run.stdout)
        assert "\x1b" not in run.stdout + run.stderr
    there, here = (plain_json(tmp_path / name / "result.json") for name in ("there", "here"))
    assert there["claims"] == here["claims"]
    assert there["result"] == here["result"]
    assert there["result"]["spread"] == "nan"
    assert sum(there["result"]["heads"]) / 400 == there["claims"][0]["measured"]
    for name in ("plot.png", "plot.svg"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), {"tosses": 400, "bias": 0.5, "sides": [0.0, 1.0], "label": "coin", "seed": 0}),
        (("--full",), {"tosses": 4000}),
        (("--full", "--set", "tosses=40"), {"tosses": 40}),
        (("--seed", "3", "--set", "seed=4"), {"seed": 3}),
        (("--set", "bias=1"), {"bias": 1.0}),
        (("--set", "sides=2,3.5"), {"sides": [2.0, 3.5]}),
        (("--set", "sides=[2, 3.5]"), {"sides": [2.0, 3.5]}),
        (("--set", "sides=2"), {"sides": [2.0]}),
        (("--set", "label=a=b"), {"label": "a=b"}),
        (("--set", "label=7"), {"label": "7"}),
        (("--set", "label="), {"label": ""}),
        (("--set", "tosses=5", "--set", "tosses=6"), {"tosses": 6}),
    ],
)
def test_options_change_the_configuration_and_nothing_else(toy_book, tmp_path, settings, expected):
    done = invoke("run", "coin", *settings, "--out", tmp_path)
    assert done.exit_code in (0, 1), done.output
    default = vars(chapters.find("coin").load().Config())
    config = plain_json(tmp_path / "result.json")["config"]
    assert config == {**default, "sides": list(default["sides"]), **expected}


# --- Requests that are wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("run matrixsensing", "no chapter 'matrixsensing'; did you mean 'matrix_sensing'?"),
        ("show dynamic/matrix_sensing", "no chapter 'dynamic/matrix_sensing'; did you mean 'dynamics/matrix_sensing'?"),
        ("verify matrix_sensing zzz", "no chapter 'zzz'; `overparam list` shows them all"),
        ("list --part dynamic", "no part 'dynamic'; there are dynamics, "),
        ("run matrix_sensing --set lr=abc", "--set lr=abc: lr expects float"),
        ("run matrix_sensing --set lr=", "--set lr=: lr expects float"),
        ("run matrix_sensing --set lr=true", "--set lr=true: lr expects float"),
        ("run matrix_sensing --set steps=1.5", "--set steps=1.5: steps expects int"),
        ("run matrix_sensing --set alphas=1,x", "--set alphas=1,x: alphas expects tuple[float, ...]"),
        ("run matrix_sensing --set lrr=1", "--set lrr=1: no field 'lrr'; did you mean 'lr'?"),
        ("run matrix_sensing --set qqq=1", "--set qqq=1: no field 'qqq'; there are seed, n, rank, k, "),
        ("run matrix_sensing --set lr", "--set wants NAME=VALUE, got 'lr'"),
        ("run matrix_sensing --set =1", "--set =1: no field ''; there are seed, "),
        ("run matrix_sensing --set k=1", "k must lie above rank 2 and be at most n 20, got 1"),
        ("run matrix_sensing --set lr=nan", "lr must be positive and finite, got nan"),
        ("run matrix_sensing --seed -3", "seed must be an integer of at least 0, got -3"),
        ("run matrix_sensing --device nonsense", "unknown device 'nonsense', expected auto, cpu, cuda, cuda:0 or mps"),
        ("run matrix_sensing --device mps", "device 'mps' has no float64, which this computation needs; use cpu"),
        ("run matrix_sensing --device cuda:99", "device 'cuda:99' is not on this machine, which has "),
        ("run noisy_labels --full --set source=FILE", "source must be a folder of parquet files, got 'FILE'"),
        ("run matrix_sensing --out FILE", "cannot write to FILE: File exists"),
        ("run matrix_sensing --out FILE/below", "cannot write to FILE/below: Not a directory"),
        ("verify matrix_sensing --records FILE/below", "cannot write to FILE/below: Not a directory"),
        ("verify matrix_sensing --records DIR --export FILE/below.json", "cannot write to FILE: File exists"),
        ("verify matrix_sensing --records DIR --export DIR", "cannot write DIR: it is a directory"),
        ("verify matrix_sensing --records DIR --dask nonsense://x", "no Dask scheduler answers at 'nonsense://x': "),
    ],
)
def test_a_request_that_is_wrong_is_answered_with_one_line_and_status_2(arguments, line, tmp_path):
    (tmp_path / "file").write_text("in the way")
    places = {"FILE": str(tmp_path / "file"), "DIR": str(tmp_path)}
    for name, place in places.items():
        arguments, line = arguments.replace(name, place), line.replace(name, place)
    done = invoke(*arguments.split())
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith(f"overparam: {line}")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")
    assert (tmp_path / "file").read_text() == "in the way"
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_a_missing_extra_is_named_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    done = invoke("run", "noisy_labels", "--full")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "overparam: datasets is missing; install it with: pip install 'overparam[full]'\n"


def test_the_extra_for_a_cluster_is_named_in_one_line(monkeypatch, records):
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = invoke("verify", "coin", "--records", records, "--dask", "local")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "overparam: distributed is missing; install it with: pip install 'overparam[cluster]'\n"


@pytest.mark.parametrize("command", [["build"], ["pair", "matrix_sensing"]])
def test_the_books_extra_is_named_where_it_is_missing(monkeypatch, command):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = invoke("book", *command)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "overparam: jupyter-book is missing; install it with: pip install 'overparam[book]'\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "matrix_sensing", "--seed", "abc"],
        ["run", "matrix_sensing", "--seed", str(2**63)],
        ["verify", "--seeds", "0"],
        ["verify", "--jobs", "0"],
        ["book", "serve", "--port", "70000"],
        ["rnu", "matrix_sensing"],
    ],
)
def test_what_the_parser_refuses_ends_with_status_2_and_nothing_on_stdout(arguments):
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    assert "Usage: " in done.stderr


def test_a_wrong_request_in_a_process_of_its_own_leaves_no_traceback(toy_book, tmp_path):
    done = process(toy_book, "run", "coyn", cwd=tmp_path, PYTHONWARNINGS="ignore")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "overparam: no chapter 'coyn'; did you mean 'coin'?\n"


# --- verify -----------------------------------------------------------------------------------------------------


@pytest.fixture
def records(toy_book, monkeypatch, tmp_path):
    """Where records go; they are measured in this process, and each run is logged."""
    measure_here(monkeypatch)
    monkeypatch.setenv(toys.LOG, str(tmp_path / "log"))
    return tmp_path / "records"


def test_verify_shows_the_statistics_and_keeps_what_it_has(records, tmp_path):
    first = invoke("verify", "coin", "games/coin", "--seeds", "3", "--records", records)
    assert first.exit_code == 0, first.output
    shares = sorted(claim.measured for seed in range(3) for claim in claims_of(records, seed))
    spread = f"{(shares[2] - shares[0]) / 2:.2g}"
    assert "games/coin" in first.stdout
    assert re.search(rf"fair +○ 3/3 +0\.44 to 1\.00 +{shares[1]:.3g} +{spread} +[\d.]+ spreads", first.stdout)
    assert "○ held with every seed, but these are too few to say reproduced" in first.stdout
    assert "3 records, 3 of them measured now" in first.stdout
    second = invoke("verify", "coin", "--seeds", "3", "--records", records)
    assert "3 records, 0 of them measured now" in second.stdout
    assert sorted(toys.runs(tmp_path / "log")) == [0, 1, 2]
    assert re.search(
        r"fair +✓ 16/16 +0\.81 to 1\.00", invoke("verify", "coin", "--seeds", 16, "--records", records).stdout
    )


def test_verify_says_what_had_to_be_made_anew_and_why(toy_book, records):
    assert invoke("verify", "coin", "--seeds", "2", "--records", records).exit_code == 0
    with (toy_book / "games" / "coin.py").open("a") as source:
        source.write("# a change\n")
    done = invoke("verify", "coin", "--seeds", "3", "--records", records)
    assert "2 records were of another version of the chapter and had to be made anew" in done.stdout
    assert "3 records, 3 of them measured now" in done.stdout


def test_verify_reports_a_claim_that_fails_with_status_1_and_exports_it_all_the_same(toy_book, records, tmp_path):
    source = toy_book / "games" / "coin.py"
    source.write_text(source.read_text().replace("0.4 < share", "0.51 < share").replace("(0.4, 0.6)", "(0.51, 0.6)"))
    done = invoke("verify", "coin", "--seeds", "4", "--records", records, "--export", tmp_path / "out" / "ledger.json")
    assert done.exit_code == 1
    passed = sum(claim.measured > 0.51 for seed in range(4) for claim in claims_of(records, seed))
    assert 0 < passed < 4
    assert f"{'~' if passed >= 2 else '✗'} {passed}/4" in done.stdout
    (claim,) = plain_json(tmp_path / "out" / "ledger.json")["chapters"]["games/coin"]["claims"]
    assert claim["passed"] == passed
    assert claim["held"].count(True) == passed


def test_verify_tells_machines_a_line_for_each_run_and_the_summary(records, tmp_path):
    invoke("verify", "coin", "--seeds", "1", "--records", records)
    export = tmp_path / "ledger.json"
    done = invoke("verify", "--seeds", "2", "--records", records, "--json", "--export", export)
    assert done.exit_code == 1  # the dice
    *ends, last = map(json.loads, done.stdout.splitlines())
    assert [(e["event"], e["chapter"], e["seed"], e["outcome"], e["done"], e["of"]) for e in ends[:1]] == [
        ("task", "games/coin", 0, "kept", 1, 4)
    ]
    outcomes = {(end["chapter"], end["seed"]): end["outcome"] for end in ends}
    assert outcomes == {
        ("games/coin", 0): "kept",
        ("games/coin", 1): "measured",
        ("games/dice", 0): "failed",
        ("games/dice", 1): "failed",
    }
    assert {end["error"] for end in ends if end["outcome"] == "failed"} == {
        f"die {seed} rolled off the table" for seed in (0, 1)
    }
    assert ends[-1]["seconds_left"] == 0
    assert (last["event"], last["records"], last["measured"], last["complete"]) == ("summary", 2, 1, False)
    assert last["chapters"]["games/coin"]["seeds"] == [0, 1]
    assert not export.exists()


def test_a_report_runs_nothing_and_sums_up_what_the_records_say_or_else_the_ledger(toy_book, records, tmp_path):
    nothing = invoke("verify", "--report", "--records", records)
    assert (nothing.exit_code, nothing.stdout) == (2, "")
    assert nothing.stderr.startswith(f"overparam: nothing to report: {records} has no records of these chapters")
    invoke("verify", "coin", "--seeds", "16", "--records", records, "--export", chapters.BOOK / "ledger.json")
    runs = toys.runs(tmp_path / "log")
    for directory, source in ((records, f"the records in {records}"), (tmp_path / "none", "the committed ledger")):
        told = invoke("verify", "--report", "--records", directory)
        assert told.exit_code == 0, told.output
        assert re.search(r"games/coin +16 +0\.0 +\d\.\d\d GB +1 of 1", told.stdout)
        assert re.search(r"one seed of each +1 +0 +\d\.\d\d GB +1 of 1", told.stdout)
        assert re.search(r"all of it +16 +0 +\d\.\d\d GB +1 of 1", told.stdout)
        assert f"from {source}" in told.stdout
        machine = json.loads(invoke("verify", "--report", "--json", "--records", directory).stdout)
        assert (machine["event"], machine["runs"], machine["claims"], machine["reproduced"]) == ("report", 16, 1, 1)
    assert toys.runs(tmp_path / "log") == runs
    with (toy_book / "games" / "coin.py").open("a") as source:
        source.write("# a change\n")
    told = invoke("verify", "--report", "--records", records)
    assert told.stderr == "overparam: 16 of these records are of another version of the code\n"


def test_a_terminal_shows_how_it_goes_and_a_continuous_integration_nothing(toy_book, tmp_path):
    command = [sys.executable, "-m", "overparam", "verify", "coin", "dice", "--seeds", "2", "--jobs", "1"]
    seen = {}
    for name, variables in {"terminal": {}, "ci": {"CI": "1"}}.items():
        variables = {"TERM": "xterm-256color", "COLUMNS": "120", toys.SECONDS: "0.8", **variables}
        environment = {k: v for k, v in toys.environment(toy_book, **variables).items() if name == "ci" or k != "CI"}
        seen[name] = through_a_terminal([*command, "--records", tmp_path / name], tmp_path, environment, status=1)
    for words in ("chapters × seeds", "/4 done", "1 running", "2 failed", "games/coin, seed", " left"):
        assert words in seen["terminal"], words
        assert words not in seen["ci"], words
    assert "die 1 rolled off the table" in seen["ci"]


def test_an_export_keeps_the_rows_of_other_chapters_and_drops_those_of_chapters_that_are_gone(records, tmp_path):
    export, other = tmp_path / "ledger.json", {"seeds": [7], "claims": []}
    export.write_text(json.dumps({"chapters": {"games/dice": other, "games/gone": other, "games/coin": other}}))
    assert invoke("verify", "coin", "--seeds", "2", "--records", records, "--export", export).exit_code == 0
    rows = plain_json(export)["chapters"]
    assert list(rows) == ["games/coin", "games/dice"]
    assert rows["games/dice"] == other
    assert rows["games/coin"]["seeds"] == [0, 1]


@pytest.mark.parametrize("content", ["{", "[]", '{"claims": 1}'])
def test_a_file_that_is_no_export_is_not_overwritten(records, tmp_path, content):
    export = tmp_path / "ledger.json"
    export.write_text(content)
    done = invoke("verify", "coin", "--records", records, "--export", export)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"overparam: cannot update {export}: it is no export of verify\n"
    assert export.read_text() == content
    assert not list(records.rglob("*.json"))


def test_verify_names_a_broken_record_leaves_it_and_exports_nothing(records, tmp_path):
    broken = record_path(records, "games/coin", 0)
    broken.parent.mkdir(parents=True)
    broken.write_text("{}")
    export = tmp_path / "ledger.json"
    done = invoke("verify", "coin", "--records", records, "--export", export)
    assert done.exit_code == 1
    assert "1 records, 1 of them measured now" in done.stdout
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"overparam: broken record {broken}: ")
    assert done.stderr.endswith("; move it away to measure this seed again\n")
    assert broken.read_text() == "{}"
    assert not export.exists()
    broken.unlink()
    assert invoke("verify", "coin", "--records", records, "--export", export).exit_code == 0
    assert plain_json(export)["chapters"]["games/coin"]["seeds"] == [0, 1]


def test_verify_of_all_chapters_names_the_one_that_cannot_run_and_exports_nothing(records, tmp_path):
    done = invoke("verify", "--seeds", "1", "--records", records, "--export", tmp_path / "ledger.json")
    assert done.exit_code == 1
    assert done.stderr == "overparam: games/dice with seed 0 failed: die 0 rolled off the table\n"
    assert "1 records, 1 of them measured now" in done.stdout
    assert not (tmp_path / "ledger.json").exists()


# --- Colour -----------------------------------------------------------------------------------------------------


def in_a_terminal(tmp_path, **variables):
    """What ``overparam --help`` sends to a terminal that can show colours."""
    environment = toys.environment(chapters.PACKAGE, TERM="xterm-256color", **variables)
    return through_a_terminal([sys.executable, "-m", "overparam", "--help"], tmp_path, environment)


def through_a_terminal(command, folder, environment, status=0):
    """What a command sends to the terminal that it runs in."""
    master, slave = pty.openpty()
    child = subprocess.Popen(command, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    said = b""
    while True:
        try:
            said += (read := os.read(master, 4096))
        except OSError:  # Linux ends the stream of a closed terminal this way
            break
        if not read:
            break
    os.close(master)
    assert child.wait() == status, said.decode()
    return said.decode()


def test_a_terminal_gets_colours_unless_no_color_is_set(tmp_path):
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")
    assert colour.search(in_a_terminal(tmp_path))
    plain = in_a_terminal(tmp_path, NO_COLOR="1")
    assert "verify" in plain
    assert not colour.search(plain)


# --- book -------------------------------------------------------------------------------------------------------


@pytest.fixture
def book(toy_book, monkeypatch, tmp_path):
    """A checkout's book folder, not built yet; the working directory is another one."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    chapters.BOOK.mkdir()
    (chapters.BOOK / "_config.yml").touch()
    return chapters.BOOK


def built(book):
    (book / "_build" / "html").mkdir(parents=True)
    (book / "_build" / "html" / "index.html").write_text("<h1>the book</h1>")


@pytest.mark.parametrize("command", ["open", "serve"])
def test_a_book_that_is_not_built_cannot_be_looked_at_and_says_so(book, command):
    done = invoke("book", command)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "overparam: the book is not built yet; run: overparam book build\n"


@pytest.mark.parametrize("command", ["open", "serve", "build"])
def test_an_installed_package_has_no_book_and_says_where_there_is_one(book, command):
    (book / "_config.yml").unlink()
    done = invoke("book", command)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "overparam: no book here; run this from a checkout of the repository\n"


@pytest.mark.parametrize("here", [True, False])
def test_the_built_book_opens_by_its_address_from_the_checkout_and_from_elsewhere(book, monkeypatch, here):
    built(book)
    if here:
        monkeypatch.chdir(book.parent)
    opened = []
    monkeypatch.setattr(typer, "launch", opened.append)
    assert invoke("book", "open").exit_code == 0
    assert opened == [f"file://{book.resolve()}/_build/html/index.html"]


def test_the_built_book_is_served_until_ctrl_c(book, toy_book):
    built(book)
    server = subprocess.Popen(
        [*toys.INTERRUPTIBLE, "book", "serve", "--port", "0"],
        env=toys.environment(toy_book),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=30) as page:
            assert page.read() == b"<h1>the book</h1>"
        taken = invoke("book", "serve", "--port", address.rpartition(":")[2])
        server.send_signal(signal.SIGINT)
        server.wait(30)
    finally:
        server.kill()
        server.communicate()
    assert server.returncode == 0
    assert taken.exit_code == 2
    assert re.fullmatch(r"overparam: cannot serve on port \d+: Address already in use\n", taken.stderr)


@pytest.mark.parametrize(("options", "passed"), [([], []), (["--strict"], ["-W", "--keep-going"])])
@pytest.mark.parametrize("status", [0, 3])
def test_a_build_is_jupyter_books_and_ends_with_its_status(book, monkeypatch, tmp_path, capfd, options, passed, status):
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nshift 2\necho "$@" >&2\nexit {status}\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(cli.sys, "executable", str(interpreter))
    done = invoke("book", "build", *options)
    assert done.exit_code == status
    assert capfd.readouterr().err.split() == ["build", str(book), *passed]
    assert ("index.html" in done.stdout) is (status == 0)
