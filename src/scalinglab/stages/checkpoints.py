"""The last two states of one job in scratch space: what a run that was killed goes on from.

They are named after their stage, and stay until it is recorded (driver.py): outputs that were written, but not recorded
when the run was killed, are made again, which then takes no time.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from scalinglab.config import Study
from scalinglab.errors import DamagedError
from scalinglab.model.weights import load_tensors, save_tensors

SCRATCH = Path(".scratch")


class Checkpoint:
    """States of one job, saved at most every `execution.checkpoint_seconds`.

    name: the job's; where it keeps several, with a dot and more behind it (leftovers.drop_checkpoints). identity: a
    digest of all that decides its numbers. States of another identity are not taken.
    """

    def __init__(self, study: Study, name: str, identity: str) -> None:
        folder = SCRATCH / study.study / "checkpoints"
        self._name, self._identity = name, identity
        self._newest, self._older = folder / f"{name}.safetensors", folder / f"{name}.older.safetensors"
        self._every = study.execution.checkpoint_seconds
        self._saved = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest state of this very job that is whole; None where there is none."""
        for path in (self._newest, self._older):
            if not path.exists():
                continue
            try:
                tensors, held = load_tensors(path)
            except DamagedError as error:
                print(f"{self._name}: {error}; the state before it is taken")
                path.unlink()
                continue
            if held["identity"] == self._identity:
                return tensors, held["state"]
        return None

    def save_if_due(self, read: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]]) -> None:
        """Save the state that `read` gives, where the last one is an interval old; the one before it stays."""
        if time.monotonic() - self._saved > self._every:
            self.save(*read())

    def save(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Save a state now."""
        if self._newest.exists():
            self._newest.replace(self._older)
        save_tensors(self._newest, tensors, {"identity": self._identity, "state": state})
        self._saved = time.monotonic()
