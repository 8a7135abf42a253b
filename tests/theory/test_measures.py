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
from scalinglab.theory.measures import TrainedModel, activations, context_length


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
