"""The stages of dvc.yaml as plain data, for Snakemake, the cost table and the tests.

dvc.yaml is the one declaration of the study, studies/dvc.yaml that of the controlled studies beside it: `dvc repro`
makes the first alone. DVC resolves their templates for itself; this module resolves the same subset (`matrix:`,
`foreach:` over a mapping, `${section.key}`, `${item.key}` and `${key}`) without building DVC's index, because planning
1,000 cells must take seconds. A test holds the two against each other on every stage.
"""

import functools
import itertools
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scalinglab import files
from scalinglab.errors import UserError
from scalinglab.schema import NAME

REFERENCE = re.compile(r"\$\{([\w.]+)\}")
STUDIES = Path("studies")  # beside its dvc.yaml, one YAML file a question
THEORY_SECTIONS = ("theory", "measured")  # of those files


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml with every template filled in. Paths are relative to the repository's root.

    name: as DVC addresses it from there, `anneal@d64-1M` or `studies/dvc.yaml:variant_norms@layernorm`.
    """

    name: str
    family: str
    item: dict[str, Any]
    cmd: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]

    @functools.cached_property
    def command(self) -> str:
        """The subcommand of scalinglab that runs it; its family's name where it runs something else."""
        return (shlex.split(self.cmd)[3:4] or [self.family])[0]

    @functools.cached_property
    def theory(self) -> str:
        """The question beside the study that it belongs to; empty for the stages of the study itself."""
        return options_of(self).get("theory", "")


@dataclass(frozen=True)
class Family:
    """One entry of dvc.yaml: its stages, and its outputs as Snakemake patterns (`${item.size}` -> `{size}`)."""

    name: str
    out_patterns: tuple[str, ...]
    stages: tuple[Stage, ...]


def load(root: Path = Path(".")) -> dict[str, Family]:
    """Read every dvc.yaml and the parameters below `root` and resolve every family."""
    params = all_params(root)
    families: dict[str, Family] = {}
    for folder in (Path(), STUDIES):
        if (path := root / folder / "dvc.yaml").exists() or folder == Path():
            declared = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
            families |= {name: _family(folder, name, spec, params) for name, spec in declared.items()}
    return families


def stages_of(families: dict[str, Family]) -> list[Stage]:
    """All stages of all families, in the order of dvc.yaml."""
    return [stage for family in families.values() for stage in family.stages]


def param_values(stage: Stage, params: dict[str, Any]) -> dict[str, Any]:
    """The values of parameters that the stage declares: they decide its result."""
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


def find(families: dict[str, Family], command: str, options: dict[str, str]) -> Stage | None:
    """The stage that a command with these options runs; None where no study has such a stage."""
    stages = (stage for stage in stages_of(families) if stage.command == command)
    return next((stage for stage in stages if options_of(stage) == options), None)


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


def _family(folder: Path, name: str, spec: dict[str, Any], params: dict[str, Any]) -> Family:
    if "foreach" in spec:
        # Over a mapping: its keys name the stages.
        contexts = {key: {"key": key, "item": value} for key, value in _named(spec["foreach"], params).items()}
        spec = spec["do"]
    else:
        axes = {key: _referred(value, params) for key, value in spec.get("matrix", {}).items()}
        contexts = {}
        for choice in itertools.product(*(enumerate(values) for values in axes.values())):
            # DVC names an item that is itself a mapping by its place in the list.
            labels = [f"{key}{i}" if isinstance(v, dict) else str(v) for key, (i, v) in zip(axes, choice, strict=True)]
            contexts["-".join(labels)] = {"item": {key: value for key, (_, value) in zip(axes, choice, strict=True)}}
    stages = tuple(
        _stage(folder, name, label, spec, {**params, **context}, context["item"]) for label, context in contexts.items()
    )
    return Family(name, tuple(_pattern(out, params) for out in _outs(spec)), stages)


