"""Questions that are measured without variants, each from its YAML file to its text, on real text and tiny models."""

import shutil
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from scalinglab.corpus.documents import read_documents, write_documents
from scalinglab.errors import UserError
from scalinglab.files import write_json
from scalinglab.measurements.decoding import repeated_share
from scalinglab.measurements.tokenizers import apart
from scalinglab.paths import Paths, theory_folder
from scalinglab.stages import measure
from scalinglab.stages.checkpoints import SCRATCH
from tests.conftest import ROOT


def test_maps_of_a_trained_models_heads(params: dict[str, Any]) -> None:
    """From the YAML file to the text, whose numbers are those of the tables."""
    params["measured"] = yaml.safe_load((ROOT / "studies/attention_maps.yaml").read_text())["measured"]
    settings = {"size": "d8", "tokens": "4k", "skill": "recall", "shown": 8}
    params["measured"]["attention_maps"]["settings"] = settings
    measure.run(params, "attention_maps")
    folder = theory_folder("attention_maps")
    heads, maps = pd.read_csv(folder / "heads.csv"), pd.read_csv(folder / "maps.csv")
    assert heads["of"].tolist() == ["repeated random tokens"] * 2 + ["recall"] * 2
    assert heads[["previous token", "duplicate", "induction"]].to_numpy().min() > 0
    sums = maps.groupby(["of", "layer", "head", "query"])["weight"].sum()
    assert len(sums) == 3 * 2 * 8
    assert sums.to_numpy() == pytest.approx(1, abs=1e-4)
    for row in (1, 3):
        assert f"| 1 | 0 | {heads.loc[row, 'previous token']:.3f} |" in (folder / "findings.md").read_text()
    assert (folder / "maps.png").read_bytes().startswith(b"\x89PNG")
    for name, said in (("memory", "not in mixture.skills; take of recall"), ("recal", "take of recall")):
        settings["skill"] = name
        with pytest.raises(UserError, match=said):
            measure.run(params, "attention_maps")


def test_ways_of_writing(params: dict[str, Any]) -> None:
    params["measured"] = yaml.safe_load((ROOT / "studies/decoding.yaml").read_text())["measured"]
    tiny = {"size": "d8", "tokens": "4k", "prompts": 4, "lengths": [4, 8, 16], "rows": 2}
    shared = {"shared_size": "d64", "shared_by": [1, 2], "shared_length": 16}
    params["measured"]["decoding"]["settings"] |= tiny | shared
    measure.run(params, "decoding")
    folder = theory_folder("decoding")
    table = pd.read_csv(folder / "strategies.csv").set_index("strategy")
    assert list(table.index) == ["the text itself", *params["measured"]["decoding"]["settings"]["strategies"]]
    assert table.loc["greedy", "nats"] < table.loc["temperature 1.3", "nats"]
    assert f"| greedy | {table.loc['greedy', 'nats']:.2f} |" in (folder / "findings.md").read_text()
    memories = pd.read_csv(folder / "memories.csv")
    assert memories["bytes a token"].tolist() == memories["in theory"].tolist()
    assert memories["bytes a token"][0] == 2 * memories["bytes a token"][1]
    penalties = pd.read_csv(folder / "penalties.csv").set_index("length penalty")["tokens"]
    assert penalties.is_monotonic_increasing
    params["measured"]["decoding"]["settings"]["strategies"] = {"hot": {"temperature": -1}}
    with pytest.raises(UserError, match="temperature and top_k must be 0 or more"):
        measure.run(params, "decoding")


def test_models_of_different_tokenizers_compare_in_bits_a_byte(params: dict[str, Any]) -> None:
    """A model that knows nothing needs ln V nats a token, whatever stands for one."""
    params["measured"] = yaml.safe_load((ROOT / "studies/tokenizers.yaml").read_text())["measured"]
    trained = {"bytes": [256], "bpe": [512], "unigram": [512], "wordpiece": [512]}
    tiny = {"vocabularies": [512], "trained": trained, "reference": 512, "size": "d8", "tokens": "4k", "merges": 20}
    params["measured"]["tokenizers"]["settings"] |= tiny
    write_json(Paths("smoke").rate_law, {"prefactor": 1e-9, "exponent": 0.0})
    measure.run(params, "tokenizers")
    folder = theory_folder("tokenizers")
    table = pd.read_csv(folder / "models.csv").groupby("kind").first()
    size = pd.read_csv(folder / "compression.csv").set_index("kind")["bytes a token"]
    assert table.loc["bytes", "bits a byte"] == pytest.approx(8, abs=0.01)
    assert table.loc["bpe", "bits a byte"] == pytest.approx(9 / size["bpe"], rel=0.05)
    assert table.loc["bytes", "tokens"] > table.loc["bpe", "tokens"], "its head is smaller"
    assert "Of its first 20 merges 20 are those of the library" in (folder / "findings.md").read_text()
    steps = pd.read_csv(folder / "steps.csv")
    assert steps["pieces"].str.replace(" ", "").nunique() == 1, "the same line"
    assert steps["pieces"].str.count(" ").is_monotonic_decreasing
    params["measured"]["tokenizers"]["settings"]["trained"] = {"bpe": [512], "morse": [512]}
    with pytest.raises(UserError, match="morse: no such kind; known: bytes, bpe"):
        measure.run(params, "tokenizers")


