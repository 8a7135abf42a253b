"""The study as frozen dataclasses, built once from params.yaml and checked there.

Unknown keys and bad values become one-line errors that name the value and the fix. The meaning, unit and range of
each knob is documented where users meet it: beside its value in presets/*.yaml.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from scalinglab import messages
from scalinglab.errors import UserError
from scalinglab.skills import fitting

STRICT = ConfigDict(extra="forbid")
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]

SIZE = re.compile(r"d(?P<width>\d+)(s(?P<seed>\d+))?")
BUDGET = re.compile(r"(?P<count>\d+)(?P<unit>[kMG]?)")
SEALED_ABOVE = 0.25  # share of the largest budget above which cells are forecast before they are evaluated
START = "init"  # the label of a trunk before its first token


def width_of(size: str) -> int:
    """Model width of a size label: `d64` and its replica `d64s1` have width 64."""
    match = SIZE.fullmatch(size)
    if not match:
        raise UserError(f"size {size!r} is not a width such as d64, or d64s1 for its replica with seed 1")
    return int(match["width"])


def seed_of(size: str) -> int:
    """Seed offset of a size label: 0 for `d64`, 1 for `d64s1`."""
    match = SIZE.fullmatch(size)
    return int(match["seed"] or 0) if match else 0


def tokens_of(budget: str) -> int:
    """Tokens of a budget label: `400k` is 400,000."""
    match = BUDGET.fullmatch(budget)
    if not match or not int(match["count"]):
        raise UserError(f"budget {budget!r} is not a number of tokens such as 400k, 2M or 1G")
    return int(match["count"]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[match["unit"]]


@dataclass(frozen=True, config=STRICT)
class Source:
    """One place that text comes from; which fields apply depends on `kind` (see corpus/sources.py)."""

    name: Name
    kind: Literal["installed", "url", "local", "hf"]
    distributions: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ("**/*.py",)
    path: str = ""
    url: str = ""
    sha256: str = ""
    max_bytes: PositiveInt = 100_000_000
    mirror: str = ""
    dataset: str = ""
    subset: str = ""
    revision: str = ""
    split: str = "train"
    field: str = "text"
    encoding_errors: Literal["error", "skip", "replace"] = "error"


@dataclass(frozen=True, config=STRICT)
class Download:
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class Clean:
    min_chars: PositiveInt
    max_chars: PositiveInt
    max_line_chars: PositiveInt
    min_alpha_share: Share
    near_duplicate_jaccard: Annotated[float, Field(gt=0, le=1)]
    shingle_words: PositiveInt
    minhash_permutations: Annotated[int, Field(ge=16)]
    validation_share: Annotated[float, Field(gt=0, lt=0.5)]
    decontaminate_words: PositiveInt
    decontaminate_share: Share
    sample_share: Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class Tokenizer:
    vocab_size: Annotated[int, Field(ge=300, le=65_000)]
    skill_symbols: Annotated[int, Field(ge=0, le=512)]
    sample_bytes: PositiveInt


@dataclass(frozen=True, config=STRICT)
class Mixture:
    seq_len: Annotated[int, Field(ge=8)]
    skill_share: Annotated[float, Field(ge=0, lt=1)]
    skill_loss: Literal["answers", "all"]
    skills: tuple[str | dict[str, Any], ...]
    validation_tokens: PositiveInt
    repeat: PositiveInt

    @property
    def skill_names(self) -> tuple[str, ...]:
        """The names of the skills, without their knobs."""
        return tuple(entry if isinstance(entry, str) else str(entry.get("name")) for entry in self.skills)


@dataclass(frozen=True, config=STRICT)
class Model:
    aspect: PositiveInt
    min_layers: PositiveInt
    head_dim: Annotated[int, Field(ge=2, multiple_of=2)]
    kv_groups: PositiveInt
    ff_ratio: PositiveFloat
    norm: str
    norm_place: Literal["pre", "post"]
    position: str
    attention: str
    window: PositiveInt
    feed_forward: str
    experts: PositiveInt
    active_experts: PositiveInt
    balance: Annotated[float, Field(ge=0)]
    token_shift: bool
    tied_head: bool
    parametrisation: str
    dropout: Annotated[float, Field(ge=0, lt=1)]
    rope_theta: PositiveFloat


@dataclass(frozen=True, config=STRICT)
class Training:
    batch_tokens: PositiveInt
    schedule: Literal["wsd", "cosine", "linear", "constant"]
    warmup_tokens: Annotated[int, Field(ge=0)]
    anneal_share: Annotated[float, Field(gt=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    eps: PositiveFloat
    embedding_rate: PositiveFloat
    clip_norm: PositiveFloat
    precision: Literal["fp32", "bf16", "fp16"]
    loss_scale: Annotated[float, Field(ge=0)]
    loss_scale_interval: Annotated[int, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    unique_tokens: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class Tune:
    sizes: Annotated[tuple[str, ...], Field(min_length=1)]
    budget: str
    rates: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Segment:
    """One stretch of a trunk: continue from the branch point of `after` to that of `to`.

    evaluate_after: the stage that must have ended before the budget's cells are evaluated: `tokenizer`, or for the
    largest budgets `forecast`, which predicts them from all others.
    """

    after: str
    to: str
    evaluate_after: Literal["tokenizer", "forecast"]


@dataclass(frozen=True, config=STRICT)
class Grid:
    sizes: Annotated[tuple[str, ...], Field(min_length=1)]
    budgets: Annotated[tuple[str, ...], Field(min_length=1)]
    segments: tuple[Segment, ...]

    def evaluate_after(self, budget: str) -> str:
        """The stage after which a budget's cells are evaluated: also the folder of their evaluations."""
        return next(segment.evaluate_after for segment in self.segments if segment.to == budget)

    def cells(self) -> list[tuple[str, str]]:
        """Every (size, budget) of the grid, in the order of the lists."""
        return [(size, budget) for size in self.sizes for budget in self.budgets]


