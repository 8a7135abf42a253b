"""The question about unit scaling from its YAML file to its text, on random tokens."""

from dataclasses import replace

import pandas as pd
import pytest
import yaml

from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.paths import theory_folder
from scalinglab.scaling_rules import transfer
from scalinglab.stages import measure, part
from scalinglab.theory.measurement import measurement_of
from tests.conftest import ROOT

TINY = {
    "sizes": ["d8", "d16"],
    "tuned_at": "d8",
    "tokens": "8k",
    "rates": {family: [1.0 if family == "u-mup" else 0.05] for family in transfer.FAMILIES},
    "seeds": [1, 2, 3],
    "check_sizes": ["d8", "d16"],
    "check_steps": 2,
    "looked_at": "d8",
    "start": 2,
}


def test_from_rates_to_the_text(tiny_study: Study) -> None:
    asked = yaml.safe_load((ROOT / "studies/unit_scaling.yaml").read_text())["measured"]["unit_scaling"]
    asked["settings"] |= TINY | {"embedding_rate": 0.4}
    tiny_study = replace(tiny_study, training=replace(tiny_study.training, embedding_rate=0.0))
    folder = theory_folder("unit_scaling")
    question = measurement_of({"measured": {"unit_scaling": asked}}, "unit_scaling")
    for family in part.parts_of(question):
        part.write(tiny_study, question, family, folder, f"job-{family}")
    text = measure.write(tiny_study, question, folder, "job")
    rules = pd.read_csv(folder / "rules.csv")
    law = rules[rules["rule"] == transfer.LAW]
    assert dict(zip(law["size"], law["rate"], strict=True)) == {"d8": 0.05, "d16": 0.05}, (
        "a sweep of one rate has no other"
    )
    basin = pd.read_csv(folder / "basin.csv").set_index(["parametrisation", "size"])["loss"]
    for family in ("standard", "mup"):
        assert (basin[family] != basin[f"{family}-fast-embedding"]).all(), "by its own setting, not by the study's"
    assert len(rules) == len(transfer.RULES) * 2 * 4
    verdicts = pd.read_csv(folder / "verdicts.csv")
    assert all(
        f"| {row.difference:+.3f} | {row.low:+.3f} to {row.high:+.3f} |" in text for row in verdicts.itertuples()
    )
    fp8 = pd.read_csv(folder / "fp8.csv")
    assert fp8["parametrisation"].tolist() == ["standard", "standard", "mup", "mup", "u-mup"], "all, off the base width"
    assert "muP is the standard form at this width" not in (folder / "findings.md").read_text()
    assert fp8.loc[0, "gradients flushed"] > fp8.loc[1, "gradients flushed"]
    assert all(
        (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        for name in ("forest", "coordinates", "basin", "scales")
    )
    with pytest.raises(UserError, match=r"unit_scaling\.yaml: part 'mu': no such part; known: standard, mup, u-mup"):
        part.write(tiny_study, question, "mu", folder, "job")
    del asked["settings"]["rates"]["mup"]
    with pytest.raises(UserError, match=r"rates: of standard, u-mup, .*; must be of standard, mup, u-mup"):
        part.parts_of(measurement_of({"measured": {"unit_scaling": asked}}, "unit_scaling"))
