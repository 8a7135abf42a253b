"""Random edits of parameters and of source lines, and the stages that each must make stale: those, and no others."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from scalinglab import config, pipeline
from scalinglab.errors import UserError
from scalinglab.pipeline import Stage
from tests.pipeline.repository import Repository, with_all_behind


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every number in params.yaml."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", value


def edit_parameter(repository: Repository, rng: random.Random) -> str:
    """Change one number to another that the study accepts; return its key."""
    params = yaml.safe_load((repository.root / "params.yaml").read_text())
    while True:
        key, value = rng.choice(list(leaves(params)))
        before = (repository.root / "params.yaml").read_text()
        factor = rng.uniform(0.9, 1.1)
        repository.change(key, value + rng.choice([1, 2]) if isinstance(value, int) else value * factor or factor)
        try:
            config.parse(pipeline.read_params(repository.root))
            return key
        except UserError:
            (repository.root / "params.yaml").write_text(before)


def edit_source(repository: Repository, rng: random.Random) -> str:
    """Add a line to one module; return its path."""
    path = rng.choice(sorted((repository.root / "src/scalinglab").rglob("*.py")))
    lines = path.read_text().split("\n")
    lines.insert(len(lines) - 1, "# edited")
    path.write_text("\n".join(lines))
    return path.relative_to(repository.root).as_posix()


def right_stages(repository: Repository, edited: str) -> set[str]:
    """Stages that declare the edited key or file, and all that depend on what they make."""
    stages = repository.stages()
    return with_all_behind(stages, {stage.name for stage in stages if declares(stage, edited)})


def declares(stage: Stage, edited: str) -> bool:
    """Whether a stage names the edited file, or a folder around it, or the edited key, or a section around it."""
    inside = any(edited == dep or edited.startswith(f"{dep}/") for dep in stage.deps)
    return inside or any(edited == key or edited.startswith(f"{key}.") for key in stage.params)


def check_one(repository: Repository, rng: random.Random) -> tuple[str, int]:
    """Edit something, ask both tools what is stale, and undo it; return what was edited and how many stages it hit."""
    changed = {path: path.read_bytes() for path in (repository.root / "src").rglob("*.py")}
    changed[repository.root / "params.yaml"] = (repository.root / "params.yaml").read_bytes()
    edited = rng.choice([edit_parameter, edit_source])(repository, rng)
    try:
        right = right_stages(repository, edited)
        assert repository.stale() == right, f"DVC, after {edited} was edited"
        planned = repository.planned()
        planned.pop("all", None)
        families = Counter(name.split("@")[0] for name in right)
        assert planned == dict(families), f"Snakemake, after {edited} was edited"
    finally:
        for path, text in changed.items():
            if path.read_bytes() != text:
                Path(path).write_bytes(text)
    return edited, len(right)
