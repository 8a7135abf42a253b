"""Standard parametrisation, muP and u-muP: coordinates, transfer of the learning rate, scales of tensors, FP8.

A power law of rates from sweeps at several widths is held against rules that take the best rate of one width
(model/parametrisations.py), with an embedding that moves at a rate of its own and without. What is asked of them is in
scaling_rules/.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from scalinglab import config
from scalinglab.config import PositiveFloat, PositiveInt, Study, tokens_of, width_of
from scalinglab.errors import UserError
from scalinglab.model.parametrisations import BASE_WIDTH
from scalinglab.parts import Tables
from scalinglab.scaling_rules import coordinates, fp8, scales, transfer
from scalinglab.stages.checkpoints import Checkpoint
from scalinglab.stages.paired import SWEEP_SEED, Row
from scalinglab.stages.short_runs import ShortRun, job_identity
from scalinglab.training.schedule import run_rates, steps_of

Rates = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
PARAMETRISATIONS = ("standard", "mup", "u-mup")


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    sizes: Annotated[tuple[str, ...], Field(min_length=2)]
    tuned_at: str
    tokens: str
    rates: dict[str, Rates]
    embedding_rate: PositiveFloat
    seeds: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    margin: PositiveFloat
    check_sizes: Annotated[tuple[str, ...], Field(min_length=2)]
    check_steps: PositiveInt
    check_rates: dict[str, PositiveFloat]
    looked_at: str
    start: PositiveInt
    gradient_scale: PositiveFloat


class Runs:
    """Short runs of one job, each trained once, whatever is killed in between."""

    def __init__(self, study: Study, settings: Settings, job: str) -> None:
        self.study, self.settings, self._job = study, settings, job
        # By keys that say the rest: a run is taken for no other, whatever is asked for now.
        self._done = Checkpoint(study, job, job_identity(study, settings.tokens, settings.embedding_rate))
        self._found: dict[str, Any] = found[1]["found"] if (found := self._done.load()) else {}
        self.steps = steps_of(tokens_of(settings.tokens), study.training.batch_tokens)

    def new(self, parametrisation: str, size: str, what: str) -> ShortRun:
        """An untrained model of this parametrisation."""
        return ShortRun(
            study_of(self.study, parametrisation, self.settings.embedding_rate),
            size,
            f"{self._job}.{parametrisation}-{size}-{what}",
        )

    def train(self, one: ShortRun, peak: float) -> float:
        """Train to the end, and the held-out loss in nats a token; NaN where it diverged."""
        one.train(self.steps, run_rates(peak, self.steps, one.training))
        return one.held_out_loss()

    def once(self, key: str, make: Any) -> Any:
        """What make() gave when it was first called for this key."""
        if key not in self._found:
            self._found[key] = make()
            self._done.save({}, {"found": self._found})
        return self._found[key]

    def loss(self, parametrisation: str, size: str, seed: int, peak: float) -> float:
        """The held-out loss of a run."""
        label = f"d{width_of(size)}s{seed}"
        return self.once(
            f"{parametrisation}-{label}-{peak:g}",
            lambda: self.train(self.new(parametrisation, label, f"{peak:g}"), peak),
        )


def study_of(study: Study, family: str, embedding_rate: float) -> Study:
    """The study with a head of its own and a family's parametrisation; the embedding's own rate where it is fast."""
    training = replace(study.training, embedding_rate=embedding_rate if family.endswith(transfer.FAST) else 0.0)
    model = replace(study.model, parametrisation=family.removesuffix(transfer.FAST), tied_head=False)
    return replace(study, model=model, training=training)


def parts(settings: Settings) -> tuple[str, ...]:
    """A part a family of runs. Raises UserError where these are not those that have rates."""
    if set(settings.rates) != set(transfer.FAMILIES):
        raise UserError(f"rates: of {', '.join(settings.rates)}; must be of {', '.join(transfer.FAMILIES)}")
    return transfer.FAMILIES


def measure_part(settings: Settings, study: Study, part: str, job: str) -> Tables:
    """Tables `coordinates`, `basin`, `optima`, `rules`, `scales` and `fp8` of one family: see each function."""
    runs = Runs(study, settings, job)
    basin: list[Row] = [
        {"parametrisation": part, "size": size, "rate": rate, "loss": runs.loss(part, size, SWEEP_SEED, rate)}
        for size in settings.sizes
        for rate in settings.rates[part]
    ]
    swept = pd.DataFrame(basin)
    best = transfer.optima(swept)
    tables = {
        "basin": basin,
        "optima": best.to_dict("records"),
        "rules": [
            row for rule, of in transfer.RULES.items() if of == part for row in _rule(runs, rule, of, swept, best)
        ],
    }
    if part not in PARAMETRISATIONS:
        return tables
    check = [
        row
        for size in settings.check_sizes
        for row in runs.once(
            f"check-{size}-{settings.check_steps}-{settings.check_rates[part]:g}",
            lambda s=size: _check(runs, part, s),
        )
    ]
    peak = _nearest(best, settings.looked_at)
    looked = f"look-{settings.looked_at}-{settings.start}-{settings.gradient_scale:g}-{peak:g}"
    return tables | {"coordinates": check} | runs.once(looked, lambda: _look(runs, settings, peak, part))


def _rule(runs: Runs, rule: str, family: str, swept: pd.DataFrame, best: pd.DataFrame) -> list[Row]:
    """The runs that follow a rule: of all sizes and seeds, at the rate that it gives each size."""
    settings, rate_of = runs.settings, _rates(rule, family, runs.settings.tuned_at, swept, best)
    embedding = study_of(runs.study, family, settings.embedding_rate).training.embedding_rate
    rows: list[Row] = []
    for size in settings.sizes:
        rate = rate_of(size)
        for seed in (SWEEP_SEED, *settings.seeds):
            row: Row = {"rule": rule, "parametrisation": family, "size": size, "seed": seed, "rate": rate}
            rows.append({**row, "embedding rate": embedding, "loss": runs.loss(family, size, seed, rate)})
    return rows


def _rates(
    rule: str, parametrisation: str, tuned_at: str, swept: pd.DataFrame, best: pd.DataFrame
) -> Callable[[str], float]:
    """The peak rate that a rule gives each size."""
    if transfer.follows_width(rule):
        return transfer.law(best[best["parametrisation"] == parametrisation]).peak
    tuned = transfer.tuned_rate(swept, parametrisation, tuned_at)
    return lambda size: tuned


def _check(runs: Runs, parametrisation: str, size: str) -> list[Row]:
    one = runs.new(parametrisation, size, "check")
    settings = runs.settings
    batches = [one.batches[step] for step in range(settings.check_steps)]
    found = coordinates.check(one.model, one.optimiser, batches, settings.check_rates[parametrisation])
    return [{"parametrisation": parametrisation, "width": width_of(size), **row} for row in found]


def _nearest(best: pd.DataFrame, looked_at: str) -> float:
    """The best rate of the size whose width is nearest."""
    away = np.log(best["width"] / width_of(looked_at)).abs()
    return float(best["rate"].iloc[away.argmin()])


def _look(runs: Runs, settings: Settings, peak: float, parametrisation: str) -> Tables:
    """Scales of tensors early and late in one run at a rate, and the same run with products in 8 bits."""
    one = runs.new(parametrisation, settings.looked_at, "exact")
    rates_of = run_rates(peak, runs.steps, one.training)
    found: list[Row] = []
    for when, last in (("start", settings.start), ("end", runs.steps)):
        one.train(last, rates_of)
        tensors = scales.tensor_scales(one.model, one.batches[last])
        found += [{"parametrisation": parametrisation, "when": when, **row} for row in tensors]
    exact = one.held_out_loss()
    if parametrisation == "mup" and width_of(settings.looked_at) == BASE_WIDTH:  # there it is the standard one
        return {"scales": found, "fp8": []}
    rounded = []
    for scale in (1.0,) if parametrisation == "u-mup" else (1.0, settings.gradient_scale):
        short = runs.new(parametrisation, settings.looked_at, f"fp8-{scale:g}")
        fp8.round_products(short.model, scale)
        loss = runs.train(short, peak)
        batch = short.batches[runs.steps]
        lost = fp8.count_lost(short.model, batch.tokens_BT, batch.targets_BT, batch.scored_N)
        row: Row = {"parametrisation": parametrisation, "gradient scale": scale, "fp32": exact, "fp8": loss}
        for kind, (total, flushed, cut) in sorted(lost.counts.items()):
            row |= {f"{kind} flushed": flushed / total, f"{kind} saturated": cut / total}
        rounded.append(row)
    return {"scales": found, "fp8": rounded}
