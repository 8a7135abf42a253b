"""Recall capacity, where the answer is known: rows, what a layer keeps, and a text made of its tables."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.measurements import recall_capacity
from scalinglab.measurements.recall_capacity import Mixer, Settings
from scalinglab.model.shape import shape_of


def settings(**changes: Any) -> Settings:
    mixers = {"softmax": Mixer("causal", 8), "state": Mixer("selective", 4)}
    tiny = Settings("d8", "4k", 256, (1, 2), 8, (0.01, 0.02), (1, 2, 3), 8, 0.02, 0.9, mixers)
    return dataclasses.replace(tiny, **changes)


def test_rows_take_turns_and_score_their_answers_alone() -> None:
    rows_RT, scored_RT = recall_capacity.rows_of(settings(), "train", 0, 6, (1, 2))
    assert rows_RT.shape == (6, 9)
    assert scored_RT.sum(axis=1).tolist() == [1, 2] * 3
    for row_T, scored_T in zip(rows_RT[1::2], scored_RT[1::2], strict=True):
        pairs = dict(row_T[1:5].reshape(2, 2).tolist())
        at = np.nonzero(scored_T)[0]
        assert [pairs[row_T[i]] for i in at] == row_T[at + 1].tolist()


def test_what_a_layer_keeps(smoke: Study) -> None:
    """Keys and values of the whole context, or a matrix a head, of as many numbers as a head has channels for each."""
    shape = shape_of("d32", dataclasses.replace(smoke.model, head_dim=8), 50, 64)
    assert recall_capacity.kept(shape, "causal") == 2 * 64 * 32
    assert recall_capacity.kept(shape, "selective") == 4 * 8 * 8
    assert recall_capacity.kept(shape, "linear") == 4 * (8 * 8 + 8)


def test_from_settings_to_the_text(smoke: Study) -> None:
    training = dataclasses.replace(smoke.training, batch_tokens=256, warmup_tokens=512)
    study = dataclasses.replace(smoke, training=training)
    tables = {name: pd.DataFrame(rows) for name, rows in recall_capacity.measure(settings(), study, "").items()}
    recall = tables["recall"]
    assert recall.groupby(["mixer", "role"]).size().to_dict() == {
        ("softmax", "run"): 6, ("softmax", "sweep"): 4, ("state", "run"): 6, ("state", "sweep"): 4
    }  # fmt: skip
    for _, one in recall.groupby("mixer"):
        sweep = one[one["role"] == "sweep"].groupby("rate")["accuracy"].mean()
        assert (one[one["role"] == "run"]["rate"] == sweep.idxmax()).all()
    assert tables["verdicts"]["mixer"].tolist() == ["state", "state"]
    said = recall_capacity.findings(tables)
    mean = recall[(recall["role"] == "run") & (recall["pairs"] == 2)].groupby("mixer")["accuracy"].mean()
    assert f"| {mean['softmax']:.3f} +- " in said
    assert "softmax fewer than 1; state fewer than 1" in said
    assert "1 pairs: softmax 0; state 0." in said
    assert set(recall_capacity.figures(tables)) == {"recall"}


def table(accuracies: dict[str, list[list[float]]]) -> dict[str, pd.DataFrame]:
    """Three seeds a mixer for 2, 4 and 8 pairs."""
    rows = [
        {"mixer": mixer, "role": "run", "seed": seed, "rate": 0.01, "pairs": pairs, "accuracy": accuracy, "kept": 64}
        | {"recalled": 0.9}
        for mixer, of_pairs in accuracies.items()
        for pairs, of_seeds in zip((2, 4, 8), of_pairs, strict=True)
        for seed, accuracy in enumerate(of_seeds, start=1)
    ]
    recall = pd.DataFrame(rows)
    return {"recall": recall, "verdicts": pd.DataFrame(recall_capacity._verdicts(recall, 0.02))}


def test_capacity_ends_where_recall_first_fails() -> None:
    """And errors are what is compared: less is better."""
    right, wrong = [0.99, 1.0, 0.98], [0.2, 0.25, 0.22]
    tables = table({"softmax": [right, right, right], "gap": [right, wrong, right], "small": [right, right, wrong]})
    assert "softmax 8; gap 2; small 4" in recall_capacity.findings(tables)
    verdicts = tables["verdicts"].set_index(["mixer", "pairs"])["verdict"]
    assert verdicts["small", 8] == "worse"
    assert verdicts["gap", 8] == "equivalent"


def test_an_unknown_mixer_lists_the_known_ones(smoke: Study) -> None:
    with pytest.raises(UserError, match=r"model\.attention = 'mamba': unknown; known: causal, linear, selective"):
        recall_capacity.measure(settings(mixers={"a": Mixer("mamba", 8), "b": Mixer("causal", 8)}), smoke, "")
