"""The questions of objectives and of architectures from their YAML files to their texts, part by part."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import yaml

from scalinglab.corpus.documents import read_documents, write_documents
from scalinglab.errors import UserError
from scalinglab.measurements import objectives  # noqa: F401 - a job's checkpoint is of the code that it has imported
from scalinglab.paths import Paths, theory_folder
from scalinglab.stages import measure, part
from scalinglab.stages.objective_runs import Runs
from tests.conftest import ROOT


def measured(params: dict[str, Any], name: str) -> None:
    """All parts, and what is made of them, as the DAG has it."""
    for variant in params["measured"][name]["settings"]["variants"]:
        part.run(params, name, variant)
    measure.run(params, name)


@pytest.fixture
def packages(params: dict[str, Any]) -> dict[str, Any]:
    """The documents in two folders, and tiny settings of the questions of objectives and architectures."""
    documents = list(read_documents(Paths("smoke").documents))
    write_documents(
        Paths("smoke").documents,
        (replace(one, path=f"{'ab'[i % 2]}/{one.path}") for i, one in enumerate(documents)),
    )
    params["measured"] = {}
    for name in ("objectives", "architectures"):
        params["measured"] |= yaml.safe_load((ROOT / f"studies/{name}.yaml").read_text())["measured"]
        params["measured"][name]["settings"] |= {
            "size": "d8", "tokens": "4k", "seeds": [1, 2, 3], "rates": [1], "rows": 4, "documents": 4,
            "fine_tuning": {"steps": 2, "rows": 4, "rates": [0.3, 1], "train": 8, "test": 8},
        }  # fmt: skip
    return params


def test_objectives_are_compared_by_their_suffixes(packages: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = packages["measured"]["objectives"]["settings"]
    settings |= {"rates": [1, 2], "seeds": [1, 2]}
    measured(packages, "objectives")
    folder = theory_folder("objectives")
    runs = pd.read_csv(folder / "runs.csv")
    assert runs["variant"].unique().tolist() == list(settings["variants"])
    assert runs["parameters"].nunique() == 1
    assert len(runs) == 8 * 4
    swept = runs[(runs["role"] == "sweep") & (runs["variant"] == "prefix")].set_index("factor")["suffix nats"]
    compared = runs[runs["role"] == "run"]
    assert (compared[compared["variant"] == "prefix"]["factor"] == swept.idxmin()).all()
    assert compared[["suffix nats", "loss", "accuracy", "answers wrong", "skill recall"]].notna().all().all()
    assert compared["next sentence"].notna().sum() == 2
    assert pd.read_csv(folder / "differences.csv")["verdict"].unique().tolist() == ["no verdict"], "of two seeds"
    said = (folder / "findings.md").read_text()
    causal = compared[compared["variant"] == "causal"]["suffix nats"].mean()
    assert f"| {causal:.3f} | reference |" in said
    bounds = pd.read_csv(folder / "bounds.csv").set_index("skill").sort_index()  # as the columns are
    assert (bounds["floor"] <= bounds["Bayes"]).all()
    assert "| *Bayes optimum* | | " + " | ".join(f"{share:.1%}" for share in bounds["Bayes"]) + " |" in said
    before = (folder / "runs.csv").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(Runs, "_train_and_score", None)
        settings["compare"] = "answers wrong"
        measured(packages, "objectives")  # of the same runs
        assert (folder / "runs.csv").read_bytes() == before
        settings["variants"]["prefix"] = {"objective": "causal"}
        with pytest.raises(TypeError, match="NoneType"):
            part.run(packages, "objectives", "prefix")  # not of another variant's that had its name
    settings["compare"] = "loss"
    with pytest.raises(
        UserError, match="trained on different objectives, whose losses are means over different targets"
    ):
        measured(packages, "objectives")


def test_architectures_are_compared_at_equal_tokens_and_flops(packages: dict[str, Any]) -> None:
    measured(packages, "architectures")
    folder = theory_folder("architectures")
    runs = pd.read_csv(folder / "runs.csv").groupby("variant").mean(numeric_only=True)
    step = runs["flops"] / runs["steps"]
    equal = [name for name in runs.index if name.endswith("equal-flops")]
    assert len(equal) == 3
    for name in equal:
        assert abs(runs.loc[name, "flops"] - runs.loc["decoder", "flops"]) < 0.75 * step[name]
        assert runs.loc[name, "tokens"] > runs.loc["decoder", "tokens"]
    assert runs.loc["encoder-decoder", "flops"] < 0.8 * runs.loc["decoder", "flops"]
    assert "| encoder-decoder-twice-as-deep |" in (folder / "findings.md").read_text()


def test_what_cannot_be_trained_or_told_apart_is_refused(packages: dict[str, Any]) -> None:
    settings = packages["measured"]["objectives"]["settings"]
    variants = settings["variants"]
    for one, message in (
        (
            {"objective": "causal", "architecture": "encoder"},
            "variant odd: objective causal with architecture encoder: an",
        ),
        ({"objective": "casual"}, "objective 'casual': unknown; known: causal, prefix, masked, span"),
        ({"objective": "causal", "layers": [1, 1]}, r"variant odd: layers = \[1, 1\]: of an encoder-decoder only"),
    ):
        settings["variants"] = variants | {"odd": one}
        with pytest.raises(UserError, match=message):
            measured(packages, "objectives")
    settings |= {"variants": variants, "reference": "causl"}
    with pytest.raises(UserError, match="reference = 'causl': no such variant; known: causal, prefix"):
        measured(packages, "objectives")
    settings["reference"] = "causal"
    documents = [replace(one, path=f"c/{one.path}") for one in read_documents(Paths("smoke").documents)]
    write_documents(Paths("smoke").documents, documents)
    with pytest.raises(UserError, match=r"classification: 1 folders of the corpus .*\(jinja/c\); it takes two"):
        measured(packages, "objectives")
