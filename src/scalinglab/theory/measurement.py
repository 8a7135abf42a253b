"""A question that is measured once, without variants to be compared: what studies/<name>.yaml says of it."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from scalinglab import config, messages
from scalinglab.config import Name
from scalinglab.errors import UserError

Settings = TypeVar("Settings")


@dataclass(frozen=True, config=config.STRICT)
class Measurement:
    """A question, what decides its measurement, and what the quick form changes of that.

    The settings are those of the module of its name in measurements/; each is documented in the YAML file.
    """

    name: Name
    question: str
    settings: dict[str, Any]
    quick: dict[str, Any]

    def shortened(self) -> "Measurement":
        """The quick form of this measurement."""
        return Measurement(self.name, self.question, {**self.settings, **self.quick}, {})

    def settings_as(self, kind: type[Settings]) -> Settings:
        """The settings as a measurement's own dataclass. Raises UserError with one line a problem."""
        where = f"studies/{self.name}.yaml: settings"
        return _checked(kind, self.settings, where)


def measurement_of(params: Mapping[str, Any], name: str) -> Measurement:
    """The measurement of a name, from all parameters. Raises UserError with one line a problem."""
    known = params.get("measured", {})
    if name not in known:
        raise UserError(f"no measurement {name!r}; known: {', '.join(sorted(known)) or 'none (studies/*.yaml)'}")
    where = f"studies/{name}.yaml"
    asked = _checked(Measurement, {**known[name], "name": name}, where)
    variants, reference = asked.settings.get("variants"), asked.settings.get("reference")
    if isinstance(variants, dict) and reference not in variants:  # before the pipeline looks its variant up
        raise UserError(f"{where}: reference = {reference!r}: no such variant; known: {', '.join(variants)}")
    return asked


def _checked(kind: type[Settings], values: dict[str, Any], where: str) -> Settings:
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        fields = sorted(getattr(kind, "__dataclass_fields__", {}).keys() - {"name"})
        raise UserError("\n".join(messages.lines(where, error.errors(), {(): fields}))) from None
