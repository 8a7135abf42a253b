"""Two drivers, jobs of a killed driver, and jobs whose driver dies: with real processes that are really killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scalinglab import locks

SLEEP = "import time; print('holds', flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def process(code: str) -> subprocess.Popen:
    """Python that runs `code` and then sleeps; returns when it says that it holds its lock."""
    started = subprocess.Popen(
        [sys.executable, "-c", f"from scalinglab import locks; {code}; {SLEEP}"], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "holds\n"
    return started


def attempt(code: str) -> str:
    """What Python that runs `code` prints, or the last line of its error."""
    command = [sys.executable, "-c", f"from scalinglab import locks; {code}; print('ran')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return (done.stdout + done.stderr).strip().split("\n")[-1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("locks.run_alone('snakemake')", "locks.run_alone('snakemake')"),
        ("locks.run_alone('snakemake')", "locks.run_as_job(of_snakemake=False)"),
        ("locks.run_as_job(of_snakemake=False)", "locks.run_alone('snakemake')"),
    ],
    ids=["two snakemakes", "dvc repro beside snakemake", "snakemake beside dvc repro"],
)
def test_the_second_stops_with_the_name_of_the_first(first: str, second: str) -> None:
    holder = process(first)
    said = attempt(second)
    assert f"process {holder.pid}, runs in this folder; wait until it has ended" in said
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert attempt(second) == "ran", "a killed holder leaves nothing behind"


@pytest.mark.parametrize("of_snakemake", [True, False])
def test_jobs_run_side_by_side(of_snakemake: bool) -> None:
    job = process(f"locks.run_as_job(of_snakemake={of_snakemake})")
    assert attempt(f"locks.run_as_job(of_snakemake={of_snakemake})") == "ran"
    job.kill()
    job.wait()


def test_a_driver_waits_for_jobs_that_outlived_a_killed_one() -> None:
    job = process("locks.run_as_job(of_snakemake=True)")
    command = [sys.executable, "-c", "from scalinglab import locks; locks.run_alone('snakemake'); print('ran')"]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert driver.stderr is not None
    assert "waiting for the last jobs" in driver.stderr.readline()
    assert driver.poll() is None
    job.kill()
    job.wait()
    assert driver.communicate(timeout=30)[0] == "ran\n"


def test_a_job_ends_when_its_driver_is_killed() -> None:
    """The driver starts the job through a shell, as Snakemake and DVC do; the shell survives."""
    job = f'{sys.executable} -c "from scalinglab import locks; locks.end_with_starter(); {SLEEP}"'
    driver_code = f"import subprocess; subprocess.run(['bash', '-c', {job + '; true'!r}])"
    driver = subprocess.Popen([sys.executable, "-c", driver_code], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "holds\n"
    driver.send_signal(signal.SIGKILL)
    started = time.monotonic()
    assert driver.stdout.read() == "", "the pipe closes when the job has ended"
    assert time.monotonic() - started < 30


def test_a_job_knows_its_driver_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locks.DRIVER, locks.identity())
    assert attempt("locks.end_with_starter()") == "ran"
    node, pid, start = locks.identity().split()
    monkeypatch.setenv(locks.DRIVER, f"{node} {pid} {int(start) + 1}")
    assert "the driver of this job" in attempt("locks.end_with_starter()"), "the number is another process's now"
    monkeypatch.setenv(locks.DRIVER, f"another-machine {pid} 1")
    assert attempt("locks.end_with_starter()") == "ran", "on another machine the nearest ancestor counts"


def test_one_at_a_time_waits() -> None:
    code = """
import time
from scalinglab import locks
with locks.one_at_a_time("mlflow"), open("log", "a", buffering=1) as log:
    log.write("in ")
    time.sleep(1)
    log.write("out ")
"""
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert Path("log").read_text().split() == ["in", "out", "in", "out"]


def test_holding_it_already_is_no_fault() -> None:
    code = "locks.run_alone('snakemake'); locks.run_alone('scalinglab commit')"
    assert attempt(code) == "ran"
    assert os.path.exists(locks.FOLDER / "run.lock")
