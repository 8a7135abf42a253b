"""`scalinglab skills`: every skill that `mixture.skills` may name, with its knobs and their defaults."""

import argparse
import sys
from dataclasses import fields

from scalinglab.skills import SKILLS


def run(arguments: argparse.Namespace) -> None:
    for name, kind in SKILLS.items():
        knobs = ", ".join(f"{field.name}: {field.default}" for field in fields(kind))  # type: ignore[arg-type]
        print((sys.modules[kind.__module__].__doc__ or name).split("\n")[0])
        print(f"    {{name: {name}{', ' if knobs else ''}{knobs}}}")
