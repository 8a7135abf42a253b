"""FLOPs of a batch are those that torch counts, and for a decoder those of model/counts.py."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scalinglab import config
from scalinglab.model.counts import count
from scalinglab.model.decoder import Decoder
from scalinglab.model.encoder_decoder import EncoderDecoder
from scalinglab.model.shape import shape_of
from scalinglab.objectives.base import Objective, Specials, step_generator
from scalinglab.objectives.flops import batch_flops
from scalinglab.objectives.masked import Masked
from scalinglab.objectives.reading import Causal, Prefix
from scalinglab.objectives.spans import Spans
from scalinglab.training.data import Batch

SPECIALS = Specials(30)
B, N = 4, 33


def batch_of(kind: Objective) -> Batch:
    rows = np.random.default_rng(0).integers(0, 30, (B, N))
    return kind.batch(rows, np.ones((B, N - 1), bool), step_generator(0, 2), SPECIALS)


def counted(model: Decoder, batch: Batch) -> int:
    """In float64, where the head takes the library's own path; torch counts all pairs, seen or not."""
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = model.double().loss(batch.tokens_BT, batch.targets_BT, batch.scored_N, two_way=batch.two_way)
        loss.backward()
    return counter.get_total_flops()


def test_a_decoders_are_those_of_its_counts(options: config.Model) -> None:
    shape = shape_of("d16", options, 50, N - 1)
    assert batch_flops(Decoder(shape, options), batch_of(Causal())) == count(shape, options).flops_per_token * B * (
        N - 1
    )


@pytest.mark.parametrize("kind", [Causal(), Prefix(), Masked(), Spans()], ids=str)
def test_one_stacks_are_those_that_torch_counts(options: config.Model, kind: Objective) -> None:
    model, batch = Decoder(shape_of("d16", options, 50, 2 * N), options), batch_of(kind)
    length, seen = batch.tokens_BT.shape[1], batch.two_way
    unseen = sum(1 for query in range(length) for key in range(length) if key > query and key >= seen)
    per_pair = 3 * 2 * 2 * B * model.shape.n_layer * model.shape.d_model
    assert batch_flops(model, batch) + per_pair * unseen == counted(model, batch)


@pytest.mark.parametrize("kind", [Prefix(), Spans()], ids=str)
def test_two_stacks_are_those_that_torch_counts(options: config.Model, kind: Objective) -> None:
    shape = dataclasses.replace(shape_of("d16", options, 50, 2 * N), n_layer=3)
    model, batch = EncoderDecoder(shape, options, 1), batch_of(kind)
    rest = batch.tokens_BT.shape[1] - batch.two_way
    unseen = 2 * rest * (rest - 1) // 2  # of two decoder layers
    assert batch_flops(model, batch) + 3 * 2 * 2 * B * shape.d_model * unseen == counted(model, batch)
