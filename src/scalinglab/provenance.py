"""How a result was made, which never decides what it is: machine, versions, execution settings, time."""

import importlib.metadata
import os
import platform
import subprocess
import time
from dataclasses import asdict
from typing import Any

from scalinglab import files
from scalinglab.config import Study
from scalinglab.paths import Paths


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


def identity(study: Study) -> str:
    """A digest of everything that decides a training run's numbers, but its size, budget and our code.

    The data count by content: the manifest of the encode stage holds their checksums.
    """
    paths = Paths(study.study)
    data, law = files.read_json(paths.manifest), files.read_json(paths.rate_law)
    return files.digest([study.seed, asdict(study.model), asdict(study.training), law, data])


def describe(study: Study, device: str, seconds: float, tokens: int) -> dict[str, Any]:
    """A provenance record of one training stage: JSON-able, read by tracking and the report only."""
    return {
        "identity": identity(study),
        "execution": asdict(study.execution),
        "device": device,
        "seconds": seconds,
        "tokens": tokens,
        "tokens_per_second": tokens / seconds if seconds else 0.0,
        "git_commit": git_commit(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
