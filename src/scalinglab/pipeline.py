"""The stages of dvc.yaml as plain data, for Snakemake, the cost table and the tests.

dvc.yaml is the one declaration. DVC resolves its templates for itself; this module resolves the same subset
(`matrix:`, `${section.key}` and `${item.key}`) without building DVC's index, because planning 1,000 cells must take
seconds. A test holds the two against each other on every stage.
"""

import functools
import itertools
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scalinglab import files
from scalinglab.errors import UserError

REFERENCE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml with every template filled in."""

    name: str
    family: str
    item: dict[str, Any]
    cmd: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """One entry of dvc.yaml: its stages, and its outputs as Snakemake patterns (`${item.size}` -> `{size}`)."""

    name: str
    out_patterns: tuple[str, ...]
    stages: tuple[Stage, ...]


def load(root: Path = Path(".")) -> dict[str, Family]:
    """Read dvc.yaml and params.yaml below `root` and resolve every family."""
    declared = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    params = read_params(root)
    return {name: _family(name, spec, params) for name, spec in declared.items()}


def stages_of(families: dict[str, Family]) -> list[Stage]:
    """All stages of all families, in the order of dvc.yaml."""
    return [stage for family in families.values() for stage in family.stages]


def param_values(stage: Stage, params: dict[str, Any]) -> dict[str, Any]:
    """The values in params.yaml that the stage declares: they decide its result."""
    return {key: lookup(params, key) for key in stage.params}


def is_result(dep: str) -> bool:
    """Whether a dependency is something that a stage makes, and not our code."""
    return dep.startswith("results/")


def plan_of(stage: Stage, params: dict[str, Any]) -> str:
    """One digest of the parameters and the code that decide a stage's result.

    Snakemake holds it as a parameter of the job. Code as twenty input files a job instead made planning 1,000 cells
    twice as slow: Snakemake looks at each input of each job several times over.
    """
    return files.digest([param_values(stage, params), code_digest(tuple(d for d in stage.deps if not is_result(d)))])


@functools.cache
def code_digest(deps: tuple[str, ...]) -> str:
    """One digest of the files behind some dependencies, as they were when it was first asked for."""
    return files.digest({str(path): files.sha256(path) for dep in deps for path in files_of(dep)})


def find(families: dict[str, Family], family: str, options: dict[str, str]) -> Stage | None:
    """The stage of a family that a command with these options runs; None where the grid has no such stage."""
    if family not in families:
        return None
    return next((stage for stage in families[family].stages if options_of(stage) == options), None)


def options_of(stage: Stage) -> dict[str, str]:
    """The options of a stage's command: `python -m scalinglab anneal --size d8 --budget 1M` has two."""
    words = shlex.split(stage.cmd)[4:]
    return {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}


def lookup(values: Any, dotted: str) -> Any:
    """The value under a dotted key such as `grid.sizes`. Raises UserError where there is none."""
    for part in dotted.split("."):
        if not isinstance(values, dict) or part not in values:
            raise UserError(f"dvc.yaml refers to {dotted!r}, which params.yaml does not define; add it there")
        values = values[part]
    return values


def fill(text: str, context: dict[str, Any]) -> str:
    """Replace each `${a.b}` by its value."""
    return REFERENCE.sub(lambda match: str(lookup(context, match[1])), text)


def _family(name: str, spec: dict[str, Any], params: dict[str, Any]) -> Family:
    axes = {
        key: lookup(params, REFERENCE.fullmatch(value)[1]) if isinstance(value, str) else value  # type: ignore[index]
        for key, value in spec.get("matrix", {}).items()
    }
    stages = []
    for choice in itertools.product(*(enumerate(values) for values in axes.values())):
        item = {key: value for key, (_, value) in zip(axes, choice, strict=True)}
        # DVC names an item that is itself a mapping by its place in the list.
        labels = [f"{key}{i}" if isinstance(v, dict) else str(v) for key, (i, v) in zip(axes, choice, strict=True)]
        stages.append(_stage(name, "-".join(labels), spec, item, params))
    patterns = tuple(_pattern(out, params) for out in _outs(spec))
    return Family(name, patterns, tuple(stages))


def _stage(family: str, label: str, spec: dict[str, Any], item: dict[str, Any], params: dict[str, Any]) -> Stage:
    context = {**params, "item": item}

    def filled(entries: list[str]) -> tuple[str, ...]:
        return tuple(fill(entry, context) for entry in entries)

    return Stage(
        name=f"{family}@{label}" if label else family,
        family=family,
        item=item,
        cmd=fill(spec["cmd"], context),
        deps=filled(spec.get("deps", [])),
        params=filled(spec.get("params", [])),
        outs=filled(_outs(spec)),
    )


def _outs(spec: dict[str, Any]) -> list[str]:
    """Paths of outs, metrics and plots; an entry with options is a one-key mapping."""
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in spec.get(kind, [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def _pattern(text: str, params: dict[str, Any]) -> str:
    """`results/${study}/anneal/${item.size}.csv` -> `results/laptop/anneal/{size}.csv`."""
    wildcards = re.sub(r"\$\{item\.([\w.]+)\}", lambda match: "{" + match[1].replace(".", "_") + "}", text)
    return fill(wildcards, params)


def files_of(dep: str) -> list[Path]:
    """The files behind a dependency: itself, or every file below a folder but Python's byte code."""
    path = Path(dep)
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def read_params(root: Path = Path(".")) -> dict[str, Any]:
    """params.yaml as plain values, as DVC and Snakemake see them. Raises UserError where it is not valid YAML."""
    try:
        return yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("params.yaml is missing; run from the repository root, or `scalinglab use laptop`") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"params.yaml is not valid YAML: {' '.join(str(error).split())}") from None


def own_sources() -> dict[str, str]:
    """SHA-256 of each module of ours that this process has imported: the code that it runs."""
    home = Path(__file__).parent
    named = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    # As text: torch brings two thousand modules, and building a Path for each takes longer than hashing ours.
    ours = sorted({Path(name) for name in named if name and name.startswith(f"{home}{os.sep}")})
    return {path.relative_to(home.parent.parent).as_posix(): files.sha256(path) for path in ours}
