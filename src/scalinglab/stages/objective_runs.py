"""Short runs under different objectives and architectures: trained, and scored by what all can be compared by."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from functools import cache, partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from scalinglab import config
from scalinglab.config import Name, PositiveFloat, PositiveInt, Study, seed_of, tokens_of
from scalinglab.errors import UserError
from scalinglab.evaluation.answers import reference
from scalinglab.files import read_json
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.encoder_decoder import EncoderDecoder, narrowed
from scalinglab.model.shape import shape_of
from scalinglab.objectives.base import Objective, ObjectiveBatches, Specials, check_architecture
from scalinglab.objectives.fine_tuning import Windows, fine_tune
from scalinglab.objectives.flops import batch_flops
from scalinglab.objectives.registry import objective
from scalinglab.objectives.scores import last_answers, next_sentences, own_loss, suffix_nats
from scalinglab.paths import Paths
from scalinglab.shards import open_shard
from scalinglab.skills import skill
from scalinglab.skills.base import Skill
from scalinglab.stages.classification import FineTuning, windows
from scalinglab.stages.models import pick_device
from scalinglab.stages.paired import SWEEP_SEED, PairedRuns, Row
from scalinglab.stages.pretraining import read_rate_law
from scalinglab.stages.short_runs import job_identity
from scalinglab.training.loop import Stretch, train
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import Rates, run_rates, steps_of

ARCHITECTURES = ("decoder", "encoder", "encoder-decoder")
# What is known of a run beforehand; all else is NaN where it diverged.
GIVEN = (
    "trained on", "role", "seed", "factor", "rate", "steps", "tokens", "flops", "parameters", "accuracy untrained",
    "accuracy frozen untrained",
)  # fmt: skip


@dataclass(frozen=True, config=config.STRICT)
class Variant:
    """An objective (a name, or a name and knobs) and an architecture that is trained on it.

    layers: of an encoder-decoder, on both sides; none: those of the decoder shared out, with feed-forward parts
    narrowed until it has as many parameters. equal: in what its training is equal to the others', tokens or FLOPs.
    """

    objective: str | dict[str, Any]
    architecture: str = "decoder"
    layers: tuple[PositiveInt, PositiveInt] | None = None
    equal: Literal["tokens", "FLOPs"] = "tokens"


@dataclass(frozen=True, config=config.STRICT)
class Plan:
    """What decides the runs of a comparison; documented in studies/objectives.yaml."""

    size: str
    tokens: str
    reference: str
    seeds: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    rates: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    rows: PositiveInt
    documents: PositiveInt
    fine_tuning: FineTuning
    variants: Annotated[dict[Name, Variant], Field(min_length=2)]


class Runs:
    """The runs of a plan, variant by variant. Raises UserError for a variant that cannot be trained, before any is."""

    def __init__(self, plan: Plan, study: Study) -> None:
        self._plan, self._study = plan, study
        config.check_short_budget(f"tokens = {plan.tokens}", plan.tokens, study.training)
        for name, one in plan.variants.items():
            self._refuse(name, one)
        folder, self._manifest = Paths(study.study).of("encode", ""), read_json(Paths(study.study).manifest)
        self._train = open_shard(folder, "train.npy"), open_shard(folder, "train-scored.npy")
        self._held_out = open_shard(folder, "validation.npy")[: plan.rows].astype(np.int64)
        self._specials = Specials(self._manifest["vocab_size"])
        self._peak = read_rate_law(study).peak(plan.size)
        self._steps = steps_of(tokens_of(plan.tokens), study.training.batch_tokens)
        self._device = pick_device(study)
        self.windows = windows(study, plan.fine_tuning)

    @property
    def objectives(self) -> Mapping[str, Objective]:
        """Of all variants."""
        return {name: objective(one.objective) for name, one in self._plan.variants.items()}

    def of(self, name: str, job: str) -> list[Row]:
        """A row each: first the sweep of rates, then all seeds at the best of them.

        A job that was killed takes up the runs that it had ended, and chooses the rates of fine-tuning again.
        """
        plan, study, variant = self._plan, self._study, self._plan.variants[name]
        decided_by = [plan.size, plan.tokens, plan.rows, plan.documents, asdict(plan.fine_tuning)]
        both = asdict(variant), asdict(self._reference)
        runs = PairedRuns(study, job, job_identity(study, self._peak, study.evaluation.batch_rows, both, decided_by))
        swept = cache(partial(self._swept, variant))
        factor_of = cache(lambda frozen, factor: self._tuning_factor(variant, partial(swept, factor), frozen))

        def one(key: str, seed: int, factor: float) -> Row:
            print(f"{name}: {key}", flush=True)
            return self._train_and_score(variant, seed, factor, factor_of)

        return [{"variant": name, **row} for row in runs.of(plan.rates, plan.seeds, one, by="suffix nats")]

    def _train_and_score(
        self, variant: Variant, seed: int, factor: float, factor_of: Callable[[bool, float | None], float]
    ) -> Row:
        """factor_of(frozen, factor): by which factor models are fine-tuned, None: those without pretraining."""
        asked = objective(variant.objective)
        model, row, finished = self._trained(variant, seed, factor)
        row |= self._scores(model, asked, everything=seed != SWEEP_SEED)
        if seed != SWEEP_SEED:
            for frozen in (True, False):  # all weights last: it changes the model
                means = " frozen" if frozen else ""
                for start, when, own in ((model, "", factor), (self._model(variant, seed), " untrained", None)):
                    tuned = factor_of(frozen, own)
                    row[f"accuracy{means}{when}"] = self._classified(start, asked, seed, tuned, self.windows, frozen)
                    row[f"tuning factor{means}{when}"] = tuned
        return row if finished else {key: value if key in GIVEN else float("nan") for key, value in row.items()}

    def _trained(self, variant: Variant, seed: int, factor: float) -> tuple[Decoder, Row, bool]:
        """A model, what its training took, and whether it came to its end."""
        study = self._study
        model, batches = self._model(variant, seed), self._batches(objective(variant.objective), seed)
        steps, flops = self._steps_of(variant, model, batches)
        batches.check(steps, "the longest run")
        finished = train(
            model, AdamW(model, study.training), batches, Stretch(0, steps),
            run_rates(self._peak, steps, study.training, factor), study.training,
            replace(study.execution, compile=False), lambda step, point: None, 0,
        )  # fmt: skip
        row: Row = {
            "trained on": objective(variant.objective).trained_on,
            "rate": factor * self._peak,
            "steps": steps,
            "tokens": steps * study.training.batch_tokens,
            "flops": flops,
        }
        return model, row | {"parameters": sum(one.numel() for one in model.parameters())}, finished

    def _scores(self, model: Decoder, asked: Objective, everything: bool) -> Row:
        study, rows = self._study, self._study.evaluation.batch_rows
        start, specials = study.mixture.seq_len // 2 + 1, self._specials
        found: Row = {"suffix nats": suffix_nats(model, asked, self._held_out, start, specials, rows)}
        if not everything:
            return found
        found["loss"] = own_loss(model, asked, self._held_out, specials, rows)
        found["next sentence"] = next_sentences(model, asked, self._held_out, specials, rows)
        for one in self._skills:
            offset = self._manifest["skill_offset"]
            found[f"skill {one.name}"] = last_answers(model, asked, one, self._documents(one), specials, offset)
        return found

    @property
    def _skills(self) -> list[Skill]:
        mixture = self._study.mixture
        return [skill(one) for one in mixture.skills] if mixture.skill_share else []

    def _documents(self, one: Skill) -> NDArray[np.uint16]:
        study = self._study
        return one.documents("heldout", study.seed, 0, self._plan.documents, study.mixture.seq_len + 1)

    @property
    def bounds(self) -> list[Row]:
        """Of each skill's last answers: how often the optimum is right that never looks at examples, and Bayes'."""
        seen = {one.name: reference(one, self._documents(one)) for one in self._skills}
        return [
            {"skill": name, "floor": one.blind_NA[:, -1].mean(), "Bayes": one.correct_NA[:, -1].mean()}
            for name, one in seen.items()
        ]

    @property
    def _reference(self) -> Variant:
        """By whose FLOPs others are trained, where these are equal."""
        return self._plan.variants[self._plan.reference]

    def _classified(
        self, model: Decoder, asked: Objective, seed: int, factor: float, windows: Windows, frozen: bool
    ) -> float:
        """Accuracy after fine-tuning, of all weights or of the head alone, at so many times the study's rates."""
        tuning, training = self._plan.fine_tuning, self._study.training
        rates = Rates.share(self._peak, factor, training)
        return fine_tune(
            model, asked, self._specials, windows, training, rates, tuning.steps, tuning.rows, seed, frozen
        )

    def _swept(self, variant: Variant, factor: float | None) -> Decoder:
        """A model of the sweep's seed, trained at a factor of the rate; None: without pretraining."""
        return self._model(variant, SWEEP_SEED) if factor is None else self._trained(variant, SWEEP_SEED, factor)[0]

    def _tuning_factor(self, variant: Variant, swept: Callable[[], Decoder], frozen: bool) -> float:
        """The best factor for fine-tuning, of models of the sweep's seed and by windows that are compared nowhere."""
        tuning = self._plan.fine_tuning
        if len(tuning.rates) == 1:
            return tuning.rates[0]
        asked, windows = objective(variant.objective), self.windows.to_choose_by()
        found = {
            rate: self._classified(deepcopy(swept()), asked, SWEEP_SEED, rate, windows, frozen) for rate in tuning.rates
        }
        return max(found, key=lambda rate: found[rate])

    def _model(self, variant: Variant, seed: int) -> Decoder:
        """An untrained model; its context has room for what objectives add to a row."""
        study = self._study
        vocabulary, context = self._specials.first + Specials.COUNT, 2 * study.mixture.seq_len
        shape = shape_of(self._plan.size, study.model, vocabulary, context)
        if variant.architecture != "encoder-decoder":
            model = Decoder(shape, study.model)
        elif variant.layers:
            model = EncoderDecoder(replace(shape, n_layer=sum(variant.layers)), study.model, variant.layers[0])
        else:
            encoder = shape.n_layer // 2
            model = EncoderDecoder(narrowed(shape, study.model, encoder), study.model, encoder)
        initialise(model, study.seed + seed + seed_of(self._plan.size))
        return model.to(self._device)

    def _batches(self, asked: Objective, seed: int) -> ObjectiveBatches:
        study = self._study
        return ObjectiveBatches(
            *self._train, study.training.batch_tokens, study.mixture.repeat, asked, self._specials, study.seed + seed
        )

    def _steps_of(self, variant: Variant, model: Decoder, batches: ObjectiveBatches) -> tuple[int, int]:
        """Steps of a run, and its training FLOPs: as many as the reference's, to the nearest step, where they are what
        is equal."""
        if variant.equal == "tokens":
            return self._steps, sum(batch_flops(model, batches[step]) for step in range(self._steps))
        theirs = self._batches(objective(self._reference.objective), SWEEP_SEED)  # one length for all seeds
        body = self._model(self._reference, SWEEP_SEED)
        wanted = sum(batch_flops(body, theirs[step]) for step in range(self._steps))
        steps, flops = 0, 0
        while flops < wanted:
            last = batch_flops(model, batches[steps])
            steps, flops = steps + 1, flops + last
        return (steps, flops) if flops - wanted <= last / 2 else (steps - 1, flops - last)

    def _refuse(self, name: str, variant: Variant) -> None:
        """Raise UserError for what cannot be trained, before anything is."""
        asked, layers = objective(variant.objective), shape_of(self._plan.size, self._study.model, 1, 1).n_layer
        try:
            check_architecture(asked, variant.architecture, ARCHITECTURES)
        except UserError as error:
            raise UserError(f"variant {name}: {error}") from None
        if variant.architecture != "encoder-decoder" and variant.layers:
            raise UserError(f"variant {name}: layers = {list(variant.layers)}: of an encoder-decoder only; drop them")
        if variant.architecture == "encoder-decoder" and not variant.layers and layers < 2:
            raise UserError(f"variant {name}: one layer cannot be shared out; set model.min_layers: 2, or layers")
