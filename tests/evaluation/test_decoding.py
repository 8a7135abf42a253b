"""Writing text: a memory changes nothing, and each strategy is what it is named after."""

import dataclasses
import itertools

import pytest
import torch

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.evaluation.decoding import Strategy, distribution, generate
from scalinglab.model.attention import ATTENTIONS
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.memory import LayerMemory
from scalinglab.model.positions import POSITIONS
from scalinglab.model.shape import shape_of

GREEDY = Strategy(temperature=0)


def build(options: config.Model, vocabulary: int = 50, **changes: object) -> Decoder:
    options = dataclasses.replace(options, head_dim=8, window=3, **changes)  # type: ignore[arg-type]
    model = Decoder(shape_of("d16", options, vocabulary, 16), options)
    initialise(model, seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.startswith(("head", "position")) or "shift" in name:
            torch.nn.init.normal_(parameter, generator=generator)
    return model.double().eval()


KINDS = [
    (a, p) for a, p in itertools.product(ATTENTIONS, POSITIONS) if ATTENTIONS[a].takes_bias or p in ("rope", "none")
]


@pytest.mark.parametrize("token_shift", [True, False])
@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize(("attention", "position"), KINDS)
def test_logits_are_the_same_with_a_memory(
    options: config.Model, attention: str, position: str, place: str, token_shift: bool
) -> None:
    """Read at once, token by token, or in pieces; with keys and values that heads share."""
    parts = {"attention": attention, "position": position, "norm_place": place, "token_shift": token_shift}
    model = build(options, kv_groups=2, **parts)
    tokens = torch.randint(0, 50, (3, 16), generator=torch.Generator().manual_seed(0))
    expected = model.logits(tokens)
    for sizes in ([16], [1] * 16, [5, 1, 1, 9]):
        memories = [LayerMemory() for _ in model.blocks]
        pieces = [model.extend(piece, memories) for piece in tokens.split(sizes, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), expected)
        assert memories[0].length == 16


@pytest.mark.parametrize("strategy", [GREEDY, Strategy(0.8, top_k=5), Strategy(top_p=0.9), Strategy(beams=3)])
def test_the_same_text_with_a_memory_and_without(options: config.Model, strategy: Strategy) -> None:
    model, prompts = build(options), torch.randint(0, 50, (4, 3), generator=torch.Generator().manual_seed(0))
    with_it, without = (generate(model, prompts, 9, strategy, remember=remember) for remember in (True, False))
    assert with_it.shape == (4, 9)
    assert torch.equal(with_it, without)


def test_distributions_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()

    def p(**options: float) -> list[float]:
        return distribution(logits, Strategy(**options))[0].tolist()  # type: ignore[arg-type]

    assert p() == pytest.approx([0.5, 0.3, 0.15, 0.05])
    assert p(temperature=0) == [1, 0, 0, 0]
    assert p(temperature=0.5) == pytest.approx([x * x / 0.365 for x in (0.5, 0.3, 0.15, 0.05)])
    assert p(top_k=2) == pytest.approx([0.625, 0.375, 0, 0])
    assert p(top_p=0.5) == pytest.approx([1, 0, 0, 0])
    assert p(top_p=0.51) == pytest.approx([0.625, 0.375, 0, 0])
    assert p(top_k=3, top_p=0.85) == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0])


def test_samples_have_the_models_frequencies(options: config.Model) -> None:
    model = build(options, vocabulary=6)
    prompts = torch.tensor([[1, 2, 3]]).expand(4000, -1)
    shares = torch.bincount(generate(model, prompts, 1, Strategy())[:, 0], minlength=6) / 4000
    torch.testing.assert_close(shares.double(), model.logits(prompts[:1])[0, -1].softmax(0), atol=0.03, rtol=0)


@torch.no_grad()
def likelihood(model: Decoder, prompt: torch.Tensor, new: torch.Tensor) -> float:
    whole = torch.cat([prompt, new[None]], dim=1)
    logs = model.logits(whole[:, :-1]).log_softmax(-1)[0, prompt.shape[1] - 1 :]
    return float(logs.gather(1, new[:, None]).sum())


def test_enough_beams_find_the_likeliest_text(options: config.Model) -> None:
    model, prompt = build(options, vocabulary=5), torch.tensor([[1, 2]])
    every = [torch.tensor(tokens) for tokens in itertools.product(range(5), repeat=3)]
    best = max(every, key=lambda new: likelihood(model, prompt, new))
    assert torch.equal(generate(model, prompt, 3, Strategy(beams=25))[0], best)
    found = [likelihood(model, prompt, generate(model, prompt, 3, Strategy(beams=n))[0]) for n in (2, 5, 25)]
    assert found[-1] >= max(found)


@pytest.mark.parametrize("penalty", [0.0, 3.0])
def test_a_length_penalty_weighs_texts_of_different_length(options: config.Model, penalty: float) -> None:
    """Against every text of up to three tokens that ends, or does not."""
    model, prompt, end = build(options, vocabulary=4), torch.tensor([[1, 2]]), 0
    texts = [
        torch.tensor(body + tail)
        for n in range(4)
        for body in itertools.product(range(1, 4), repeat=n)
        for tail in ([(end,)] if n < 3 else [()])
    ]
    best = max(texts, key=lambda new: likelihood(model, prompt, new) / ((5 + len(new)) / 6) ** penalty)
    found = generate(model, prompt, 3, Strategy(beams=27, length_penalty=penalty), end=end)[0]
    assert found.tolist() == best.tolist() + [end] * (3 - len(best))


def test_strategies_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match="0 < top_p <= 1"):
        Strategy(top_p=0)
