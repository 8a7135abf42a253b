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
from scalinglab.model.weights import digest_of
from scalinglab.skills import skill
from scalinglab.theory import measures
from scalinglab.theory.measures import (
    TrainedModel,
    activations,
    context_length,
    gradients,
    head_roles,
    in_context,
    leak,
    noise_scale,
    number_format,
    routing,
)
from scalinglab.training.data import Batches
from scalinglab.training.loop import Point
from scalinglab.training.loss_scale import LossScale


def model_of(smoke: config.Study, **changes: object) -> TrainedModel:
    options = dataclasses.replace(smoke.model, head_dim=8, **changes)  # type: ignore[arg-type]
    model = Decoder(shape_of("d16", options, vocab_size=50, seq_len=16), options)
    initialise(model, seed=0)
    study = dataclasses.replace(smoke, model=options, mixture=dataclasses.replace(smoke.mixture, seq_len=16))
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 50, (4096, 17)).astype(np.uint16)
    batches = Batches(rows, np.ones((4096, 16), bool), study.training.batch_tokens, repeat=1, unique_tokens=4096 * 16)
    curve = [Point(step + 1, 3.0, float(step), 0.1) for step in range(20)]
    return TrainedModel(model, study, rng.integers(0, 50, 641).astype(np.uint16), 3, batches, 5, curve)


def test_untrained_models_know_nothing_at_any_length(smoke: config.Study) -> None:
    found = context_length(model_of(smoke))
    assert list(found.values()) == pytest.approx([np.log(50)] * 3, abs=1e-5)
    assert list(found) == ["loss at 1x", "loss at 2x", "loss at 4x"]


def test_a_window_of_the_trained_length_is_the_models_own_loss(smoke: config.Study) -> None:
    trained = model_of(smoke, position="alibi")
    torch.nn.init.normal_(trained.model.head.weight)
    rows = torch.from_numpy(trained.held_out[:641].astype(np.int64))
    inputs, targets = rows[:-1].view(-1, 16), rows[1:].view(-1, 16).contiguous()
    own = trained.model.loss(inputs, targets, torch.arange(640)).item()
    assert context_length(trained)["loss at 1x"] == pytest.approx(own, rel=1e-6)


def test_sparsity_of_units_that_are_half_on(smoke: config.Study) -> None:
    """A ReLU of symmetric inputs is zero half of the time; an identity never is."""
    relu, identity = (activations(model_of(smoke, feed_forward=name, ff_ratio=16)) for name in ("relu", "identity"))
    assert relu["exactly zero"] == pytest.approx(0.5, abs=0.03)
    assert identity["exactly zero"] == 0
    assert relu["near zero"] > relu["exactly zero"]
    # P(|x| > t) where the normal tails beyond t hold half of the variance; of rectified units, half as many.
    beyond = brentq(lambda t: 2 * quad(lambda x: x * x * norm.pdf(x), t, np.inf)[0] - 0.5, 0, 5)
    assert identity["half the energy"] == pytest.approx(2 * norm.sf(beyond), abs=0.02)
    assert relu["half the energy"] == pytest.approx(norm.sf(beyond), abs=0.02)


def test_roles_of_heads_that_look_nowhere_in_particular(smoke: config.Study) -> None:
    """With queries of zero, every place spreads its attention evenly over itself and the past."""
    trained = model_of(smoke, position="none")
    with torch.no_grad():
        for block in trained.model.blocks:
            block.attention.qkv.weight[:16] = 0
    even = np.mean([1 / (place + 1) for place in range(8, 16)])
    assert list(head_roles(trained).values()) == pytest.approx([even] * 4, rel=1e-5)


def test_a_head_made_to_look_one_place_back_is_a_previous_token_head(smoke: config.Study) -> None:
    """By a relative bias: only a distance of one is not hidden."""
    trained = model_of(smoke, position="relative")
    with torch.no_grad():
        trained.model.position.table_HN.fill_(-100.0)
        trained.model.position.table_HN[0, 1] = 0.0
    roles = head_roles(trained)
    assert roles["previous token"] == pytest.approx(1)
    assert roles["induction"] < 0.5


