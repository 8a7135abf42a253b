"""A controlled study as frozen dataclasses: what its variants share, what each changes, and how they are compared.

One YAML file a study in studies/, documented there. The changes are sections and keys of params.yaml, and are checked
as such: each variant becomes a whole study of its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from scalinglab import config, messages, pipeline
from scalinglab.config import Name, PositiveFloat, Study
from scalinglab.errors import UserError

CHANGEABLE = ("model", "training")  # what a variant may differ in
NO_BUDGET = "1G"  # where a study must name one, and none is asked for
Changes = dict[str, dict[str, Any]]
RUN_COLUMNS = ("role", "seed", "factor", "rate", "loss")  # of each run of a variant; all others are measures
# What is shown as the ratio of the means of two measures.
RATIOS = {"noise scale (tokens)": ("gradient noise", "gradient squared")}
Seeds = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]  # seed 0 is that of the sweep of rates
Rates = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]


@dataclass(frozen=True, config=config.STRICT)
class Quick:
    """What the quick form does instead: fewer tokens, seeds and rates."""

    tokens: str
    seeds: Seeds
    rates: Rates


@dataclass(frozen=True, config=config.STRICT)
class Protocol:
    """A controlled study. Each key is documented in studies/positions.yaml."""

    name: Name
    question: str
    unit: str
    reference: Name
    margin: PositiveFloat
    size: str
    tokens: str
    seeds: Seeds
    rates: Rates
    measures: tuple[str, ...]
    quick: Quick
    base: Changes
    variants: Annotated[dict[Name, Changes], Field(min_length=2)]

    def shortened(self) -> "Protocol":
        """The quick form of this study."""
        return replace(self, tokens=self.quick.tokens, seeds=self.quick.seeds, rates=self.quick.rates)


def protocol_of(params: Mapping[str, Any], name: str) -> Protocol:
    """The controlled study of a name, from all parameters. Raises UserError with one line a problem."""
    known = params.get("theory", {})
    if name not in known:
        raise UserError(f"no controlled study {name!r}; known: {', '.join(sorted(known)) or 'none (studies/*.yaml)'}")
    where = f"studies/{name}.yaml"
    try:
        protocol = TypeAdapter(Protocol).validate_python({**known[name], "name": name})
    except ValidationError as error:
        fields = sorted(Protocol.__dataclass_fields__.keys() - {"name"})
        raise UserError("\n".join(messages.lines(where, error.errors(), {(): fields}))) from None
    try:
        config.width_of(protocol.size), config.tokens_of(protocol.tokens), config.tokens_of(protocol.quick.tokens)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if protocol.reference not in protocol.variants:
        raise UserError(f"{where}: reference = {protocol.reference!r}: {_no_variant(protocol)}")
    for label, seeds in (("seeds", protocol.seeds), ("quick.seeds", protocol.quick.seeds)):
        if len(set(seeds)) != len(seeds):
            raise UserError(f"{where}: {label} = {list(seeds)}: repeats a seed; list each once")
    return protocol


def study_of(params: Mapping[str, Any], protocol: Protocol, variant: str) -> Study:
    """The study whose parameters are params.yaml, changed by what the variants share and then by this one."""
    where = f"studies/{protocol.name}.yaml"
    if variant not in protocol.variants:
        raise UserError(f"{where}: variant {variant!r}: {_no_variant(protocol)}")
    values = pipeline.study_params(params)
    # It is trained at one size, on tokens that are checked below, and need not suit the grid.
    segment = {"after": config.START, "to": NO_BUDGET, "evaluate_after": "tokenizer"}
    values["grid"] = {"sizes": [protocol.size], "budgets": [NO_BUDGET], "segments": [segment]}
    values["tune"] = {**values["tune"], "sizes": [protocol.size], "budget": NO_BUDGET}
    for changes in (protocol.base, protocol.variants[variant]):
        for section, keys in changes.items():
            if section not in CHANGEABLE:
                raise UserError(
                    f"{where}: variant {variant}: section {section!r}: every variant is trained on the data of the "
                    f"study in params.yaml; change {' or '.join(CHANGEABLE)}"
                )
            values[section] = {**values[section], **keys}
    study = config.parse(values, f"{where}: variant {variant}")
    config.check_short_budget(f"{where}: tokens = {protocol.tokens}", protocol.tokens, study.training)
    return study


def check_variants(params: Mapping[str, Any], protocol: Protocol) -> None:
    """Raises UserError where any variant is not sound: a mistake in one is to be told before another has trained."""
    for variant in protocol.variants:
        study_of(params, protocol, variant)


def _no_variant(protocol: Protocol) -> str:
    return f"no such variant; known: {', '.join(protocol.variants)}"
