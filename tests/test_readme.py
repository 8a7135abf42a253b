"""The README's numbers are those of the published files."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from scalinglab.training.schedule import RateLaw
from tests.conftest import ROOT


def test_results_block_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/update_readme.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_pictures_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text()
    pictures = [part.split(")")[0] for part in text.split("](")[1:] if part.split(")")[0].endswith(".png")]
    assert len(pictures) >= 4
    assert all((ROOT / picture).exists() for picture in pictures)


def test_a_page_holds_what_the_results_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    pages = importlib.import_module("theory").pages
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    runs = tmp_path / "results/theory/norms/runs"
    runs.mkdir(parents=True)
    protocol = {**yaml.safe_load((ROOT / "studies/norms.yaml").read_text())["theory"]["norms"], "name": "norms"}
    protocol |= {
        "study": "mine",
        "tokens": "7M",
        "variants": {"rmsnorm": {}, "layernorm": {"model": {"norm": "layernorm"}}, "none": {}},
    }
    (runs.parent / "protocol.json").write_text(json.dumps(protocol))
    for name in protocol["variants"]:
        (runs / f"{name}.csv").write_text(
            "role,seed,factor,rate,loss,extra\nsweep,0,2,0.02,3.5,1\nrun,1,2,0.02,3.1,0.5\nrun,2,2,0.02,3.3,\n"
        )
    (runs.parent / "verdicts.csv").write_text(
        "variant,seeds,mean,difference,low,high,p_zero,p_margin,verdict\nlayernorm,2,3.2,0.04,0.03,0.05,0.01,0.9,worse\n"
        "none,2,inf,inf,,,0,1,worse\n"
    )
    (runs / "none.csv").write_text("role,seed,factor,rate,loss,extra\nrun,1,1,0.02,3.1,0.5\nrun,2,1,0.02,,\n")
    maps = tmp_path / "results/theory/attention_maps"
    maps.mkdir()
    (maps / "verdicts.csv").write_text("of,verdict\nloss,worse\n")  # of methods, not of a study's variants
    (maps / "findings.md").write_text("**In short.** Seen in `a`: 0.7. And\nmore.\n\n![Maps](maps.png)\n")
    asked = {"name": "attention_maps", "study": "mine", "question": "What?", "settings": {"size": "d8"}, "quick": {}}
    (maps / "measurement.json").write_text(json.dumps(asked))
    found = pages(tmp_path)
    assert found.keys() == {"docs/theory/README.md", "docs/theory/norms.md", "docs/theory/attention_maps.md"}
    assert "(docs/theory/attention_maps.md) Seen in a: 0.7." in importlib.import_module("theory").gallery(tmp_path)
    (maps / "findings.md").write_text("**Against `a`.** Better: b (-0.1). Worse: c (+0.2).\n\nMore.\n")
    gallery = importlib.import_module("theory").gallery(tmp_path).splitlines()
    assert any(line.endswith("maps.md) Against a. Better: b (-0.1). Worse: c (+0.2).") for line in gallery)
    measured = found["docs/theory/attention_maps.md"]
    assert "![Maps](../../results/theory/attention_maps/maps.png)" in measured
    assert "With the parameters of `mine`; size d8." in measured
    assert "[norms](norms.md)" in found["docs/theory/README.md"]
    assert "[positions]" not in found["docs/theory/README.md"]
    page = found["docs/theory/norms.md"]
    assert "On the data of `mine`: d64, 7M tokens a run" in page, "as it was run, not as it would be now"
    assert "`rmsnorm` (3.200)" in page
    assert (
        "| layernorm | `model.norm: layernorm` | +0.040 | +0.030 to +0.050 | worse | 2 (the edge of those tried) |"
        in page
    )
    assert "| none | as in the study | 1 of 2 diverged, the others have 3.100 |  | worse | 1 |" in page
    assert "| none | 0.5 |" in page
    assert "**Against `rmsnorm`.** Worse: none (diverged); layernorm (+0.040)." in page
    assert "* `model.norm`: rmsnorm | layernorm | batchnorm | none" in page


def test_the_variant_that_the_page_adds_trains(tmp_path: Path) -> None:
    """The diff of docs/theory/README.md is short, applies to the code as it stands, and makes a model."""
    (diff,) = re.findall(r"```diff\n(.*?)```", (ROOT / "docs/theory/README.md").read_text(), re.DOTALL)
    assert len(diff.splitlines()) <= 15
    for name in ("src", "studies"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    subprocess.run(["git", "apply", "--unidiff-zero", "-"], input=diff, text=True, cwd=tmp_path, check=True)
    code = (
        "import torch; from scalinglab import pipeline; from scalinglab.model.decoder import Decoder\n"
        "from scalinglab.model.shape import shape_of; from scalinglab.theory.protocol import protocol_of, study_of\n"
        "params = pipeline.all_params()\n"
        "options = study_of(params, protocol_of(params, 'feed_forward'), 'mish').model\n"
        "model = Decoder(shape_of('d64', options, 50, 16), options)\n"
        "print(model.hidden(torch.zeros(1, 16, dtype=torch.long)).shape)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "torch.Size([1, 16, 64])" in done.stdout


def test_published_studies_have_the_rates_of_the_published_law() -> None:
    """A run's rate is so many times that of the law: none is of an older one."""
    law = RateLaw(**json.loads((ROOT / "results/laptop/rates/law.json").read_text()))
    folders = [path.parent for path in sorted((ROOT / "results/theory").glob("*/protocol.json"))]
    assert folders
    for folder in folders:
        asked = json.loads((folder / "protocol.json").read_text())
        runs = pd.read_csv(folder / f"runs/{asked['reference']}.csv")
        assert (runs["rate"] / runs["factor"]).iloc[0] == pytest.approx(law.peak(asked["size"]), rel=1e-4), folder.name


