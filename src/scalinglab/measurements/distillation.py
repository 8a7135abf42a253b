"""Knowledge distillation (Hinton et al. 2015): a small model that learns from a large one, and what that costs.

Students share initial seeds, data and steps; each kind runs at its best rate, chosen on a seed that is compared
nowhere. One more learns from the targets alone, longer: with the FLOPs that the teacher's forward passes took as well.
"""

from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from functools import cache
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from scalinglab import config
from scalinglab.config import Name, PositiveFloat, Study, tokens_of
from scalinglab.errors import UserError
from scalinglab.evaluation.text import token_losses
from scalinglab.figures import forest
from scalinglab.figures.style import new_figure, ordered_style
from scalinglab.files import read_json
from scalinglab.measurements import Row, wording
from scalinglab.model.counts import Counts, count
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import shape_of
from scalinglab.paths import Paths
from scalinglab.shards import open_shard
from scalinglab.stages.models import pick_device
from scalinglab.stages.paired import PairedRuns
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.stages.short_runs import job_identity
from scalinglab.stages.stretches import open_batches, train_stretch
from scalinglab.stages.trained import trained
from scalinglab.theory.comparison import compare
from scalinglab.theory.protocol import Rates, Seeds
from scalinglab.theory.tables import by_seed, comparisons
from scalinglab.training.loop import Stretch
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import run_rates, steps_of
from scalinglab.transfer.distillation import Student

HARD, LONGER, TEACHER = "hard", "hard-longer", "teacher"


@dataclass(frozen=True, config=config.STRICT)
class Teaching:
    """The teacher's weight in the loss, and the temperature of both distributions."""

    alpha: Annotated[float, Field(gt=0, le=1)]
    temperature: PositiveFloat


@dataclass(frozen=True, config=config.STRICT)
class Settings:
    teacher: str
    teacher_tokens: str
    student: str
    tokens: str
    students: Annotated[dict[Name, Teaching], Field(min_length=1)]
    rates: Rates
    seeds: Seeds
    margin: PositiveFloat


def measure(settings: Settings, study: Study, job: str) -> dict[str, list[Row]]:
    """Tables `runs`, a row each; `verdicts`, of each student against both of hard targets; `teacher`, a row."""
    if taken := {HARD, LONGER, TEACHER} & settings.students.keys():
        raise UserError(f"studies/distillation.yaml: students: {', '.join(sorted(taken))}: is another run's; rename it")
    law = read_rate_law(study)
    identity = job_identity(
        study, settings.teacher, settings.teacher_tokens, settings.student, settings.tokens,
        law.peak(settings.teacher), law.peak(settings.student), {k: asdict(v) for k, v in settings.students.items()},
    )  # fmt: skip
    one = _Distillation(settings, study, job, f"{job}.{identity[:12]}")
    paired = PairedRuns(study, job, identity)
    (teacher,) = paired.of([1.0], [study.seed], one.teach, TEACHER)
    runs: list[Row] = []
    names = [HARD, LONGER, *settings.students]
    for name in names:

        def learn(key: str, seed: int, factor: float, name: str = name) -> Row:
            return one.learn(name, key, seed, factor)

        runs += [{"student": name, **row} for row in paired.of(settings.rates, settings.seeds, learn, name)]
    losses = {
        name: [float(row["loss"]) for row in runs if row["student"] == name and row["role"] == "run"] for name in names
    }
    about: Row = {
        "size": settings.teacher,
        "training tokens": settings.teacher_tokens,
        "student": settings.student,
        "student tokens": settings.tokens,
        "margin": settings.margin,
        "slowest": min(settings.rates),
        "fastest": max(settings.rates),
    }
    return {
        "runs": runs,
        "verdicts": [
            {"against": reference, **asdict(found)}
            for reference in (HARD, LONGER)
            for found in compare(losses, reference, settings.margin)
        ],
        "teacher": [{**about, **teacher}],
    }


@plain_dataclass(frozen=True)
class _Cost:
    """FLOPs a token of a student's training and of its teacher's forward pass, and the tokens that students see."""

    student: int
    teacher: float
    tokens: int

    def of(self, name: str) -> tuple[int, float]:
        """Tokens and FLOPs of a student of a name."""
        if name == LONGER:
            tokens = round(self.tokens * (1 + self.teacher / self.student))
            return tokens, tokens * self.student
        return self.tokens, self.tokens * (self.student + (self.teacher if name != HARD else 0))


