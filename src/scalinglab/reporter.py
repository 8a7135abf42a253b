"""What a person sees of a running job: a live bar in a terminal, plain periodic lines elsewhere, a file for others."""

import contextlib
import json
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


class Reporter:
    """Shows tokens, loss, tokens/s and time left of one stretch; appends the same to `live`, for the overall view.

    live: a JSON-lines file in scratch space. It is display only: nothing of the study reads it.
    """

    def __init__(self, title: str, total_tokens: int, live: Path, every_seconds: float) -> None:
        self._title, self._total, self._live, self._every = title, total_tokens, live, every_seconds
        self._started = self._last = time.monotonic()
        self._first_tokens: int | None = None
        self._loss = float("nan")
        console = Console()
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
        ]
        self._bar = Progress(*columns, console=console) if console.is_terminal else None
        self._task = self._bar.add_task(title, total=total_tokens, text="") if self._bar else None

    def __enter__(self) -> "Reporter":
        self._live.parent.mkdir(parents=True, exist_ok=True)
        self._live.unlink(missing_ok=True)
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, tokens: int, loss: float | None, last: bool = False) -> None:
        """Tell of progress; writes at most every `every_seconds`."""
        if self._first_tokens is None:
            self._first_tokens = tokens
        if loss is not None:
            self._loss = loss
        now = time.monotonic()
        if now - self._last < self._every and not last:
            return
        self._last = now
        rate = (tokens - self._first_tokens) / max(now - self._started, 1e-9)
        left = (self._total - tokens) / rate if rate else float("inf")
        text = f"{tokens:,}/{self._total:,} tokens  loss {self._loss:.3f}  {rate:,.0f} tokens/s"
        # Display only: a full disk must not end the training that it tells of.
        with contextlib.suppress(OSError), open(self._live, "a", encoding="utf-8") as stream:
            note = {"tokens": tokens, "first": self._first_tokens, "total": self._total, "loss": self._loss}
            stream.write(json.dumps(note) + "\n")
        with contextlib.suppress(OSError):
            if self._bar and self._task is not None:
                self._bar.update(self._task, completed=tokens, text=text)
            else:
                print(f"{self._title}  {text}  {left:.0f} s left", flush=True)