def test_what_was_measured_on_a_gpu_is_told_on_its_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    sections = importlib.import_module("on_gpu").sections
    assert sections(tmp_path) == {}
    results = tmp_path / "benchmarks/results"
    results.mkdir(parents=True)
    study = {
        "device": "A card", "size": "d128", "tokens": "2M", "seeds": [1, 2, 3], "rates": [0.5, 1.0], "margin": 0.02,
        "reference": "rmsnorm", "losses": {"rmsnorm": [3.0, 3.1, 3.2], "none": [None, 3.5, 3.5]},
        "means": [
            {"variant": "rmsnorm", "factor": 1.0, "rate": 0.01, "loss": 3.1, "leak": 0.0},
            {"variant": "none", "factor": 0.5, "rate": 0.005, "loss": 3.5, "leak": 0.1},  # of those that did not
        ],
    }  # fmt: skip
    (results / "gpu_studies.json").write_text(json.dumps({"norms": study}))
    text = sections(tmp_path)["norms"]
    assert "A card" in text
    assert "Worse: none (diverged)." in text
    assert "| rmsnorm | 3.100 | reference | 1 (edge) | 0 |" in text
    assert "| none | 1 of 3 diverged, the others 3.500 | diverged, worse | 0.5 (edge) |  |" in text
    (results / "gpu_studies.json").write_text(json.dumps({"norms": {**study, "reference": "none"}}))
    assert "rmsnorm (the reference diverged)" in sections(tmp_path)["norms"]


def test_known_results_are_of_variants_and_say_what_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    known = importlib.import_module("known")
    for name, pairs in known.KNOWN.items():
        study = yaml.safe_load((ROOT / f"studies/{name}.yaml").read_text())["theory"][name]
        assert {one for pair in pairs for one in pair[::2]} <= study["variants"].keys()
    folder = tmp_path / "results/theory/mixers"
    (folder / "runs").mkdir(parents=True)
    (folder / "protocol.json").write_text(json.dumps({"variants": {"causal": {}, "linear": {}}, "margin": 0.02}))
    for worse, said in ((0.3, "worse: as known"), (-0.3, "better: **the reverse**")):
        for name, loss in (("causal", 3.0), ("linear", 3.0 + worse)):
            rows = "".join(f"run,{seed},{loss + seed / 1000}\n" for seed in (1, 2, 3))
            (folder / f"runs/{name}.csv").write_text(f"role,seed,loss\nsweep,0,9\n{rows}")
        assert said in known.section(tmp_path, "mixers")
        assert said in known.index(tmp_path)
    assert known.section(tmp_path, "schedules") == ""