def test_gradients_in_16_bits(params: dict[str, Any]) -> None:
    params["measured"] = yaml.safe_load((ROOT / "studies/number_formats.yaml").read_text())["measured"]
    tiny = {"size": "d8", "tokens": "4k", "batches": 1, "log2_scales": [-30, 0, 10], "repeats": 1}
    params["measured"]["number_formats"]["settings"] = tiny
    measure.run(params, "number_formats")
    folder = theory_folder("number_formats")
    table = pd.read_csv(folder / "scales.csv").set_index(["format", "log2 scale", "weights"])
    assert table.loc[("fp16", -30, "all weights"), "flushed"] > 0.9
    assert table.loc[("bf16", -30, "all weights"), "flushed"] < 0.01
    assert table.loc[("fp16", 10, "all weights"), "error"] < table.loc[("bf16", 10, "all weights"), "error"]
    assert pd.read_csv(folder / "formats.csv")["emulated"].tolist() == [0, 1, 1]
    assert "fp16 is emulated" in (folder / "findings.md").read_text()


def test_labels_of_vocabularies_leave_each_other_room() -> None:
    assert apart([512, 256, 7446, 8192, 4096]) == [256, 512, 4096, 8192]


def test_repeated_runs_of_tokens() -> None:
    again = torch.tensor([[1, 2, 3, 4, 1, 2, 3, 4, 1, 2]])
    assert repeated_share(again) == pytest.approx(3 / 7)
    assert repeated_share(torch.arange(10)[None]) == 0


def test_settings_of_a_measurement_are_checked(params: dict[str, Any]) -> None:
    params["measured"] = {
        "attention_maps": {"question": "What?", "settings": {"siz": "d8", "tokens": "4k"}, "quick": {}}
    }
    with pytest.raises(UserError, match=r"attention_maps\.yaml: settings: siz: unknown key; did you mean 'size'"):
        measure.run(params, "attention_maps")
    with pytest.raises(UserError, match=r"no measurement 'attention_map'; known: attention_maps"):
        measure.run(params, "attention_map")


def test_neighbours_are_chosen_and_judged_on_different_documents(params: dict[str, Any]) -> None:
    """From the YAML file to the text; a store whose size is asked for twice is refused."""
    params["measured"] = yaml.safe_load((ROOT / "studies/retrieval.yaml").read_text())["measured"]
    settings = params["measured"]["retrieval"]["settings"]
    settings |= {"size": "d8", "tokens": "4k", "pairs": [64, 512], "neighbours": [1, 4], "weights": [0, 0.2]}
    settings["temperatures"], settings["document_rows"] = [0.1], 2
    measure.run(params, "retrieval")
    folder = theory_folder("retrieval")
    sizes, contexts = pd.read_csv(folder / "sizes.csv"), pd.read_csv(folder / "contexts.csv")
    assert sizes["pairs"].tolist() == [64, 512] * 3
    assert (sizes["nats"] - sizes["model alone"]).to_numpy() == pytest.approx(sizes["difference"].to_numpy(), abs=1e-4)
    assert (sizes["low"] <= sizes["difference"]).all()
    assert contexts.groupby("store")["share"].sum().to_numpy() == pytest.approx(1)
    assert "| unseen text | stored | " in (folder / "findings.md").read_text()
    settings["pairs"] = [64, 64]
    with pytest.raises(UserError, match="list growing numbers"):
        measure.run(params, "retrieval")
    settings["pairs"] = [64, 10**9]
    with pytest.raises(UserError, match=r"pairs: 1,000,000,000: there are .* of unseen text; ask for fewer"):
        measure.run(params, "retrieval")


