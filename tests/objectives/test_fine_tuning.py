"""Fine-tuning finds classes that are there, and only those."""

import dataclasses

import numpy as np
import pytest
import torch

from scalinglab.config import Study
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.encoder_decoder import EncoderDecoder
from scalinglab.model.shape import shape_of
from scalinglab.model.weights import digest_of
from scalinglab.objectives.base import Objective, Specials
from scalinglab.objectives.fine_tuning import Windows, fine_tune
from scalinglab.objectives.masked import Masked
from scalinglab.objectives.reading import Causal, Prefix
from scalinglab.training.schedule import Rates

SPECIALS = Specials(30)


def windows(apart: int) -> Windows:
    """Two classes whose tokens lie so far apart."""
    rng = np.random.default_rng(0)
    label = np.arange(200) % 2
    rows = rng.integers(0, 10, (200, 8)) + apart * label[:, None]
    return Windows(rows[:100], label[:100], rows[100:150], label[100:150], rows[150:], label[150:], ("a", "b"))


@pytest.mark.parametrize(("kind", "stacks"), [(Causal(), 1), (Prefix(), 1), (Masked(), 1), (Prefix(), 2)], ids=str)
def test_classes_that_differ_are_told_apart(smoke: Study, kind: Objective, stacks: int) -> None:
    shape = shape_of("d16", smoke.model, 50, 16)
    model = Decoder(shape, smoke.model) if stacks == 1 else EncoderDecoder(shape, smoke.model, 1)
    initialise(model, 0)
    assert fine_tune(model, kind, SPECIALS, windows(10), smoke.training, Rates.alike(0.02), 30, 16, seed=0) == 1


def test_classes_that_do_not_are_not(smoke: Study) -> None:
    model = Decoder(shape_of("d16", smoke.model, 50, 16), smoke.model)
    initialise(model, 0)
    told = fine_tune(model, Causal(), SPECIALS, windows(0), smoke.training, Rates.alike(0.02), 30, 16, seed=0)
    assert told == pytest.approx(0.5, abs=0.2)
    assert windows(0).majority == 0.5


def test_what_is_dropped_depends_on_the_step_alone(smoke: Study) -> None:
    """So that a job that was killed ends with the accuracies of one that was not."""
    options = dataclasses.replace(smoke.model, dropout=0.3)
    told = []
    for unrelated in range(2):
        torch.manual_seed(unrelated)
        model = Decoder(shape_of("d16", options, 50, 16), options)
        initialise(model, 0)
        fine_tune(model, Causal(), SPECIALS, windows(1), smoke.training, Rates.alike(0.01), 5, 16, seed=0)
        told.append(digest_of(model.state_dict()))
    assert told[0] == told[1]


def test_the_windows_that_choose_are_not_those_that_test() -> None:
    held = windows(3)
    choosing = held.to_choose_by()
    np.testing.assert_array_equal(choosing.test_RT, held.choose_RT)
    np.testing.assert_array_equal(choosing.train_RT, held.train_RT)
    assert not np.array_equal(choosing.test_RT, held.test_RT)


@pytest.mark.parametrize("tied", [False, True])
def test_the_embedding_moves_at_its_own_rate_unless_it_is_the_head(smoke: Study, tied: bool) -> None:
    options = dataclasses.replace(smoke.model, tied_head=tied)
    model = Decoder(shape_of("d16", options, 50, 16), options)
    initialise(model, 0)
    before = model.embedding.weight.detach().clone()
    fine_tune(model, Causal(), SPECIALS, windows(1), smoke.training, Rates(0.01, 0.0), 3, 16, seed=0)
    assert torch.equal(model.embedding.weight, before) != tied


def test_a_head_alone_tells_classes_apart_and_leaves_the_model_as_it_is(smoke: Study) -> None:
    model = Decoder(shape_of("d16", smoke.model, 50, 16), smoke.model)
    initialise(model, 0)
    before = digest_of(model.state_dict())
    told = fine_tune(
        model, Causal(), SPECIALS, windows(10), smoke.training, Rates.alike(0.1), 100, 16, seed=0, frozen=True
    )
    assert told == 1
    assert digest_of(model.state_dict()) == before


def test_single_tokens_tell_classes_that_differ_in_them_and_no_others() -> None:
    assert windows(10).told_by_single_tokens() == 1
    assert windows(0).told_by_single_tokens() == pytest.approx(0.5, abs=0.2)
    rng, label = np.random.default_rng(0), np.arange(200) % 2
    rows = np.sort(rng.permuted(np.tile(np.arange(8), (200, 1)), axis=1), axis=1)
    rows[label == 1] = rows[label == 1, ::-1]  # all classes have the same tokens, in another order
    same = Windows(rows[:100], label[:100], rows[100:150], label[100:150], rows[150:], label[150:], ("a", "b"))
    assert same.told_by_single_tokens() == 0.5
