"""Looking up a part of the model by its name in params.yaml."""

from typing import TypeVar

from scalinglab.errors import UserError

T = TypeVar("T")


def pick(parts: dict[str, T], key: str, name: str) -> T:
    """The part registered under `name`. Raises UserError that lists the known ones."""
    if name not in parts:
        raise UserError(f"model.{key} = {name!r}: unknown; known: {', '.join(sorted(parts))}")
    return parts[name]
