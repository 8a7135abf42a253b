"""Memory of a training step: what buys it back changes no gradient."""

import pandas as pd
import pytest
import torch

from scalinglab.allocations import peak_bytes
from scalinglab.config import Study
from scalinglab.measurements.activation_memory import (
    Settings,
    _model,
    _tokens,
    accumulate,
    figures,
    findings,
    gradients,
    kept_ratio,
    measure,
    predicted,
)

SETTINGS = Settings("d16", (1, 4, 9), 16, batch_tokens=512, micro_batches=(1, 4), accumulate_layers=2, repeats=1)


def test_peak_bytes_are_those_held_at_once() -> None:
    def work() -> None:
        first = torch.ones(1000)
        second = first * 2
        del first
        _ = second + 1

    assert 2 * 4000 <= peak_bytes(work) < 3 * 4000


@pytest.mark.parametrize("group", [1, 2, 3])
def test_computing_layers_again_changes_no_bit(smoke: Study, group: int) -> None:
    model, tokens = _model(SETTINGS, smoke, layers=5), _tokens(SETTINGS)
    for again, plain in zip(gradients(model, tokens, group), gradients(model, tokens, 0), strict=True):
        assert torch.equal(again, plain)


@pytest.mark.parametrize("parts", [2, 8])
def test_parts_of_a_batch_add_up_to_it(smoke: Study, parts: int) -> None:
    model, tokens = _model(SETTINGS, smoke, layers=2).double(), _tokens(SETTINGS)
    for summed, plain in zip(accumulate(model, tokens, parts), gradients(model, tokens, 0), strict=True):
        torch.testing.assert_close(summed, plain)


def test_the_gradients_are_those_of_training(smoke: Study) -> None:
    model, tokens = _model(SETTINGS, smoke, layers=2).double(), _tokens(SETTINGS)
    targets = tokens[:, 1:].contiguous()
    loss = model.loss(tokens[:, :-1], targets, torch.arange(targets.numel()))
    torch.testing.assert_close(gradients(model, tokens, 2), list(torch.autograd.grad(loss, list(model.parameters()))))


def test_from_depths_to_the_text(smoke: Study) -> None:
    tables = {name: pd.DataFrame(rows) for name, rows in measure(SETTINGS, smoke, "").items()}
    deepest = tables["checkpointing"].query("layers == 9").set_index("policy")["peak bytes"]
    assert deepest["groups of sqrt(L)"] < 0.6 * deepest["keep everything"]
    assert tables["checkpointing"]["largest difference"].max() == 0
    for policy in ("each layer", "groups of sqrt(L)"):
        assert predicted(tables["checkpointing"], policy, 9) == pytest.approx(deepest[policy], rel=0.15)
    assert tables["accumulation"]["peak bytes"].is_monotonic_decreasing
    assert "| each layer | L | " in findings(tables)
    assert set(figures(tables)) == {"memory"}


def test_what_a_layer_keeps_is_counted_in_its_inputs() -> None:
    """100 bytes whatever the depth, and 60 a layer whose input has 20."""
    layers = [1, 4, 9]
    plain = pd.DataFrame({"layers": layers, "peak bytes": [100 + 60 * n for n in layers]})
    table = plain.assign(policy="keep everything", **{"input bytes": 20})
    table = pd.concat([table.assign(policy="each layer", **{"peak bytes": 7}), table])
    assert kept_ratio(table) == 3
    assert predicted(table, "keep everything", 9) == 100 + 60 * 9
    assert predicted(table, "each layer", 9) == 100 + 20 * (9 + 3)
    assert predicted(table, "groups of sqrt(L)", 9) == 100 + 20 * (3 + 3 * 3)