def _named(reference: str, params: dict[str, Any]) -> dict[str, Any]:
    """The mapping that a `foreach` goes over. Raises UserError where its keys cannot name stages."""
    where, found = reference.strip("${}"), _referred(reference, params)
    if not isinstance(found, dict):
        raise UserError(f"{where} = {found!r}: must be a mapping, each key with its settings")
    for key in found:
        if not re.fullmatch(NAME, str(key)):
            raise UserError(f"{where}: {key!r}: names a job and a file; take small letters, digits, - and _")
    return found


def _referred(value: Any, params: dict[str, Any]) -> Any:
    """What `${section.key}` stands for; anything else stands for itself."""
    match = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return lookup(params, match[1]) if match else value


def _stage(
    folder: Path, family: str, label: str, spec: dict[str, Any], context: dict[str, Any], item: dict[str, Any]
) -> Stage:
    def filled(entries: Iterable[str]) -> tuple[str, ...]:
        return tuple(fill(entry, context) for entry in entries)

    name = f"{family}@{label}" if label else family
    return Stage(
        name=name if folder == Path() else f"{folder}/dvc.yaml:{name}",
        family=family,
        item=item,
        cmd=fill(spec["cmd"], context),
        deps=filled(spec.get("deps", [])),
        params=filled(_param_keys(spec)),
        outs=filled(_outs(spec)),
    )


def _param_keys(spec: dict[str, Any]) -> list[str]:
    """Keys of parameters; those of another file than params.yaml stand below its name. No two files share a key."""
    keys: list[str] = []
    for entry in spec.get("params", []):
        keys += [key for listed in entry.values() for key in listed] if isinstance(entry, dict) else [entry]
    return keys


def _outs(spec: dict[str, Any]) -> list[str]:
    """Paths of outs, metrics and plots; an entry with options is a one-key mapping."""
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in spec.get(kind, [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def _pattern(text: str, params: dict[str, Any]) -> str:
    """`results/${study}/anneal/${item.size}.csv` -> `results/laptop/anneal/{size}.csv`; `${key}` -> `{key}`."""
    wildcards = re.sub(r"\$\{(?:item\.([\w.]+)|(key))\}", lambda m: "{" + (m[1] or m[2]).replace(".", "_") + "}", text)
    return fill(wildcards, params)


def files_of(dep: str) -> list[Path]:
    """The files behind a dependency: itself, or every file below a folder but Python's byte code."""
    path = Path(dep)
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def read_params(root: Path = Path(".")) -> dict[str, Any]:
    """params.yaml as plain values, as DVC and Snakemake see them. Raises UserError where it is not valid YAML."""
    return _read_yaml(root, Path("params.yaml"))


def all_params(root: Path = Path(".")) -> dict[str, Any]:
    """params.yaml and the sections of studies/*.yaml: all that a dvc.yaml may refer to."""
    return read_params(root) | read_theory(root)


def read_theory(root: Path = Path(".")) -> dict[str, Any]:
    """What stands in studies/*.yaml: under `theory` the controlled studies by name, under `measured` the others."""
    found: dict[str, Any] = {}
    for path in sorted((root / STUDIES).glob("*.yaml")):
        if path.name != "dvc.yaml":
            for section, studies in _read_yaml(root, STUDIES / path.name).items():
                found[section] = found.get(section, {}) | studies
    return found


def study_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """What of all parameters stands in params.yaml."""
    return {section: value for section, value in params.items() if section not in THEORY_SECTIONS}


def _read_yaml(root: Path, path: Path) -> dict[str, Any]:
    try:
        return yaml.safe_load((root / path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run from the repository root, or `scalinglab use laptop`") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def own_sources() -> dict[str, str]:
    """SHA-256 of each module of ours that this process has imported: the code that it runs."""
    home = Path(__file__).parent
    named = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    # As text: torch brings two thousand modules, and building a Path for each takes longer than hashing ours.
    ours = sorted({Path(name) for name in named if name and name.startswith(f"{home}{os.sep}")})
    return {path.relative_to(home.parent.parent).as_posix(): files.sha256(path) for path in ours}
