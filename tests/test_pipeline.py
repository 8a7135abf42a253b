"""dvc.yaml as plain data: our resolution of its templates is DVC's own, and its paths are those of the stages."""

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage import PipelineStage

from scalinglab import config, pipeline
from scalinglab.errors import UserError
from scalinglab.paths import Paths
from scalinglab.recipes import RECIPES
from tests.conftest import ROOT

# What every stage imports, and what shows or records a run without deciding its result.
BORDER = {
    f"scalinglab.{name}"
    for name in (
        "config",
        "schema",
        "consistency",
        "errors",
        "paths",
        "pipeline",
        "messages",
        "provenance",
        "reporter",
        "__init__",
    )
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with dvc.yaml and a params.yaml that has every optional branch."""
    folder = tmp_path_factory.mktemp("declared")
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copytree(ROOT / "studies", folder / "studies")
    params = yaml.safe_load((ROOT / "presets/laptop.yaml").read_text())
    params["ladder"]["seeds"] = [0, 1]
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


@pytest.fixture(scope="module")
def families(root: Path) -> dict[str, pipeline.Family]:
    return pipeline.load(root)


def test_agrees_with_dvc_on_every_stage(
    root: Path, families: dict[str, pipeline.Family], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)  # DVC addresses stages from here
    with Repo.init(str(root), no_scm=True) as repo:
        theirs = {stage.addressing: stage for stage in repo.index.stages if isinstance(stage, PipelineStage)}
    ours = {stage.name: stage for stage in pipeline.stages_of(families)}
    assert set(ours) == set(theirs)
    for name, stage in ours.items():
        assert stage.cmd == theirs[name].cmd
        assert sorted(stage.outs) == sorted(out.def_path for out in theirs[name].outs)
        files = [dep.def_path for dep in theirs[name].deps if not isinstance(dep, ParamsDependency)]
        assert sorted(stage.deps) == sorted(files)
        params = [key for dep in theirs[name].deps if isinstance(dep, ParamsDependency) for key in dep.params]
        assert sorted(stage.params) == sorted(params)


def test_paths_module_agrees_with_dvc_yaml(families: dict[str, pipeline.Family]) -> None:
    study = config.load(ROOT / "presets/laptop.yaml")
    paths = Paths(study.study)
    outs = {out for stage in pipeline.stages_of(families) for out in stage.outs}
    size, budget = study.grid.sizes[0], study.grid.budgets[0]
    for path in (paths.raw, paths.documents, paths.tokenizer, paths.manifest, paths.cells, paths.trunk(size, budget)):
        assert path.as_posix() in outs
    assert paths.cell("anneal", size, budget, ".safetensors").as_posix() in outs


def imported(path: Path) -> set[Path]:
    """Files of ours that a file imports, directly or through others; the border modules are everyone's."""
    found: set[Path] = set()
    queue = [path]
    while queue:
        for node in ast.walk(ast.parse(queue.pop().read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                if not name.startswith("scalinglab") or name in BORDER:
                    continue
                base = ROOT / "src" / name.replace(".", "/")
                for candidate in (base.with_suffix(".py"), base / "__init__.py"):
                    if candidate.exists() and candidate not in found and name != "scalinglab":
                        found.add(candidate)
                        queue.append(candidate)
    return found


def sources_of(stage: pipeline.Stage) -> list[Path]:
    """The module that a stage runs, and the measurement that it looks up by name."""
    home = ROOT / "src/scalinglab"
    room = {"measure": "measurements", "part": "parts"}.get(stage.command)
    looked_up = [home / f"{room}/{stage.theory}.py"] if room else []
    return [home / f"stages/{stage.command}.py", *looked_up]


def test_every_import_of_a_stage_is_among_its_dependencies(families: dict[str, pipeline.Family]) -> None:
    for family in families.values():
        stage = family.stages[0]
        code = {p.resolve() for dep in stage.deps if dep.startswith("src/") for p in pipeline.files_of(str(ROOT / dep))}
        needed = {path for source in sources_of(stage) for path in (source, *imported(source))}
        needed -= {ROOT / f"src/scalinglab/{room}/__init__.py" for room in ("stages", "measurements", "parts")}
        missing = {p.relative_to(ROOT).as_posix() for p in needed if p.resolve() not in code}
        assert not missing, f"{family.name}: dvc.yaml lacks {sorted(missing)}"


def test_every_section_a_stage_reads_is_among_its_params(families: dict[str, pipeline.Family]) -> None:
    """Sections of the study that the stage's module names must be declared; execution decides nothing."""
    sections = set(config.Study.__dataclass_fields__) - {"execution"}
    for family in families.values():
        read = {
            node.attr
            for source in sources_of(family.stages[0])
            for node in ast.walk(ast.parse(source.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "study"
        }
        declared = {key.split(".")[0] for key in family.stages[0].params}
        # The grid names a stage's files, which are its dependencies already.
        assert read & sections - {"grid"} <= declared | {"study"}, family.name


def test_no_stage_depends_on_execution(families: dict[str, pipeline.Family]) -> None:
    assert not any(key.startswith("execution") for stage in pipeline.stages_of(families) for key in stage.params)


def test_the_ladder_trains_every_recipe(families: dict[str, pipeline.Family]) -> None:
    assert list(dict.fromkeys(stage.item["recipe"] for stage in families["recipe"].stages)) == list(RECIPES)


def test_unknown_reference_is_named() -> None:
    with pytest.raises(UserError, match=r"grid\.sizess"):
        pipeline.fill("${grid.sizess}", {"grid": {"sizes": []}})


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ({"masked, half": {}}, "theory.mine.variants: 'masked, half': names a job and a file; take small letters"),
        ({"a/b": {}}, "theory.mine.variants: 'a/b': names a job"),
        (["rope"], r"theory.mine.variants = \['rope'\]: must be a mapping"),
    ],
)
def test_names_of_jobs_are_checked_before_they_are_words_of_a_command(variants: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"theory": {"mine": {"variants": variants}}}))
    family = "{foreach: '${theory.mine.variants}', do: {cmd: 'python -m scalinglab variant --variant ${key}'}}"
    (tmp_path / "dvc.yaml").write_text(f"stages: {{variant: {family}}}")
    with pytest.raises(UserError, match=said):
        pipeline.load(tmp_path)
