"""params.yaml, read and checked: one Study, or one line an error that names the value and the fix.

What it may hold is in schema.py, what must fit together in consistency.py.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from scalinglab import consistency, messages
from scalinglab.consistency import check_short_budget
from scalinglab.errors import UserError
from scalinglab.schema import (
    START,
    STRICT,
    Clean,
    Execution,
    Mixture,
    Model,
    Name,
    PositiveFloat,
    PositiveInt,
    Segment,
    Share,
    Source,
    Study,
    Training,
    seed_of,
    tokens_of,
    width_of,
)

__all__ = [
    "START",
    "STRICT",
    "Clean",
    "Execution",
    "Mixture",
    "Model",
    "Name",
    "PositiveFloat",
    "PositiveInt",
    "Segment",
    "Share",
    "Source",
    "Study",
    "Training",
    "check_short_budget",
    "load",
    "parse",
    "seed_of",
    "tokens_of",
    "width_of",
]


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
    consistency.check(study, where)
    return study


def _known_keys() -> messages.KnownKeys:
    """The keys that each section of params.yaml may have."""
    sections: dict[tuple[str, ...], type] = {(): Study, ("download", "sources"): Source}
    sections |= {(name,): field.type for name, field in Study.__dataclass_fields__.items()}
    return {path: sorted(getattr(kind, "__dataclass_fields__", {})) for path, kind in sections.items()}