def test_a_model_that_knows_nothing_answers_at_random(smoke: config.Study) -> None:
    """An untrained head is zero: the likeliest token is always the same one, no symbol of any skill."""
    found = in_context(model_of(smoke))
    assert list(found) == [f"{name} accuracy" for name in smoke.mixture.skill_names]
    assert set(found.values()) == {0.0}


def test_a_model_that_always_says_the_same_is_right_where_that_is_the_answer(smoke: config.Study) -> None:
    trained = model_of(smoke, norm="none")
    one = skill("shift")
    said = 3 + one.answers.start
    with torch.no_grad():
        trained.model.head.weight[said] = 1.0
        trained.model.embedding.weight.fill_(1.0)
        for block in trained.model.blocks:
            for matrix in (block.attention.out.weight, block.feed_forward.down.weight):
                matrix.zero_()
    gold = one.gold(one.documents("heldout", trained.study.seed, 0, 256, 17))
    assert in_context(trained)["shift accuracy"] == pytest.approx((gold[:, gold.shape[1] // 2 :] == 0).mean())


def test_gradients_of_the_first_and_the_last_tenth(smoke: config.Study) -> None:
    """And how many were cut: those of norm 0 and 1 of 0 to 19 were not."""
    found = gradients(model_of(smoke))
    assert found == {"first gradients": 0.5, "last gradients": 18.5, "points clipped": 0.9}


def test_noise_scale_of_gradients_without_noise_is_nothing(smoke: config.Study) -> None:
    """Where every row is the same, so is every batch's gradient."""
    trained = model_of(smoke)
    one_row = np.tile(np.arange(17, dtype=np.uint16), (4096, 1))
    same = Batches(one_row, np.ones((4096, 16), bool), trained.study.training.batch_tokens, 1, unique_tokens=4096 * 16)
    found = noise_scale(dataclasses.replace(trained, batches=same))
    assert found["gradient noise"] == pytest.approx(0, abs=1e-3 * found["gradient squared"])


def test_noise_scale_is_that_of_the_spread_between_tokens(smoke: config.Study) -> None:
    """Of a model of constants, whose gradient is the same constant but for its targets: p (1 - p) V over their spread.

    An untrained head is zero and its features are constant when embedding and blocks are, so that a token's gradient is
    (1 / V - onehot) times a constant: with targets that are drawn unevenly, mean and variance are known.
    """
    trained = model_of(smoke, norm="none")
    with torch.no_grad():
        trained.model.embedding.weight.fill_(1.0)
        for block in trained.model.blocks:
            for matrix in (block.attention.out.weight, block.feed_forward.down.weight):
                matrix.zero_()
    rng = np.random.default_rng(1)
    share = np.arange(1, 51) / np.arange(1, 51).sum()
    rows = rng.choice(50, (200_000, 17), p=share).astype(np.uint16)
    batches = Batches(rows, np.ones((200_000, 16), bool), 128, repeat=1)
    training = dataclasses.replace(trained.study.training, batch_tokens=128)
    trained = dataclasses.replace(trained, study=dataclasses.replace(trained.study, training=training), batches=batches)
    signal, noise = ((1 / 50 - share) ** 2).sum(), (share * (1 - share)).sum()
    found = noise_scale(trained)
    assert found["gradient noise"] / found["gradient squared"] == pytest.approx(noise / signal, rel=0.1)


@pytest.mark.parametrize(("scale", "flushed"), [(2.0**-40, 1.0), (2.0**10, 0.0)])
def test_gradients_that_fp16_flushes(smoke: config.Study, scale: float, flushed: float) -> None:
    """All of them at a scale that makes every gradient of the logits zero; at a good one, hardly any."""
    trained = model_of(smoke)
    torch.nn.init.normal_(trained.model.head.weight, generator=torch.Generator().manual_seed(0))
    training = dataclasses.replace(trained.study.training, precision="fp16", loss_scale=scale)
    held = LossScale(training, list(trained.model.parameters()))
    held.skipped = 7
    study = dataclasses.replace(trained.study, training=training)
    found = number_format(dataclasses.replace(trained, study=study, loss_scale=held))
    assert found["gradients flushed"] == pytest.approx(flushed, abs=1e-3)
    assert found["gradients off"] == pytest.approx(flushed, abs=5e-3)
    assert (found["loss scale"], found["steps skipped"], found["emulated"]) == (scale, 7, 1)


def test_fp32_flushes_nothing(smoke: config.Study) -> None:
    trained = model_of(smoke)
    torch.nn.init.normal_(trained.model.head.weight)
    assert list(number_format(trained).values()) == [0, 0, 1, 0, 0]


def router_that(trained: TrainedModel, chooses: torch.Tensor) -> None:
    """Make every router read the token itself, from an embedding of one place each, and prefer the expert given."""
    with torch.no_grad():
        for block in trained.model.blocks:
            block.attention.out.weight.zero_()
            for expert in block.feed_forward.experts:
                expert.down.weight.zero_()
            block.feed_forward.router.weight.copy_(torch.nn.functional.one_hot(chooses, 4).t().float())
        trained.model.embedding.weight.copy_(torch.eye(16)[torch.arange(50) % 16])


def test_routing_of_experts_that_split_the_tokens_among_them(smoke: config.Study) -> None:
    """By what a token is: even loads are those of text, and a token always takes the same expert."""
    trained = model_of(smoke, feed_forward="experts", experts=4, active_experts=1, norm="none")
    chooses_D = torch.arange(16) % 4
    router_that(trained, chooses_D)
    load_E = np.bincount(trained.held_out[:640] % 16 % 4, minlength=4) / 640
    found = routing(trained)
    assert found["load entropy"] == pytest.approx(-(load_E * np.log(load_E)).sum() / np.log(4))
    assert found["largest load"] == pytest.approx(4 * load_E.max())
    assert found["smallest load"] == pytest.approx(4 * load_E.min())
    assert found["same expert"] == 1
    assert found["same expert by chance"] == pytest.approx((load_E**2).sum(), abs=2e-3)


def test_routing_of_a_router_that_has_collapsed(smoke: config.Study) -> None:
    trained = model_of(smoke, feed_forward="experts", experts=4, active_experts=1, norm="none")
    router_that(trained, torch.zeros(16, dtype=torch.long))
    expected = {"load entropy": 0, "largest load": 4, "smallest load": 0, "same expert": 1, "same expert by chance": 1}
    assert routing(trained) == pytest.approx(expected)


def test_a_token_that_tells_nothing_of_its_expert_takes_the_same_by_chance(smoke: config.Study) -> None:
    """Experts at random, for tokens of which each comes often."""
    generator = torch.Generator().manual_seed(0)
    chosen_N1, tokens_N = (torch.randint(0, n, (40_000,), generator=generator) for n in (4, 10))
    *_, same, chance = measures._loads(chosen_N1[:, None], tokens_N, 4)
    assert chance == pytest.approx(0.25, abs=1e-3)
    assert same == pytest.approx(chance, abs=2e-3)


def test_a_dense_model_routes_nothing(smoke: config.Study) -> None:
    assert np.isnan(list(routing(model_of(smoke)).values())).all()


@pytest.mark.parametrize("kind", ["rmsnorm", "layernorm", "none", "batchnorm"])
def test_only_a_norm_over_batches_leaks_the_future(smoke: config.Study, kind: str) -> None:
    trained = model_of(smoke, norm=kind, dropout=0.1)
    torch.nn.init.normal_(trained.model.head.weight, generator=torch.Generator().manual_seed(0))
    before = digest_of(trained.model.state_dict())
    found = leak(trained)
    assert all(moved > 0.1 if kind == "batchnorm" else moved == 0 for moved in found.values())
    assert digest_of(trained.model.state_dict()) == before, "the model is as it was"
