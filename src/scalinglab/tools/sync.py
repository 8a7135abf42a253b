"""`scalinglab sync`: bring MLflow up to date with results/. With --watch, again and again beside a running DAG."""

import argparse
import os
import signal
import sys
import threading
import time

from scalinglab import pipeline, tracking
from scalinglab.paths import SYNC_DUE
from scalinglab.progress import Progress


def run(arguments: argparse.Namespace) -> None:
    params = pipeline.read_params()
    if not arguments.watch:
        changed = tracking.sync(params)
        SYNC_DUE.unlink(missing_ok=True)
        print(f"{changed} runs brought up to date in {tracking.STORE}")
        return
    done = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: done.set())
    parent = os.getppid()
    progress = Progress(pipeline.all_params(), arguments.theory, started=time.time())
    # Once more after the last job, and never longer than the Snakemake process that started it. If that is killed
    # before, the next one sees that a sync is due, whether or not it has a job to run.
    while os.getppid() == parent and not done.wait(arguments.watch):
        _once(params)
        print(progress.line(), file=sys.stderr, flush=True)
    if os.getppid() == parent:
        if _once(params):
            SYNC_DUE.unlink(missing_ok=True)
        print(progress.line(), file=sys.stderr, flush=True)


def _once(params: dict) -> bool:
    """A sync that must not end the watcher: the index can be rebuilt at any time. Returns whether it went well."""
    try:
        tracking.sync(params)
        return True
    except Exception as error:
        print(f"MLflow sync failed ({error}); run `scalinglab sync` later", file=sys.stderr)
        return False
