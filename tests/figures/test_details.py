"""The details of a controlled study: a panel for each thing that was measured, and nothing hides behind a bad rate."""

import math

import pandas as pd
import pytest
import yaml

from scalinglab.figures import details
from scalinglab.theory.protocol import Protocol, protocol_of
from tests.conftest import ROOT


@pytest.fixture
def protocol() -> Protocol:
    values = yaml.safe_load((ROOT / "presets/smoke.yaml").read_text())
    return protocol_of(values | yaml.safe_load((ROOT / "studies/positions.yaml").read_text()), "positions")


def runs(losses: list[float], **measures: list[float]) -> pd.DataFrame:
    """Three rates of one seed, then three seeds at one rate; measures are of these."""
    table = pd.DataFrame({"role": ["sweep"] * 3 + ["run"] * 3, "seed": [0, 0, 0, 1, 2, 3], "factor": [0.5, 1, 2] * 2})
    table["loss"], table["rate"] = losses, table["factor"]
    for name, values in measures.items():
        table[name.replace("_", " ")] = [math.nan] * 3 + values
    return table


def test_a_panel_for_the_sweep_for_lengths_and_for_each_measure(protocol: Protocol) -> None:
    lengths = {"loss_at_1x": [3.0, 3.1, 3.2], "loss_at_2x": [3.0, 3.1, 3.2]}
    table = runs([3.1] * 6, **lengths, recall_accuracy=[0.1, 0.2, 0.3], steps_skipped=[0.0, 1.0, 2.0])
    figure = details.draw(protocol, {"rope": table, "none": table})
    labels = [axis.get_xlabel() for axis in figure.axes if axis.axison]
    assert labels[2:] == ["recall accuracy", "steps skipped"]
    means = [line.get_xdata() for line in figure.axes[2].lines if line.get_marker() != "."]
    assert means == [pytest.approx([0.2]), pytest.approx([0.2])]
    assert list(figure.axes[1].lines[2].get_ydata()) == pytest.approx([3.1, 3.1])


def test_a_ratio_is_one_of_means(protocol: Protocol) -> None:
    table = runs([3.1] * 6, gradient_noise=[1.0, 2.0, 6.0], gradient_squared=[1.0, 1.0, 1.0])
    figure = details.draw(protocol, {"rope": table})
    (axis,) = (axis for axis in figure.axes if axis.get_xlabel() == "noise scale (tokens)")
    assert [list(line.get_xdata()) for line in axis.lines] == [[pytest.approx(3.0)]]


def test_a_rate_at_which_a_variant_fails_hides_no_other(protocol: Protocol) -> None:
    figure = details.draw(
        protocol, {"rope": runs([3.0, 3.1, 140.0, 3, 3, 3]), "none": runs([3.2, math.nan, 3.3, 3, 3, 3])}
    )
    low, high = figure.axes[0].get_ylim()
    assert low < 3.0
    assert 3.3 < high < 5
    assert [list(line.get_xdata()) for line in figure.axes[0].lines if line.get_marker() == "x"] == [[2.0], [1.0]]


@pytest.mark.parametrize("others", [[3.2, 3.1, 3.3, 3, 3, 3], [math.nan] * 6])
def test_a_variant_that_always_failed_is_drawn_too(protocol: Protocol, others: list[float]) -> None:
    figure = details.draw(protocol, {"rope": runs([math.nan] * 6), "none": runs(others)})
    crosses = [len(line.get_xdata()) for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert crosses[0] == 3
