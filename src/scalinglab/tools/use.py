"""`scalinglab use NAME`: make a preset the current study, showing what changes and what it costs."""

import argparse
import difflib
from pathlib import Path

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.files import write_text
from scalinglab.tools import cost

PRESETS = Path("presets")


def run(arguments: argparse.Namespace) -> None:
    path = find(arguments.preset)
    study = config.load(path)
    text = path.read_text(encoding="utf-8")
    current = Path("params.yaml")
    before = current.read_text(encoding="utf-8") if current.exists() else ""
    diff = difflib.unified_diff(before.splitlines(), text.splitlines(), "params.yaml", str(path), lineterm="", n=0)
    print("\n".join(diff) or f"params.yaml is {path} already")
    write_text(current, text)
    print()
    cost.show(study)


def find(name: str) -> Path:
    """The file of a preset. Raises UserError that lists the known ones."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.yaml")))
        raise UserError(f"no preset {name!r}; known: {known}, or give a path to a YAML file")
    return path
