"""How a result was made, which never decides what it is: machine, versions, execution settings, time."""

import os
import platform
import subprocess
import time
from dataclasses import asdict
from typing import Any

import torch

from scalinglab.config import Execution


def git_commit() -> str:
    """The checked-out commit, with `+` where tracked files differ from it; empty outside a git checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def describe(execution: Execution, device: str, seconds: float, tokens: int) -> dict[str, Any]:
    """A provenance record of one training stage: JSON-able, read by tracking and the report only."""
    return {
        "execution": asdict(execution),
        "device": device,
        "seconds": seconds,
        "tokens": tokens,
        "tokens_per_second": tokens / seconds if seconds else 0.0,
        "git_commit": git_commit(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