class _Distillation:
    """Runs of the job that share a teacher, which is trained where a run needs it first."""

    def __init__(self, settings: Settings, study: Study, job: str, name: str) -> None:
        self._settings, self._study, self._name = settings, study, name
        teacher, student = (self._counts(size) for size in (settings.teacher, settings.student))
        tokens = tokens_of(settings.tokens)
        self._cost = _Cost(student.flops_per_token, teacher.flops_per_token / 3, tokens)
        self._held_RT = open_shard(Paths(study.study).of("encode", ""), "validation.npy")
        self._teacher = cache(lambda: trained(study, settings.teacher, settings.teacher_tokens, f"{job}.teacher").model)

    def _counts(self, size: str) -> Counts:
        vocabulary = read_json(Paths(self._study.study).manifest)["vocab_size"]
        return count(shape_of(size, self._study.model, vocabulary, self._study.mixture.seq_len), self._study.model)

    def teach(self, key: str, seed: int, factor: float) -> Row:
        """Train the teacher; its loss and counts."""
        counts, tokens = self._counts(self._settings.teacher), tokens_of(self._settings.teacher_tokens)
        parameters = {
            "parameters": counts.params_total,
            "student parameters": self._counts(self._settings.student).params_total,
        }
        return {"loss": self._loss(self._teacher()), "FLOPs": tokens * counts.flops_per_token, **parameters}

    def learn(self, name: str, key: str, seed: int, factor: float) -> Row:
        """Train a student of a name; its loss and what it took (NaN where it diverged)."""
        study, size = self._study, self._settings.student
        shape = shape_of(size, study.model, self._teacher().shape.vocab_size, study.mixture.seq_len)
        teaching = self._settings.students.get(name)
        alpha, temperature = (teaching.alpha, teaching.temperature) if teaching else (0.0, 1.0)
        model = Student(shape, study.model, self._teacher(), temperature, alpha)
        initialise(model, study.seed + seed)
        model.to(pick_device(study))
        tokens, flops = self._cost.of(name)
        steps = steps_of(tokens, study.training.batch_tokens)
        peak = read_rate_law(study).peak(size)
        done = train_stretch(
            study, f"{self._name}.{key}", model, AdamW(model, study.training), open_batches(study), Stretch(0, steps),
            run_rates(peak, steps, study.training, factor),
        )  # fmt: skip
        loss = float("nan") if done.diverged else self._loss(model)
        return {
            "rate": factor * peak,
            "loss": loss,
            "tokens": tokens,
            "FLOPs": flops,
            "alpha": alpha,
            "temperature": temperature,
        }

    def _loss(self, model: Decoder) -> float:
        """Mean nats a token of held-out text."""
        held_RT: NDArray[np.uint16] = self._held_RT
        return float(token_losses(model, held_RT, self._study.evaluation.batch_rows).mean())


def figures(tables: dict[str, pd.DataFrame]) -> dict[str, Figure]:
    """`distillation`: loss by student, and against FLOPs; `forest`: differences from a student that took as many."""
    return {"distillation": _losses(tables), "forest": _forest(tables)}


def _forest(tables: dict[str, pd.DataFrame]) -> Figure:
    runs, teacher, verdicts = tables["runs"], tables["teacher"].iloc[0], tables["verdicts"]
    found = comparisons(verdicts[verdicts["against"] == LONGER])
    title = f"{teacher['student']} taught by {teacher['size']}, and alone with as many FLOPs\n"
    title += f"{teacher['student tokens']} tokens"
    return forest.draw(found, by_seed(runs, "student"), LONGER, teacher["margin"], "nats a held-out token", title)


