"""Runs under objectives that differ in what is seen; one part a variant."""

import numpy as np
from pydantic.dataclasses import dataclass

from scalinglab import config
from scalinglab.config import PositiveFloat, Study
from scalinglab.objectives.scores import ANSWERS, CLASSES, check_comparable
from scalinglab.parts import Tables
from scalinglab.stages.objective_runs import Plan, Runs
from scalinglab.stages.paired import Row


@dataclass(frozen=True, config=config.STRICT)
class Settings(Plan):
    compare: str
    margin: PositiveFloat


def parts(settings: Settings) -> tuple[str, ...]:
    """A part a variant."""
    return tuple(settings.variants)


def measure_part(settings: Settings, study: Study, part: str, job: str) -> Tables:
    """Table `runs`, of one variant."""
    runs = Runs(settings, study)
    check_comparable(settings.compare, runs.objectives)
    return {"runs": [_with_errors(row) for row in runs.of(part, job)]}


def _with_errors(row: Row) -> Row:
    """A run and its shares of wrong answers, of which less is better."""
    if row["role"] == "sweep":
        return row
    skills = [value for column, value in row.items() if column.startswith("skill ")]
    answers = 1 - float(np.mean(skills)) if skills else float("nan")
    return row | {ANSWERS: answers, CLASSES: 1 - row["accuracy"]}
