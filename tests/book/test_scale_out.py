"""The commands and programs of the page on clusters, run as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from overparam.core.environment import ONE_THREAD
from overparam.core.records import read_records
from tests.conftest import ROOT

PAGE = (ROOT / "book" / "scale_out.md").read_text()
ENVIRONMENT = {**os.environ, **ONE_THREAD, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def block(language, word):
    """The fenced block of the page that has this word."""
    (found,) = [
        text for name, text in re.findall(r"```(\w+)\n(.*?)```", PAGE, re.S) if name == language and word in text
    ]
    return found


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_scheduler_and_two_workers_started_by_hand_verify_a_chapter(tmp_path):
    port = str(free_port())
    scheduler, worker, verify = block("bash", "dask scheduler").replace("8786", port).splitlines()
    started = []
    try:
        for command in (scheduler, worker):
            with (tmp_path / f"log-{len(started)}").open("w") as log:
                started.append(
                    subprocess.Popen(shlex.split(command), cwd=tmp_path, env=ENVIRONMENT, stdout=log, stderr=log)
                )
            time.sleep(1)
        done = subprocess.run(
            shlex.split(verify), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
        )
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(30)
    assert "4 records, 4 of them measured now" in done.stdout, done.stderr
    records, broken = read_records(tmp_path / "runs" / "ledger")
    assert [(r.chapter, r.seed) for r in records] == [("scaling/imperfect_verifiers", seed) for seed in range(4)]
    assert broken == []


def test_the_job_that_slurm_would_get_is_the_one_that_is_shown():
    command = shlex.split(block("bash", "job_script"))
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    shown = block("text", "#SBATCH").splitlines()
    assert [line for line in done.stdout.splitlines() if line.startswith("#SBATCH")] == shown[:-2]
    assert shown[-1].split()[4:] == done.stdout.strip().splitlines()[-1].split()[4:]  # but for paths and the port


def test_the_script_for_slurm_uses_what_there_is():
    program = block("python", "cluster.scale")
    compile(program, "page", "exec")
    imports = [line for line in program.splitlines() if line.startswith("from")]
    exec("\n".join(imports), {})
    assert "executor=client.get_executor()" in program


def test_the_sweep_over_step_sizes_runs(tmp_path):
    program = tmp_path / "sweep.py"
    program.write_text(block("python", "sweep(exponent"))
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    slopes = [float(number) for number in done.stdout.strip("[]\n").split(",")]
    assert len(slopes) == 3
    assert all(-2.5 < slope < -1.5 for slope in slopes)


@pytest.mark.parametrize("line", re.findall(r"^overparam verify [^\n]*", PAGE, re.M))
def test_every_option_that_the_page_shows_is_there(line):
    said = subprocess.run(
        [sys.executable, "-m", "overparam", "verify", "--help"],
        env={**ENVIRONMENT, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for option in re.findall(r"--[a-z]+", line.partition("#")[0]):
        assert option in said
