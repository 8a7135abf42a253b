"""The study as frozen dataclasses: what params.yaml may hold.

The meaning, unit and range of each knob is documented where users meet it: beside its value in presets/*.yaml.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from scalinglab.errors import UserError

STRICT = ConfigDict(extra="forbid")
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
NAME = r"[a-z0-9][a-z0-9_-]*"  # may stand in a stage's name, in its command and in paths of its files
Name = Annotated[str, Field(pattern=f"^{NAME}$")]

SIZE = re.compile(r"d(?P<width>\d+)(s(?P<seed>\d+))?")
BUDGET = re.compile(r"(?P<count>\d+)(?P<unit>[kMG]?)")
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
    embedding_rate: Annotated[float, Field(ge=0)]
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