def _losses(tables: dict[str, pd.DataFrame]) -> Figure:
    figure, axes = new_figure(2, width=4.6, height=3.4)
    runs, teacher = tables["runs"][tables["runs"]["role"] == "run"], tables["teacher"].iloc[0]
    styles = ordered_style(list(runs["student"].unique()))
    for place, (name, line) in enumerate(runs.groupby("student", sort=False)):
        axes[0].plot([place] * len(line), line["loss"], ".", color=styles[name]["color"], alpha=0.4)
        axes[0].plot(place, line["loss"].mean(), markersize=6, **styles[name])
        axes[1].plot(line["FLOPs"], line["loss"], ".", color=styles[name]["color"], alpha=0.4)
        axes[1].plot(line["FLOPs"].iloc[0], line["loss"].mean(), linestyle="", markersize=6, label=name, **styles[name])
    axes[0].set_xticks(range(len(styles)), list(styles), rotation=30, fontsize=8)
    axes[0].set_xlabel(f"student of {teacher['student']}")
    axes[1].set_xlim(left=0)
    axes[1].set_xlabel("FLOPs, the teacher's forward passes included")
    for axis in axes:
        axis.axhline(
            teacher["loss"], color="#b2182b", linestyle="--", linewidth=1.0, label=f"teacher, {teacher['size']}"
        )
        axis.set_ylabel("nats a held-out token")
    axes[1].legend(fontsize=7)
    return figure


def beside(verdicts: pd.DataFrame) -> str:
    """What became of those that were taught, beside a student that took the same FLOPs alone."""
    found = verdicts.loc[LONGER]["verdict"].drop(HARD)
    said = [f"{verdict} {', '.join(group.index)}" for verdict, group in found.groupby(found, sort=False)]
    return f"{'; '.join(said)}."


def findings(tables: dict[str, pd.DataFrame]) -> str:
    runs, teacher = tables["runs"][tables["runs"]["role"] == "run"], tables["teacher"].iloc[0]
    verdicts = tables["verdicts"].set_index(["against", "variant"])
    hard = runs[runs["student"] == HARD]["loss"].mean()
    lines = []
    for name, group in runs.groupby("student", sort=False):
        first = group.iloc[0]
        taught = f"{first['alpha']:g} at {first['temperature']:g}" if first["alpha"] else "none"
        cells = [str(name), taught, f"{first['tokens']:,}", f"{first['FLOPs']:.2e}"]
        cells += [wording.chosen(first["factor"], teacher["slowest"], teacher["fastest"]), wording.mean(group["loss"])]
        for reference in (HARD, LONGER):
            if name == reference:
                cells.append("")
                continue
            cells.append(wording.verdict(verdicts.loc[(reference, name)]))
        lines.append(f"| {' | '.join(cells)} |")
    taught = wording.whole_means(runs[runs["alpha"] > 0], "student", "loss")
    closed = (hard - taught.min()) / (hard - teacher["loss"])
    longer = runs[runs["student"] == LONGER]["loss"].mean()
    cost = runs[runs["alpha"] > 0]["FLOPs"].iloc[0] / runs[runs["student"] == HARD]["FLOPs"].iloc[0]
    return f"""**In short.** A teacher {"closes" if closed > 0 else "widens"} the distance between a small model and
itself by {abs(closed):.0%} ({taught.idxmin()}); beside one that spends the same FLOPs on more tokens:
{beside(verdicts)}

![Distillation](distillation.png)

![Differences](forest.png)

The teacher, {teacher["size"]} ({teacher["parameters"]:,} parameters), is trained as in the study on
{teacher["training tokens"]} tokens of text and skills, and needs {teacher["loss"]:.3f} nats a held-out token of text.
Students are of {teacher["student"]} ({teacher["student parameters"]:,} parameters) and see {teacher["student tokens"]}
tokens of the same mixture, which the teacher has read. `{HARD}` learns from the targets alone; `{LONGER}` does so on
more tokens, with as many FLOPs as a student's training and the teacher's forward passes take together. The others mix
the loss of the targets, by the teacher's weight, with T^2 KL(teacher || student) of both distributions at a temperature
T (Hinton et al. 2015): at T = 1 all that the teacher knows of the next token, above it rather what it finds unlikely.
Paired differences over {runs["seed"].nunique()} seeds, with 95 % intervals; less is better. Margin:
{teacher["margin"]:g} nats. Rates are times the study's for this size.

| student | teacher's weight, at temperature | tokens | FLOPs | rate | nats | from `{HARD}` | from `{LONGER}` |
|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}

The best of those taught is {taught.idxmin()}: it closes {closed:.0%} of the distance between `{HARD}` and the teacher.
Its steps take {cost:.1f} times the FLOPs of plain ones; spent on more tokens instead, they give {longer:.3f}.
The teacher's own training ({teacher["FLOPs"]:.2e} FLOPs) is not counted.
"""