@dataclass(frozen=True, config=STRICT)
class Evaluation:
    batch_rows: PositiveInt


@dataclass(frozen=True, config=STRICT)
class Shots:
    documents: PositiveInt
    ks: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    prompts: PositiveInt
    order_k: Annotated[int, Field(ge=2)]
    permutations: Annotated[int, Field(ge=2)]


@dataclass(frozen=True, config=STRICT)
class Forecast:
    huber_delta: PositiveFloat
    bootstrap: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class Laws:
    huber_delta: PositiveFloat
    bootstrap: Annotated[int, Field(ge=0)]
    min_tokens_per_param: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class Ladder:
    seeds: tuple[Annotated[int, Field(ge=0)], ...]
    sizes: Annotated[tuple[str, ...], Field(min_length=3)]
    budgets: Annotated[tuple[str, ...], Field(min_length=2)]
    warmup_tokens: PositiveInt
    resamples: Annotated[int, Field(ge=0)]
    dpi: PositiveInt


@dataclass(frozen=True, config=STRICT)
class Emergence:
    k: Annotated[int, Field(ge=0)]
    exact_lengths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    threshold: Share


@dataclass(frozen=True, config=STRICT)
class FigureOptions:
    dpi: PositiveInt


@dataclass(frozen=True, config=STRICT)
class Execution:
    device: Literal["auto", "cpu", "cuda"]
    threads: PositiveInt
    compile: bool
    precision: Literal["fp32", "bf16"]
    checkpoint_seconds: PositiveFloat
    log_seconds: PositiveFloat


@dataclass(frozen=True, config=STRICT)
class Study:
    """A complete study: params.yaml."""

    study: Name
    seed: Annotated[int, Field(ge=0)]
    download: Download
    clean: Clean
    tokenizer: Tokenizer
    mixture: Mixture
    model: Model
    training: Training
    tune: Tune
    grid: Grid
    evaluation: Evaluation
    shots: Shots
    forecast: Forecast
    laws: Laws
    ladder: Ladder
    emergence: Emergence
    figures: dict[str, FigureOptions]
    execution: Execution


