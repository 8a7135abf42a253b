"""Kills a process at a chosen point of its work. Python imports this module by itself, since the soak puts its folder
first in PYTHONPATH; nothing in the project knows of it. It listens to Python's audit events (PEP 578).

SOAK_FAULT holds JSON: `point` (see POINTS), `n` (the how many-th time that any process gets there), `group` (kill all
processes of the run, or this one alone), `seed`, and `folder` for what the processes share: a count and a mark.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from typing import Any

ARGUMENTS = " ".join(sys.orig_argv)
IS_DRIVER = "snakemake" in ARGUMENTS.split(" -")[0] or "-m snakemake" in ARGUMENTS
IS_TRAINING = any(f"scalinglab {stage} " in f"{ARGUMENTS} " for stage in ("tune", "trunk", "anneal"))
IS_SYNC = "scalinglab sync" in ARGUMENTS


class Fault:
    """One planned kill, shared by all processes of a run."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.random = random.Random(plan["seed"])
        self.armed = False  # the next event kills
        self.busy = False  # looking at the count raises events of its own

    def count(self) -> bool:
        """Whether this is the n-th time."""
        self.busy = True
        try:
            counter = os.open(f"{self.plan['folder']}/count", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            os.write(counter, b".")
            size = os.fstat(counter).st_size
            os.close(counter)
        finally:
            self.busy = False
        return size == self.plan["n"]

    def kill(self) -> None:
        self.busy = True
        try:
            os.close(os.open(f"{self.plan['folder']}/killed", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        if self.plan["group"]:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def kill_after(self, least: float, most: float) -> None:
        seconds = self.random.uniform(least, most)

        def wait() -> None:
            time.sleep(seconds)
            self.kill()

        threading.Thread(target=wait, daemon=True).start()

    def listen(self, event: str, arguments: tuple) -> None:
        if self.busy:
            return
        if self.armed:
            self.kill()
        point = self.plan["point"]
        if point == "rename" and event == "os.rename" and _is_temporary(arguments[0]) and self.count():
            self.kill()
        elif point == "renamed" and event == "os.rename" and _is_temporary(arguments[0]) and self.count():
            self.armed = True
        elif point == "save" and event == "open" and _is_temporary(arguments[0]) and self.count():
            self.kill_after(0.0, 0.003)
        elif point == "commit" and IS_DRIVER and _changes_dvc(event, arguments) and self.count():
            self.kill()
        elif point == "lock" and IS_DRIVER and _writes_lock(event, arguments) and self.count():
            self.armed = True
        elif point == "sync" and IS_SYNC and event.startswith("sqlite3.connect") and self.count():
            self.kill_after(0.0, 1.0)


def _is_temporary(path: object) -> bool:
    return isinstance(path, str | os.PathLike) and os.fspath(path).endswith(".tmp")


def _changes_dvc(event: str, arguments: tuple) -> bool:
    if event not in ("os.rename", "os.link", "os.mkdir", "open", "os.remove", "shutil.copyfile", "shutil.move"):
        return False
    if event == "open" and not _for_writing(arguments):
        return False
    return any(isinstance(path, str) and ("/.dvc/" in path or path.endswith("dvc.lock")) for path in arguments)


def _writes_lock(event: str, arguments: tuple) -> bool:
    return event == "open" and str(arguments[0]).endswith("dvc.lock") and _for_writing(arguments)


def _for_writing(arguments: tuple) -> bool:
    return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))


def install(plan: dict[str, Any]) -> None:
    """Arm this process."""
    fault = Fault(plan)
    point = plan["point"]
    if point == "step" and IS_TRAINING and fault.count():
        fault.kill_after(2.0, 6.0)  # importing torch takes the first two seconds
    elif point == "driver" and IS_DRIVER and fault.count():
        fault.kill_after(1.0, 15.0)
    elif point in ("rename", "renamed", "save", "commit", "lock", "sync"):
        sys.addaudithook(fault.listen)


if "SOAK_FAULT" in os.environ:
    install(json.loads(os.environ["SOAK_FAULT"]))
