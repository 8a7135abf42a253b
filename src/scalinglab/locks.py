"""Who runs in this folder: one Snakemake alone, or stages of `dvc repro`; and no job outlives what started it.

The kernel drops these locks when their holder dies, however it dies, so none is ever stale. Snakemake's own lock is a
file that a killed run leaves behind; holding ours says that nobody needs it any more.
"""

import fcntl
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from scalinglab.errors import UserError

FOLDER = Path(".scratch/locks")
DRIVER = "SCALINGLAB_DRIVER"  # in the environment of jobs: `identity` of the process that schedules them
KILLED = 130  # exit status of a job whose driver is gone
SHELLS = {"sh", "bash", "dash", "zsh", "ksh"}
POLL_SECONDS = 0.5
_held: dict[str, IO[str]] = {}  # open files hold their locks until the process ends


def run_alone(who: str) -> None:
    """Take this folder until this process ends, for one that schedules or restores; wait for jobs of a killed one.

    who: its name, for the message that another one gets. Raises UserError where another process runs here.
    """
    if "run" in _held:
        return
    lock = _open("run")
    if not _try(lock, fcntl.LOCK_EX):
        holder = _holder(lock)
        _held.pop("run").close()
        raise UserError(f"{holder} runs in this folder; wait until it has ended, then run again")
    _sign(lock, who)
    jobs = _open("jobs")
    if not _try(jobs, fcntl.LOCK_EX):
        print("waiting for the last jobs of a run that was killed", file=sys.stderr, flush=True)
        fcntl.flock(jobs, fcntl.LOCK_EX)
    _held.pop("jobs").close()


def run_as_job(of_snakemake: bool) -> None:
    """Say, until this process ends, that a stage runs here.

    of_snakemake: whether Snakemake, which holds the folder, started it; otherwise `dvc repro` or a person did. Raises
    UserError where a Snakemake runs that did not start it.
    """
    lock = _open("jobs" if of_snakemake else "run")
    if of_snakemake:
        fcntl.flock(lock, fcntl.LOCK_SH)
    elif not _try(lock, fcntl.LOCK_SH):
        raise UserError(f"{_holder(lock)} runs in this folder; wait until it has ended, then run again")
    else:
        _sign(lock, "a stage (of `dvc repro`?)")


def identity() -> str:
    """This process, so that another one can tell whether it still runs: machine, number and start."""
    return f"{platform.node()} {os.getpid()} {_start_of(os.getpid())}"


def _start_of(pid: int) -> str:
    """When a process started, by a clock that nobody sets; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    except OSError:
        if Path("/proc/self").exists():
            return ""
    try:
        return f"{psutil.Process(pid).create_time():.0f}"
    except psutil.NoSuchProcess:
        return ""


def end_with_starter() -> None:
    """End this process soon after the program that started it, even if that was killed: a shell between is no reason
    to go on. Training goes on from its checkpoint, in the next run."""
    starter = _starter()
    if starter is None:
        return
    if not starter.is_running():
        os._exit(KILLED)

    def watch() -> None:
        try:
            while starter.is_running() and starter.status() != psutil.STATUS_ZOMBIE:
                time.sleep(POLL_SECONDS)
        finally:
            os._exit(KILLED)

    threading.Thread(target=watch, daemon=True, name="end-with-starter").start()


def _starter() -> psutil.Process | None:
    """The driver that DRIVER names, if it is of this machine; otherwise the nearest ancestor that is no shell."""
    node, _, rest = os.environ.get(DRIVER, "").partition(" ")
    if node == platform.node() and rest:
        pid, start = rest.split()
        if _start_of(int(pid)) == start:
            return psutil.Process(int(pid))
        print(f"the driver of this job, process {pid}, is gone; it ends too", file=sys.stderr, flush=True)
        os._exit(KILLED)
    return next((p for p in psutil.Process().parents() if p.name() not in SHELLS and p.pid != 1), None)


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Hold a lock of this folder for a block, waiting for whoever has it."""
    lock = _open(name)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        _held.pop(name).close()


def _open(name: str) -> IO[str]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    stream = open(FOLDER / f"{name}.lock", "a+", encoding="utf-8")  # noqa: SIM115 - held until the process ends
    _held[name] = stream
    return stream


def _try(stream: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(stream: IO[str], who: str) -> None:
    stream.seek(0)
    stream.truncate()
    json.dump({"who": who, "pid": os.getpid()}, stream)
    stream.flush()


def _holder(stream: IO[str]) -> str:
    """Who signed last, for a message."""
    stream.seek(0)
    try:
        note = json.load(stream)
        return f"{note['who']}, process {note['pid']},"
    except (ValueError, KeyError, TypeError):  # it signs a moment after it has the lock
        return "another process"
