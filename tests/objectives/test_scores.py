"""What is compared is a likelihood, under every objective and architecture; what is none is refused."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.evaluation.text import token_losses
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.encoder_decoder import EncoderDecoder
from scalinglab.model.shape import shape_of
from scalinglab.objectives.base import Objective, Specials, check_architecture, step_generator
from scalinglab.objectives.masked import Masked
from scalinglab.objectives.reading import Causal, Prefix
from scalinglab.objectives.scores import (
    check_comparable,
    last_answers,
    next_sentences,
    own_loss,
    suffix_nats,
)
from scalinglab.objectives.spans import Spans
from scalinglab.skills import skill

WORDS = 4
SPECIALS = Specials(WORDS)
VOCABULARY = WORDS + Specials.COUNT
OBJECTIVES: list[Objective] = [Causal(), Prefix(), Masked(), Masked(next_sentence=True), Spans()]
PAIRS = [(one, "one stack") for one in OBJECTIVES] + [(Prefix(), "two stacks"), (Spans(), "two stacks")]


def model_of(options: config.Model, stacks: str, vocabulary: int = VOCABULARY) -> Decoder:
    """In float64, with weights large enough that everything depends on everything."""
    shape = dataclasses.replace(shape_of("d16", options, vocabulary, 130), n_layer=2)
    model = Decoder(shape, options) if stacks == "one stack" else EncoderDecoder(shape, options, 1)
    initialise(model, seed=0)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model.double().eval()


@pytest.mark.parametrize(("kind", "stacks"), PAIRS, ids=str)
def test_probabilities_of_all_suffixes_add_up_to_one(options: config.Model, kind: Objective, stacks: str) -> None:
    """Behind one prefix of three tokens, over every suffix of two tokens of the whole vocabulary."""
    model = model_of(options, stacks)
    suffixes = torch.tensor(list(itertools.product(range(VOCABULARY), repeat=2)))
    rows = torch.cat([torch.tensor([[2, 0, 3]]).expand(len(suffixes), -1), suffixes], dim=1)
    with torch.no_grad():
        p = kind.suffix_logits(model, rows, 3, SPECIALS).log_softmax(dim=-1).gather(2, suffixes[..., None])
    chances = p.sum(dim=(1, 2)).exp()
    assert chances.sum().item() == pytest.approx(1, abs=1e-12)
    assert chances.max() > 2 * chances.min(), "they differ"
    nats = suffix_nats(model, kind, rows.numpy(), 3, SPECIALS, batch_rows=100)
    assert nats == pytest.approx(-p.sum().item() / suffixes.numel())


@pytest.mark.parametrize(("kind", "stacks"), PAIRS, ids=str)
def test_a_suffix_depends_on_all_before_it_and_on_nothing_else(
    options: config.Model, kind: Objective, stacks: str
) -> None:
    model = model_of(options, stacks)
    rows = torch.randint(0, WORDS, (1, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = kind.suffix_logits(model, rows, 6, SPECIALS)
        for changed in range(12):
            other = rows.clone()
            other[:, changed] = (other[:, changed] + 1) % WORDS
            moved = (kind.suffix_logits(model, other, 6, SPECIALS) - logits).abs().amax(dim=(0, 2)) > 1e-12
            assert moved.tolist() == [at > changed for at in range(6, 12)]


def test_causal_suffixes_are_those_of_the_decoder(options: config.Model) -> None:
    model = model_of(options, "one stack")
    rows = np.random.default_rng(0).integers(0, WORDS, (8, 17))
    plain = token_losses(model, rows.astype(np.uint16), 8)[:, 8:].mean()
    assert suffix_nats(model, Causal(), rows, 9, SPECIALS, 3) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("stacks", ["one stack", "two stacks"])
def test_the_loss_of_prefixes_is_the_likelihood_of_their_suffixes(options: config.Model, stacks: str) -> None:
    model = model_of(options, stacks)
    rows = np.random.default_rng(0).integers(0, WORDS, (8, 17))
    batch = Prefix().batch(rows, np.ones((8, 16), bool), step_generator(0, 0), SPECIALS)
    loss = model.loss(batch.tokens_BT, batch.targets_BT, batch.scored_N, two_way=batch.two_way).item()
    assert suffix_nats(model, Prefix(), rows, batch.two_way + 1, SPECIALS, 8) == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("stacks", ["one stack", "two stacks"])
def test_the_loss_of_a_missing_suffix_is_its_likelihood_and_that_of_the_end(options: config.Model, stacks: str) -> None:
    model, kind = model_of(options, stacks), Spans(suffixes=1.0)
    rows = np.random.default_rng(0).integers(0, WORDS, (8, 17))
    batch = kind.batch(rows, np.ones((8, 16), bool), step_generator(0, 0), SPECIALS)
    words = batch.scored_N[batch.targets_BT.flatten()[batch.scored_N] < WORDS]
    loss = model.loss(batch.tokens_BT, batch.targets_BT, words, two_way=batch.two_way).item()
    start = batch.two_way - 1  # the sentinel is seen both ways as well
    assert suffix_nats(model, kind, rows, start, SPECIALS, 8) == pytest.approx(loss, rel=1e-6)


class Knowing(Causal):
    """Gives the right token, or the one behind it."""

    wrong = 0

    def suffix_logits(self, model: Decoder, rows_BN: torch.Tensor, start: int, specials: Specials) -> torch.Tensor:
        assert rows_BN.shape[1] == start + 1
        return torch.nn.functional.one_hot(rows_BN[:, start:] + self.wrong, specials.first + 1)


class Mistaken(Knowing):
    wrong = 1


@pytest.mark.parametrize("name", ["recall", "reverse", "mqar"])
def test_last_answers_are_those_of_the_skill(options: config.Model, name: str) -> None:
    documents = skill(name).documents("heldout", 0, 0, 32, 65)
    model, specials = model_of(options, "one stack"), Specials(200)
    assert last_answers(model, Knowing(), skill(name), documents, specials, offset=3) == 1
    assert last_answers(model, Mistaken(), skill(name), documents, specials, offset=3) == 0


def test_an_untrained_model_tells_no_next_sentence(options: config.Model) -> None:
    """It says the same of all pairs, of which half belong together."""
    model = model_of(options, "one stack")
    torch.nn.init.zeros_(model.head.weight)
    rows = np.random.default_rng(0).integers(0, WORDS, (400, 17))
    told = next_sentences(model, Masked(next_sentence=True), rows, SPECIALS, 100)
    assert told == pytest.approx(0.5, abs=0.08)
    assert np.isnan(next_sentences(model, Masked(), rows, SPECIALS, 100))
    assert own_loss(model, Masked(), rows, SPECIALS, 100) == pytest.approx(np.log(VOCABULARY), rel=1e-6)


def test_losses_of_different_objectives_are_refused() -> None:
    different = {"a": Causal(), "b": Masked(), "c": Masked()}
    with pytest.raises(
        UserError, match=r"compare = 'loss': a and b, c are trained on different objectives.*suffix nats"
    ):
        check_comparable("loss", different)
    with pytest.raises(UserError, match="compare = 'los': unknown; known: suffix nats, answers wrong, "):
        check_comparable("los", different)
    with pytest.raises(UserError, match="different objectives"):
        check_comparable("loss", {"a": Masked(), "b": Masked(share=0.5)})
    check_comparable("loss", {"a": Prefix(), "b": Prefix()})
    check_comparable("suffix nats", different)


def test_architectures_that_cannot_be_trained_so_are_refused() -> None:
    known = ("decoder", "encoder", "encoder-decoder")
    refused = [
        (kind.name, architecture)
        for kind in (Causal(), Prefix(), Masked(), Spans())
        for architecture in known
        if architecture in kind.refuses
    ]
    assert refused == [
        ("causal", "encoder"), ("causal", "encoder-decoder"), ("prefix", "encoder"), ("masked", "decoder"),
        ("masked", "encoder-decoder"), ("span", "encoder"),
    ]  # fmt: skip
    with pytest.raises(UserError, match="objective causal with architecture encoder: an encoder sees the tokens"):
        check_architecture(Causal(), "encoder", known)
    with pytest.raises(UserError, match="architecture 'decodr': unknown; known: decoder, encoder, encoder-decoder"):
        check_architecture(Causal(), "decodr", known)
