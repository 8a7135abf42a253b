"""What is measured of trained models, on ones whose answer is known."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from scalinglab import config
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import shape_of
from scalinglab.theory.measures import TrainedModel, activations, context_length, head_roles


def model_of(options: config.Model, **changes: object) -> TrainedModel:
    options = dataclasses.replace(options, head_dim=8, **changes)  # type: ignore[arg-type]
    model = Decoder(shape_of("d16", options, vocab_size=50, seq_len=16), options)
    initialise(model, seed=0)
    return TrainedModel(model, options, np.random.default_rng(0).integers(0, 50, 641).astype(np.uint16))


def test_untrained_models_know_nothing_at_any_length(options: config.Model) -> None:
    found = context_length(model_of(options))
    assert list(found.values()) == pytest.approx([np.log(50)] * 3, abs=1e-5)
    assert list(found) == ["loss at 1x", "loss at 2x", "loss at 4x"]


def test_a_window_of_the_trained_length_is_the_models_own_loss(options: config.Model) -> None:
    trained = model_of(options, position="alibi")
    torch.nn.init.normal_(trained.model.head.weight)
    rows = torch.from_numpy(trained.held_out[:641].astype(np.int64))
    inputs, targets = rows[:-1].view(-1, 16), rows[1:].view(-1, 16).contiguous()
    own = trained.model.loss(inputs, targets, torch.arange(640)).item()
    assert context_length(trained)["loss at 1x"] == pytest.approx(own, rel=1e-6)


def test_sparsity_of_units_that_are_half_on(options: config.Model) -> None:
    """A ReLU of symmetric inputs is zero half of the time; an identity never is."""
    relu, identity = (activations(model_of(options, feed_forward=name, ff_ratio=16)) for name in ("relu", "identity"))
    assert relu["exactly zero"] == pytest.approx(0.5, abs=0.03)
    assert identity["exactly zero"] == 0
    assert relu["near zero"] > relu["exactly zero"]
    # P(|x| > t) where the normal tails beyond t hold half of the variance; of rectified units, half as many.
    beyond = brentq(lambda t: 2 * quad(lambda x: x * x * norm.pdf(x), t, np.inf)[0] - 0.5, 0, 5)
    assert identity["half the energy"] == pytest.approx(2 * norm.sf(beyond), abs=0.02)
    assert relu["half the energy"] == pytest.approx(norm.sf(beyond), abs=0.02)


def test_roles_of_heads_that_look_nowhere_in_particular(options: config.Model) -> None:
    """With queries of zero, every place spreads its attention evenly over itself and the past."""
    trained = model_of(options, position="none")
    with torch.no_grad():
        for block in trained.model.blocks:
            block.attention.qkv.weight[:16] = 0
    even = np.mean([1 / (place + 1) for place in range(8, 16)])
    assert list(head_roles(trained).values()) == pytest.approx([even] * 4, rel=1e-5)


def test_a_head_made_to_look_one_place_back_is_a_previous_token_head(options: config.Model) -> None:
    """By a relative bias: only a distance of one is not hidden."""
    trained = model_of(options, position="relative")
    with torch.no_grad():
        trained.model.position.table_HN.fill_(-100.0)
        trained.model.position.table_HN[0, 1] = 0.0
    roles = head_roles(trained)
    assert roles["previous token"] == pytest.approx(1)
    assert roles["induction"] < 0.5
