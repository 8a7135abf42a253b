"""One overall progress line for a running study, from the files that stand and the live notes of running jobs."""

import json
import time
from pathlib import Path
from typing import Any

from scalinglab.config import START, Study, parse, tokens_of, width_of
from scalinglab.paths import Paths
from scalinglab.recipes import RECIPES


class Progress:
    """Counts training work in tokens times width squared, which is near enough to FLOPs for a time estimate."""

    def __init__(self, params: dict[str, Any], started: float) -> None:
        self._study: Study = parse(params)
        self._started = started
        self._first = self._done()

    def line(self) -> str:
        """`study laptop: 43 % of training, 12/35 cells, about 6 min left`."""
        total = sum(work for _, _, work in self._stretches())
        done = self._done()
        cells = self._study.grid.cells()
        paths = Paths(self._study.study)
        grid = self._study.grid
        finished = sum(paths.evaluation(grid.evaluate_after(b), size, b).exists() for size, b in cells)
        text = f"study {self._study.study}: {100 * done / total:.0f} % of training, {finished}/{len(cells)} cells"
        gained, elapsed = done - self._first, time.time() - self._started
        if gained > 0.01 * total and done < total:
            text += f", about {(total - done) / gained * elapsed / 60:.0f} min left"
        return text

    def _stretches(self) -> list[tuple[str, Path, float]]:
        """(job, final file, work) of every rate sweep, trunk segment, anneal and run of the ladder."""
        study, paths, share = self._study, Paths(self._study.study), self._study.training.anneal_share
        sweep = tokens_of(study.tune.budget) * len(study.tune.rates)
        rows = [(f"tune-{size}", paths.of("tune", f"{size}.csv"), _weight(size) * sweep) for size in study.tune.sizes]
        longest = tokens_of(study.ladder.budgets[-1])
        for size in study.ladder.sizes:
            for seed in study.ladder.seeds:
                for recipe in RECIPES:
                    final = paths.of("recipe", f"{seed}/{recipe}-{size}.csv")
                    rows.append((f"recipe-{seed}-{recipe}-{size}", final, _weight(size) * longest))
        for size in study.grid.sizes:
            weight = _weight(size)
            for segment in study.grid.segments:
                to, before = segment.to, 0 if segment.after == START else tokens_of(segment.after)
                cell = paths.cell("anneal", size, to, ".safetensors")
                trunk_work = weight * (1 - share) * (tokens_of(to) - before)
                rows.append((f"trunk-{size}-{to}", paths.trunk(size, to), trunk_work))
                rows.append((f"anneal-{size}-{to}", cell, weight * share * tokens_of(to)))
        return rows

    def _done(self) -> float:
        return sum(work * self._share_done(job, final) for job, final, work in self._stretches())

    def _share_done(self, job: str, final: Path) -> float:
        if final.exists():
            return 1.0
        live = Path(".scratch") / self._study.study / "live" / f"{job}.jsonl"
        try:
            last = json.loads(live.read_text(encoding="utf-8").splitlines()[-1])
        except (OSError, IndexError, ValueError):  # not started, or a line half written: not worth a word
            return 0.0
        return min(1.0, (last["tokens"] - last["first"]) / max(1, last["total"] - last["first"]))


def _weight(size: str) -> float:
    """Work a token; small widths cost as much as a width of 32."""
    return float(max(width_of(size), 32)) ** 2
