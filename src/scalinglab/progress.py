"""One overall progress line for a running study, from the files that stand and the live notes of running jobs."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalinglab import files, pipeline
from scalinglab.config import START, Study, parse, tokens_of, width_of
from scalinglab.paths import KNOWN, Paths, theory_folder, theory_runs
from scalinglab.recipes import RECIPES


@dataclass(frozen=True)
class Piece:
    """A job that trains: the file that it ends with, its work, and how many runs it makes one after the other.

    Work is tokens times width squared, which is near enough to FLOPs for a time estimate.
    """

    job: str
    final: Path
    work: float
    runs: int = 1


class Progress:
    """Of the study in params.yaml, or of some questions beside it (studies/)."""

    def __init__(self, params: Mapping[str, Any], questions: Sequence[str], started: float) -> None:
        self._study: Study = parse(pipeline.study_params(params))
        self._started = started
        self._vouched = _vouched_for()
        if questions:
            self._title, self._what = ", ".join(questions), "jobs"
            self._pieces = list(_of_questions(params, questions))
            self._finals = [piece.final for piece in self._pieces]
        else:
            self._title, self._what = f"study {self._study.study}", "cells"
            self._pieces = list(_of_study(self._study))
            paths, grid = Paths(self._study.study), self._study.grid
            self._finals = [paths.evaluation(grid.evaluate_after(b), size, b) for size, b in grid.cells()]
        self._first = self._done()

    def line(self) -> str:
        """`study laptop: 43 % of training, 12/35 cells, about 6 min left`."""
        total, done = sum(piece.work for piece in self._pieces), self._done()
        finished = sum(map(self._stands, self._finals))
        text = f"{self._title}: {100 * done / total:.0f} % of training, {finished}/{len(self._finals)} {self._what}"
        gained, elapsed = done - self._first, time.time() - self._started
        if gained > 0.01 * total and done < total:
            text += f", about {(total - done) / gained * elapsed / 60:.0f} min left"
        return text

    def _done(self) -> float:
        return sum(piece.work * self._share_done(piece) for piece in self._pieces)

    def _share_done(self, piece: Piece) -> float:
        if self._stands(piece.final):
            return 1.0
        live = Path(".scratch") / self._study.study / "live"
        notes = (*live.glob(f"{piece.job}.jsonl"), *live.glob(f"{piece.job}.*.jsonl"))
        return min(1.0, sum(_share(note) for note in notes if self._is_new(note)) / piece.runs)

    def _stands(self, path: Path) -> bool:
        """Whether a result is there and needs no work: what stood before may be of other parameters or code."""
        return path.exists() and (path.as_posix() in self._vouched or self._is_new(path))

    def _is_new(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime >= self._started
        except FileNotFoundError:  # removed a moment ago, for the run that makes it anew
            return False


def _vouched_for() -> set[str]:
    """Outputs that were up to date when Snakemake planned."""
    known = files.read_json(KNOWN) if KNOWN.exists() else {}
    return {out for stage in pipeline.stages_of(pipeline.load()) if stage.name in known for out in stage.outs}


def _of_study(study: Study) -> Iterator[Piece]:
    """Every rate sweep, trunk segment, anneal and run of the ladder."""
    paths, share = Paths(study.study), study.training.anneal_share
    rates = len(study.tune.rates)
    for size in study.tune.sizes:
        work = _weight(size) * tokens_of(study.tune.budget) * rates
        yield Piece(f"tune-{size}", paths.of("tune", f"{size}.csv"), work, rates)
    longest = tokens_of(study.ladder.budgets[-1])
    for size in study.ladder.sizes:
        for seed in study.ladder.seeds:
            for recipe in RECIPES:
                final = paths.of("recipe", f"{seed}/{recipe}-{size}.csv")
                yield Piece(f"recipe-{seed}-{recipe}-{size}", final, _weight(size) * longest)
    for size in study.grid.sizes:
        weight = _weight(size)
        for segment in study.grid.segments:
            to, before = segment.to, 0 if segment.after == START else tokens_of(segment.after)
            trunk_work = weight * (1 - share) * (tokens_of(to) - before)
            yield Piece(f"trunk-{size}-{to}", paths.trunk(size, to), trunk_work)
            cell = paths.cell("anneal", size, to, ".safetensors")
            yield Piece(f"anneal-{size}-{to}", cell, weight * share * tokens_of(to))


def _of_questions(params: Mapping[str, Any], names: Sequence[str]) -> Iterator[Piece]:
    """Every variant of a controlled study, every measurement and its parts: of its work only the training is known."""
    stages = pipeline.stages_of(pipeline.load())
    for name in names:
        if name in params.get("theory", {}):
            asked = params["theory"][name]
            runs = len(asked["seeds"]) + (len(asked["rates"]) if len(asked["rates"]) > 1 else 0)
            for variant in asked["variants"]:
                work = _weight(asked["size"]) * tokens_of(asked["tokens"]) * runs
                yield Piece(f"variant-{name}-{variant}", theory_runs(name) / f"{variant}.csv", work, runs)
        else:
            settings = params["measured"][name]["settings"]
            work = _weight(settings.get("size", "d32")) * tokens_of(settings.get("tokens", "400k"))
            parts = [one for one in stages if one.theory == name and one.command == "part"]
            for one in parts:
                part = pipeline.options_of(one)["part"]
                runs = _runs_of_part(settings, part)
                yield Piece(f"part-{name}-{part}", Path(one.outs[0]), work * runs, runs)
            # Where there are parts, it trains nothing more.
            yield Piece(f"measure-{name}", theory_folder(name) / "measurement.json", 0 if parts else work)


def _share(note: Path) -> float:
    """How much of its stretch a job has trained, by its live notes."""
    try:
        last = json.loads(note.read_text(encoding="utf-8").splitlines()[-1])
    except (OSError, IndexError, ValueError):  # not started, or a line half written: not worth a word
        return 0.0
    return min(1.0, (last["tokens"] - last["first"]) / max(1, last["total"] - last["first"]))


def _runs_of_part(settings: Mapping[str, Any], part: str) -> int:
    """How many runs a part makes: sweeps, of each size where there are some, and seeds at a rate that they chose."""
    rates = settings["rates"]
    swept = rates[part] if isinstance(rates, dict) else rates
    return (len(swept) + len(settings["seeds"])) * len(settings.get("sizes", [settings.get("size")]))


def _weight(size: str) -> float:
    """Work a token; small widths cost as much as a width of 32."""
    return float(max(width_of(size), 32)) ** 2