def load(path: Path = Path("params.yaml")) -> Study:
    """Read and check a study. Raises UserError with one line a problem."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run from the repository root, or `scalinglab use laptop`") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    return parse(values, str(path))


def parse(values: Any, where: str = "params.yaml") -> Study:
    """Build a Study from plain values. Raises UserError with one line a problem."""
    try:
        study = TypeAdapter(Study).validate_python(values)
    except ValidationError as error:
        raise UserError("\n".join(messages.lines(where, error.errors(), _known_keys()))) from None
    _check_together(study, where)
    return study


def _known_keys() -> messages.KnownKeys:
    """The keys that each section of params.yaml may have."""
    sections: dict[tuple[str, ...], type] = {(): Study, ("download", "sources"): Source}
    sections |= {(name,): field.type for name, field in Study.__dataclass_fields__.items()}
    return {path: sorted(getattr(kind, "__dataclass_fields__", {})) for path, kind in sections.items()}


def _check_together(study: Study, where: str) -> None:
    """Rules that span several keys."""
    grid, model = study.grid, study.model
    ladder = study.ladder
    lists = {
        "grid.sizes": grid.sizes,
        "grid.budgets": grid.budgets,
        "mixture.skills": study.mixture.skill_names,
        "tune.sizes": study.tune.sizes,
        "ladder.sizes": ladder.sizes,
        "ladder.seeds": ladder.seeds,
    }
    for name, labels in lists.items():
        if len(set(labels)) != len(labels):
            raise UserError(f"{where}: {name} = {list(labels)}: repeats a label; list each once")
    sections = (("grid", grid.sizes), ("tune", study.tune.sizes), ("ladder", ladder.sizes if ladder.seeds else ()))
    for name, size in [(name, size) for name, sizes in sections for size in sizes]:
        width = width_of(size)
        head_dim = min(model.head_dim, width)
        if width % head_dim or head_dim % 2:
            raise UserError(
                f"{where}: {name}.sizes: {size}: heads of {head_dim} do not divide the width {width}; "
                f"take a width that is a multiple of model.head_dim = {model.head_dim}, or change head_dim"
            )
        if (width // head_dim) % model.kv_groups:
            raise UserError(
                f"{where}: {name}.sizes: {size}: model.kv_groups = {model.kv_groups} does not divide its "
                f"{width // head_dim} heads; take a divisor"
            )
    if model.active_experts > model.experts:
        raise UserError(
            f"{where}: model.active_experts = {model.active_experts}: more than model.experts = {model.experts}; "
            "lower it, or raise experts"
        )
    _check_tune(study, where)
    if ladder.seeds:
        _check_ladder(study, where)
    tokens = [tokens_of(budget) for budget in grid.budgets]
    if tokens != sorted(tokens):
        raise UserError(f"{where}: grid.budgets = {list(grid.budgets)}: list budgets in growing order")
    chain = _segments(grid.budgets)
    if grid.segments != chain:
        lines = "\n".join(
            f"    - {{after: {link.after}, to: {link.to}, evaluate_after: {link.evaluate_after}}}" for link in chain
        )
        raise UserError(f"{where}: grid.segments does not follow grid.budgets; it must read\n{lines}")
    batch, seq_len = study.training.batch_tokens, study.mixture.seq_len
    if batch % seq_len:
        raise UserError(f"{where}: training.batch_tokens = {batch}: not a multiple of mixture.seq_len = {seq_len}")
    if 0 < study.training.unique_tokens < batch:
        raise UserError(
            f"{where}: training.unique_tokens = {study.training.unique_tokens}: less than a batch of {batch}; raise "
            "it, or 0 for all"
        )
    _check_precision(study, where)
    _check_evaluation(study, where)
    shortest = tokens[0] * (1 - study.training.anneal_share)
    if study.training.warmup_tokens >= shortest:
        raise UserError(
            f"{where}: training.warmup_tokens = {study.training.warmup_tokens}: warmup must end before the first "
            f"branch point at {shortest:.0f} tokens; lower it or drop the budget {grid.budgets[0]}"
        )
    if tokens[0] < 2 * batch:
        raise UserError(f"{where}: grid.budgets: {grid.budgets[0]} is less than two batches of {batch} tokens")


def _check_precision(study: Study, where: str) -> None:
    training, how = study.training, study.execution.precision
    if training.precision != "fp32" and how != "fp32":
        raise UserError(
            f"{where}: training.precision = {training.precision!r}: execution.precision = {how!r} names another format "
            "for the same steps; set that to fp32"
        )
    if training.loss_scale and training.precision != "fp16":
        raise UserError(
            f"{where}: training.loss_scale = {training.loss_scale:g}: {training.precision} reaches down to 1e-38 and "
            "loses no gradient that a scale would save; take training.precision: fp16, or 0"
        )
    if training.loss_scale_interval and not training.loss_scale:
        raise UserError(
            f"{where}: training.loss_scale_interval = {training.loss_scale_interval}: there is no scale that could "
            "double; set training.loss_scale (65536), or 0"
        )


def _check_tune(study: Study, where: str) -> None:
    tune, training = study.tune, study.training
    if list(tune.rates) != sorted(set(tune.rates)):
        raise UserError(f"{where}: tune.rates = {list(tune.rates)}: list rates in growing order, each once")
    if len(tune.rates) == 2:
        raise UserError(f"{where}: tune.rates = {list(tune.rates)}: a best rate between others takes three or more")
    check_short_budget(f"{where}: tune.budget = {tune.budget}", tune.budget, training)


def _check_ladder(study: Study, where: str) -> None:
    ladder, warmup = study.ladder, study.training.warmup_tokens
    tokens = [tokens_of(budget) for budget in ladder.budgets]
    if tokens != sorted(set(tokens)):
        raise UserError(f"{where}: ladder.budgets = {list(ladder.budgets)}: list budgets in growing order, each once")
    if replicas := [size for size in ladder.sizes if "s" in size]:
        raise UserError(f"{where}: ladder.sizes: {replicas[0]}: list plain widths; ladder.seeds makes replicas")
    check_short_budget(f"{where}: ladder.budgets: {ladder.budgets[0]}", ladder.budgets[0], study.training)
    if ladder.warmup_tokens <= warmup:
        raise UserError(
            f"{where}: ladder.warmup_tokens = {ladder.warmup_tokens}: the long warmup; take more than "
            f"training.warmup_tokens = {warmup}"
        )


def check_short_budget(what: str, budget: str, training: Training) -> None:
    """Whether a run of its own can warm up and decay within a budget."""
    if tokens_of(budget) < 2 * training.batch_tokens:
        raise UserError(f"{what}: less than two batches of {training.batch_tokens} tokens")
    if training.warmup_tokens >= tokens_of(budget) * (1 - training.anneal_share):
        raise UserError(
            f"{what}: training.warmup_tokens = {training.warmup_tokens} must end before the rate decays; "
            "take a larger budget"
        )


def _segments(budgets: Sequence[str]) -> tuple[Segment, ...]:
    """The trunk's stretches that follow from the budgets; those above a quarter of the largest are forecast.

    The smallest is always known: without it there would be nothing to forecast from.
    """
    known = max(SEALED_ABOVE * max(map(tokens_of, budgets)), tokens_of(budgets[0]))
    return tuple(
        Segment(after, to, "forecast" if tokens_of(to) > known else "tokenizer")
        for after, to in zip((START, *budgets), budgets, strict=False)
    )


def _check_evaluation(study: Study, where: str) -> None:
    """What would otherwise come to light only after training."""
    mixture, pairs = study.mixture, study.mixture.seq_len // 2
    if mixture.seq_len % 2:
        raise UserError(f"{where}: mixture.seq_len = {mixture.seq_len}: must be even, skills come in pairs")
    if mixture.skill_share and not mixture.skills:
        raise UserError(f"{where}: mixture.skills = []: name skills, or set mixture.skill_share to 0")
    for entry in mixture.skills if mixture.skill_share else ():
        try:
            one = fitting(entry, mixture.seq_len + 1)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if study.tokenizer.skill_symbols <= one.symbols:  # one stays free: it means nothing (prompts.calibration)
            raise UserError(
                f"{where}: tokenizer.skill_symbols = {study.tokenizer.skill_symbols}: skill {one.name} needs "
                f"{one.symbols + 1}; raise it, or drop the skill"
            )
    if mixture.validation_tokens < mixture.seq_len:
        raise UserError(f"{where}: mixture.validation_tokens = {mixture.validation_tokens}: less than one row")
    if max(study.shots.ks) >= pairs:
        raise UserError(
            f"{where}: shots.ks: {max(study.shots.ks)} examples do not fit; mixture.seq_len allows up to {pairs - 1}"
        )
    if study.shots.order_k >= pairs:
        raise UserError(
            f"{where}: shots.order_k = {study.shots.order_k}: does not fit; mixture.seq_len allows up to {pairs - 1}"
        )
    if study.emergence.k not in study.shots.ks:
        raise UserError(f"{where}: emergence.k = {study.emergence.k}: not in shots.ks = {list(study.shots.ks)}; add it")
    if max(study.emergence.exact_lengths) > pairs:
        raise UserError(f"{where}: emergence.exact_lengths: {max(study.emergence.exact_lengths)} is above {pairs}")
    names = [source.name for source in study.download.sources]
    if len(set(names)) != len(names):
        raise UserError(f"{where}: download.sources: names {names} repeat; give each source its own")
