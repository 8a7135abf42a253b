"""What is measured of attention, where the answer is known."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from scalinglab.config import Study
from scalinglab.measurements import attention_cost, attention_mathematics
from scalinglab.model import attention_kernels


@pytest.fixture(scope="module")
def attention() -> pd.DataFrame:
    from scalinglab import config
    from tests.conftest import ROOT

    settings = attention_mathematics.Settings((16, 64, 256), keys=64, queries=512)
    study = config.load(ROOT / "presets/smoke.yaml")
    return pd.DataFrame(attention_mathematics.measure(settings, study, "")["attention"])


def of(table: pd.DataFrame, which: str, kind: str) -> pd.DataFrame:
    return table[(table["of"] == which) & (table["kind"] == kind)].set_index("d_k")


def test_variance_is_that_of_theory(attention: pd.DataFrame) -> None:
    """d_k without the factor, 1 with it; a ninth of that in our layers, whose weights have variance 1 / (3 fan in)."""
    for which, share in (("random vectors", 1.0), ("untrained layer", 1 / 9)):
        bare, scaled = of(attention, which, "unscaled"), of(attention, which, "scaled")
        assert bare["variance"].to_numpy() == pytest.approx(share * bare.index.to_numpy(), rel=0.15)
        assert scaled["variance"].to_numpy() == pytest.approx(share * np.ones(3), rel=0.15)


def test_entropy_is_that_of_theory_where_scores_are_scaled(attention: pd.DataFrame) -> None:
    """ln T - 1/2 (random energy model), whatever the width; without the factor it falls with the width."""
    assert of(attention, "random vectors", "scaled")["entropy"].to_numpy() == pytest.approx(
        math.log(64) - 0.5, abs=0.05
    )
    bare = of(attention, "random vectors", "unscaled")["entropy"]
    assert bare.is_monotonic_decreasing
    assert bare[256] < 0.5


def test_the_jacobian_is_autograds() -> None:
    weights = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
    jacobians = torch.diag_embed(weights) - weights[:, :, None] * weights[:, None, :]
    expected = jacobians.square().sum(dim=(1, 2)).mean().sqrt().item()
    assert attention_mathematics._of_weights(weights)["jacobian"] == pytest.approx(expected, rel=1e-5)


def test_the_text_of_attention_is_made_of_its_table(attention: pd.DataFrame) -> None:
    said = attention_mathematics.findings({"attention": attention})
    largest = of(attention, "random vectors", "unscaled")["largest"][256]
    assert f"The largest weight at 256 is\n{largest:.2f} on average" in said
    assert set(attention_mathematics.figures({"attention": attention})) == {"attention"}


def test_kept_bytes_are_counted_once() -> None:
    """exp keeps its result, and a view of it kept again is the same memory."""

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        y = q.exp()
        return y * y.transpose(-1, -2) if y.shape[-1] == y.shape[-2] else y

    assert attention_cost.kept_bytes(attend, 8, 8, torch.device("cpu")) == 2 * 8 * 8 * 4
    full = attention_cost.kept_bytes(attention_cost.kinds(8)["full, formula"], 64, 8, torch.device("cpu"))
    assert full >= 2 * 64 * 64 * 4, "the formula writes its weights down"


def test_powers_of_time_and_memory_are_found(smoke: Study) -> None:
    """On times that are exact powers."""
    rows = []
    for kind, (_, of_length, of_width) in attention_cost.THEORY.items():
        for along, n, d in [("length", n, 32) for n in (64, 128, 256, 512)] + [("width", 64, d) for d in (8, 16, 32)]:
            seconds = n**of_length * d**of_width
            rows.append({"along": along, "kind": kind, "n": n, "d": d, "seconds": seconds, "kept bytes": n * d})
    found = pd.DataFrame(attention_cost.exponents(pd.DataFrame(rows), fit_from=128))
    assert found["time"].to_numpy() == pytest.approx(found["time in theory"].to_numpy())
    assert found["memory"].to_numpy() == pytest.approx(np.ones(10))
    assert found[found["along"] == "length"]["from"].tolist() == [128] * 5


def test_every_kind_is_measured_and_drawn(smoke: Study) -> None:
    settings = attention_cost.Settings(
        (16, 32, 64), (8, 16, 32), head_dim=8, length=32, window=8, fit_from=16, repeats=1
    )
    tables = {name: pd.DataFrame(rows) for name, rows in attention_cost.measure(settings, smoke, "").items()}
    assert len(tables["cost"]) == 2 * 3 * 5
    assert (tables["cost"]["seconds"] > 0).all()
    said = attention_cost.findings(tables)
    assert all(f"| {kind} | {order} |" in said for kind, (order, _, _) in attention_cost.THEORY.items())
    assert set(attention_cost.figures(tables)) == {"cost"}


def test_the_kinds_that_are_timed_are_those_of_the_model() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 16, 8, generator=generator) for _ in range(3))
    kinds = attention_cost.kinds(window=16)
    torch.testing.assert_close(kinds["full, fused"](q, k, v), kinds["full, formula"](q, k, v))
    torch.testing.assert_close(kinds["window"](q, k, v), kinds["full, formula"](q, k, v))
    place = torch.arange(16)
    distance = place[:, None] - place
    seen = (distance >= 0) & ((distance < 4) | (distance % 4 == 0))  # four is the square root of the length
    scores = (q @ k.transpose(-1, -2) * 8**-0.5).masked_fill(~seen, -torch.inf)
    torch.testing.assert_close(kinds["strided"](q, k, v), scores.softmax(-1) @ v)
    features = [torch.nn.functional.elu(x) + 1 for x in (q, k)]
    torch.testing.assert_close(kinds["linear"](q, k, v), attention_kernels.linear_recurrent(*features, v))