@pytest.fixture
def domains(params: dict[str, Any]) -> dict[str, Any]:
    """Every third document belongs to another library; both have held-out ones."""
    path = Paths("smoke").documents
    moved = [
        replace(one, path=f"{'rest' if i % 3 else 'own'}/{one.path}", split="train" if i % 4 else "validation")
        for i, one in enumerate(read_documents(path))
    ]
    write_documents(path, moved)
    params["measured"] = yaml.safe_load((ROOT / "studies/adaptation.yaml").read_text())["measured"]
    settings = params["measured"]["adaptation"]["settings"]
    settings |= {"size": "d8", "tokens": "8k", "adaptation_tokens": "2k", "domain": "own", "ranks": [2]}
    settings |= {"rates": [0.1, 1], "seeds": [1, 2, 3]}
    return params


def test_methods_adapt_the_same_pretrained_models(domains: dict[str, Any]) -> None:
    """From the YAML file to the text; what no method may change is equal between them."""
    measure.run(domains, "adaptation")
    folder = theory_folder("adaptation")
    runs, verdicts = pd.read_csv(folder / "runs.csv"), pd.read_csv(folder / "verdicts.csv")
    assert runs["method"].unique().tolist() == ["full", "head", "rank-2"]
    assert runs["role"].tolist() == (["sweep"] * 2 + ["run"] * 3) * 3
    before = runs.groupby("seed")[["loss before", "rest before"]].nunique()
    assert (before == 1).all().all()
    assert runs["loss before"].nunique() == 4, "each seed has its own"
    compared = runs[runs["role"] == "run"]
    assert (compared["loss"] < compared["loss before"]).all()
    learning = runs.groupby("method")["parameters"].first()
    assert learning["full"] == runs["of"].iloc[0] > learning["head"] > learning["rank-2"]
    losses = {name: list(group["loss"]) for name, group in compared.groupby("method")}
    row = verdicts[(verdicts["of"] == "loss") & (verdicts["variant"] == "rank-2")].iloc[0]
    expected = sum(a - b for a, b in zip(losses["rank-2"], losses["full"], strict=True)) / 3
    assert row["difference"] == pytest.approx(expected, abs=1e-4)
    assert f"| {row['difference']:+.3f} (" in (folder / "findings.md").read_text()


def test_a_domain_that_is_not_there_is_named(domains: dict[str, Any]) -> None:
    domains["measured"]["adaptation"]["settings"]["domain"] = "numpy"
    with pytest.raises(UserError, match=r"domain = 'numpy'.*folders with held-out documents: own, rest"):
        measure.run(domains, "adaptation")


def test_students_share_all_but_what_teaches_them(params: dict[str, Any]) -> None:
    params["measured"] = yaml.safe_load((ROOT / "studies/distillation.yaml").read_text())["measured"]
    settings = params["measured"]["distillation"]["settings"]
    settings |= {"teacher": "d16", "teacher_tokens": "8k", "student": "d8", "tokens": "2k", "rates": [1]}
    settings |= {"seeds": [1, 2, 3], "students": {"t2": {"alpha": 0.5, "temperature": 2}}}
    tables = []
    for _ in range(2):
        measure.run(params, "distillation")
        tables.append((theory_folder("distillation") / "runs.csv").read_bytes())
        shutil.rmtree(SCRATCH)
    assert tables[0] == tables[1]
    runs = pd.read_csv(theory_folder("distillation") / "runs.csv").set_index(["student", "seed"])
    teacher = pd.read_csv(theory_folder("distillation") / "teacher.csv").iloc[0]
    assert runs.loc[("hard", 1), "tokens"] == runs.loc[("t2", 1), "tokens"]
    assert runs.loc[("hard-longer", 1), "FLOPs"] == pytest.approx(runs.loc[("t2", 1), "FLOPs"], rel=1e-3)
    extra = runs.loc[("t2", 1), "FLOPs"] - runs.loc[("hard", 1), "FLOPs"]
    assert extra == pytest.approx(teacher["FLOPs"] / 8000 / 3 * 2000, rel=1e-3), "a forward pass is a third of a step"
    assert runs["loss"].nunique() == 9
    assert "| t2 | 0.5 at 2 | 2,000 |" in (theory_folder("distillation") / "findings.md").read_text()
    settings["students"]["hard"] = {"alpha": 1, "temperature": 1}
    with pytest.raises(UserError, match="students: hard: is another run's"):
        measure.run(params, "distillation")
