"""Every scheme trains as one process does, in float64; and the formulas of what it sends."""

import dataclasses
from typing import Any

import pytest
import torch.distributed as dist

from scalinglab.config import Study
from scalinglab.measurements import parallelism
from scalinglab.measurements.parallelism import SCHEMES, Settings, sent_in_theory
from scalinglab.model.shape import shape_of
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


def trained(smoke: Study, schemes: list[Scheme]) -> list[list[dict[str, Any]]]:
    """For each scheme, what each of its processes found."""
    options = dataclasses.replace(smoke.model, head_dim=8)
    shape = shape_of("d16", options, parallelism.VOCABULARY, SETTINGS.seq_len)
    ranks = processes.run(schemes[0].world, parallelism._train_all, schemes, shape, options, SETTINGS)
    return [list(found) for found in zip(*ranks, strict=True)]


def test_two_processes_train_as_one(smoke: Study) -> None:
    """Losses of four steps of AdamW, to rounding; who cuts things up holds less."""
    ((alone,),) = trained(smoke, [Scheme("one process")])
    found = dict(zip((scheme.name for scheme in TWO), trained(smoke, TWO), strict=True))
    for name, ranks in found.items():
        for rank in ranks:
            assert rank["losses"] == pytest.approx(alone["losses"], rel=1e-12), name
    assert alone["losses"][-1] < alone["losses"][0]
    assert found["data"][0]["parameters"] == alone["parameters"]
    assert found["ZeRO 1"][0]["parameters"] == alone["parameters"]
    assert sum(rank["optimiser"] for rank in found["ZeRO 1"]) == alone["optimiser"]
    for name in ("ZeRO 2", "ZeRO 3", "GPipe"):
        assert sum(rank["parameters"] for rank in found[name]) == alone["parameters"], name
    assert found["tensor"][0]["parameters"] < alone["parameters"]


def test_three_dimensions_train_as_one(smoke: Study) -> None:
    """Two data-parallel pipelines of two stages, each of two processes that share the heads."""
    ((alone,),) = trained(smoke, [Scheme("one process")])
    (ranks,) = trained(smoke, [SCHEMES[-1]])
    assert len(ranks) == 8
    for rank in ranks:
        assert rank["losses"] == pytest.approx(alone["losses"], rel=1e-12)


def test_what_is_sent_in_theory(smoke: Study) -> None:
    """By hand, for 100 parameters: rings, gathers and scatters, and the stream of features between processes."""
    options = dataclasses.replace(smoke.model, head_dim=8)
    shape = shape_of("d16", options, 64, seq_len=8)
    stream = 4 * 8 * 16
    assert shape.n_layer == 2

    def sent(scheme: Scheme, held: int) -> tuple[float, float]:
        return sent_in_theory(scheme, shape, rows=4, numbers=held)

    assert sent(Scheme("", data=4), 400) == (600, 600)
    assert sent(Scheme("", data=4, zero=1), 400) == (900, 900)
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
