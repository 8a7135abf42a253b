"""Objectives by name, from an entry of a settings file."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scalinglab import messages
from scalinglab.errors import UserError
from scalinglab.objectives.base import Objective
from scalinglab.objectives.masked import Masked
from scalinglab.objectives.reading import Causal, Prefix
from scalinglab.objectives.spans import Spans

OBJECTIVES: dict[str, type[Objective]] = {kind.name: kind for kind in (Causal, Prefix, Masked, Spans)}


def objective(entry: str | Mapping[str, Any]) -> Objective:
    """An objective from its name, or its name and knobs, `{name: span, noise: 0.15}`.

    Raises UserError that lists the known names, or names the knob.
    """
    knobs = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
    name = knobs.pop("name", None)
    if name not in OBJECTIVES:
        raise UserError(f"objective {name!r}: unknown; known: {', '.join(OBJECTIVES)}")
    kind = OBJECTIVES[name]
    try:
        return TypeAdapter(kind).validate_python(knobs)
    except ValidationError as error:
        fields = sorted(kind.__dataclass_fields__)
        raise UserError("\n".join(messages.lines(f"objective {name}", error.errors(), {(): fields}))) from None
