"""Every scheme trains as one process does, in float64; and the formulas of what it sends."""

import dataclasses
from typing import Any

import pandas as pd
import pytest
import torch.distributed as dist

from scalinglab.config import Study
from scalinglab.measurements import parallelism
from scalinglab.measurements.parallelism import SCHEMES, TOLERANCE, Settings, sent_in_theory
from scalinglab.model.shape import Shape, shape_of
from scalinglab.parallel import processes
from scalinglab.parallel.schemes import Scheme

TWO = [
    Scheme("data", data=2),
    Scheme("ZeRO 1", data=2, zero=1),
    Scheme("ZeRO 2", data=2, zero=2),
    Scheme("ZeRO 3", data=2, zero=3),
    Scheme("tensor", tensor=2),
    Scheme("GPipe", pipeline=2),
    Scheme("1F1B", pipeline=2, schedule="1F1B"),
]
SETTINGS = Settings("d16", 2, 8, 8, rows=8, steps=3, schemes=(), stages=(), micro_batches=(), stage_seconds=0.01)


def tiny_shape(smoke: Study) -> Shape:
    return shape_of("d16", dataclasses.replace(smoke.model, head_dim=8), parallelism.VOCABULARY, SETTINGS.seq_len)


def trained(smoke: Study, schemes: list[Scheme]) -> list[list[dict[str, Any]]]:
    """For each scheme, what each of its processes found."""
    options = dataclasses.replace(smoke.model, head_dim=8)
    ranks = processes.run(schemes[0].world, parallelism._train_all, schemes, tiny_shape(smoke), options, SETTINGS)
    return [list(found) for found in zip(*ranks, strict=True)]


def test_two_processes_train_as_one(smoke: Study) -> None:
    """Losses of four steps of AdamW, to rounding; who cuts things up holds less."""
    ((alone,),) = trained(smoke, [Scheme("one process")])
    found = dict(zip((scheme.name for scheme in TWO), trained(smoke, TWO), strict=True))
    for name, ranks in found.items():
        for rank in ranks:
            assert rank["losses"] == pytest.approx(alone["losses"], rel=TOLERANCE), name
    assert alone["losses"][-1] < alone["losses"][0]
    assert found["data"][0]["parameters"] == alone["parameters"]
    assert found["ZeRO 1"][0]["parameters"] == alone["parameters"]
    assert found["ZeRO 1"][0]["gradients"] == alone["gradients"] == alone["parameters"]
    assert found["ZeRO 2"][0]["gradients"] < alone["gradients"]
    assert sum(rank["optimiser"] for rank in found["ZeRO 1"]) == alone["optimiser"]
    for name in ("ZeRO 2", "ZeRO 3", "GPipe"):
        assert sum(rank["parameters"] for rank in found[name]) == alone["parameters"], name
    assert found["tensor"][0]["parameters"] < alone["parameters"]
    # Not less is sent than must be; other programs may send on the same device.
    for scheme in TWO:
        ranks = found[scheme.name]
        numbers = sum(rank["parameters"] for rank in ranks) / parallelism.NUMBER
        _, least = sent_in_theory(scheme, tiny_shape(smoke), SETTINGS.rows, numbers)
        assert ranks[0]["sent"] is None or ranks[0]["sent"] >= parallelism.NUMBER * least, scheme.name


def test_three_dimensions_train_as_one(smoke: Study) -> None:
    """Two data-parallel pipelines of two stages, each of two processes that share the heads."""
    ((alone,),) = trained(smoke, [Scheme("one process")])
    (ranks,) = trained(smoke, [SCHEMES[-1]])
    assert len(ranks) == 8
    for rank in ranks:
        assert rank["losses"] == pytest.approx(alone["losses"], rel=TOLERANCE)


def test_what_is_sent_in_theory(smoke: Study) -> None:
    """By hand, for 100 parameters: rings, gathers and scatters, and the stream of features between processes."""
    options = dataclasses.replace(smoke.model, head_dim=8)
    shape = shape_of("d16", options, 64, seq_len=8)
    stream = 4 * 8 * 16
    assert shape.n_layer == 2

    def sent(scheme: Scheme, held: int) -> tuple[float, float]:
        return sent_in_theory(scheme, shape, rows=4, numbers=held)

    assert sent(Scheme("", data=4), 400) == (600, 600)
    assert sent(Scheme("", data=4, zero=1), 400) == (600, 900)
    assert sent(Scheme("", data=4, zero=2), 100) == (600, 900)
    assert sent(Scheme("", data=4, zero=3), 100) == (900, 1200)
    assert sent(Scheme("", tensor=2), 100) == (2 * 4 * 2 * stream,) * 2
    assert sent(Scheme("", pipeline=4), 100) == (2 * 3 * stream,) * 2
    assert sent(SCHEMES[0], 100) == (0, 0)


def add_up(n: int) -> list[int]:
    """In each process: its number, and the sum of all."""
    import torch

    total = torch.tensor([dist.get_rank() * n])
    dist.all_reduce(total)
    return [dist.get_rank(), int(total)]


def fail_in_one() -> None:
    if dist.get_rank() == 1:
        raise ValueError("not today")
    dist.barrier()


def test_processes_return_what_they_found_and_fail_together() -> None:
    assert processes.run(3, add_up, 5) == [[0, 15], [1, 15], [2, 15]]
    with pytest.raises(RuntimeError, match="not today"):
        processes.run(2, fail_in_one)


def test_micro_batches_that_a_pipeline_keeps() -> None:
    """GPipe sends all on before the first comes back; 1F1B's first stage of two waits for two at most."""
    cases = [("GPipe", 2), ("GPipe", 6), ("1F1B", 2), ("1F1B", 6)]
    ranks = processes.run(2, parallelism._pipelines, cases, 0.001)
    assert [kept for _, kept in ranks[0]] == [2, 6, 2, 2]
    assert [kept for _, kept in ranks[1]][2:] == [1, 1]
    assert all(seconds >= 3 * m * 0.001 for (_, m), (seconds, _) in zip(cases, ranks[0], strict=True))


def test_from_processes_to_the_text(smoke: Study) -> None:
    settings = dataclasses.replace(SETTINGS, schemes=("one process", "data, 2"), stages=(2,), micro_batches=(2, 4))
    tables = {name: pd.DataFrame(rows) for name, rows in parallelism.measure(settings, smoke, "").items()}
    assert tables["schemes"]["scheme"].tolist() == ["one process", "data, 2"]
    assert tables["schemes"]["largest difference"].max() < TOLERANCE
    assert tables["bubbles"]["waiting in theory"].tolist() == pytest.approx([1 / 3, 1 / 5] * 2)
    assert "| data, 2 | 2 |" in parallelism.findings(tables)
    assert set(parallelism.figures(tables)) == {"parallelism"}
