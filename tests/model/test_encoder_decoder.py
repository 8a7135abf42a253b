"""Who sees whom: a stack with a part that is seen both ways, and an encoder with a decoder behind it."""

import dataclasses

import pytest
import torch

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.encoder_decoder import CrossAttention, EncoderDecoder, narrowed, parameters
from scalinglab.model.memory import LayerMemory
from scalinglab.model.positions import NoPosition
from scalinglab.model.shape import shape_of

T = 10


def make(options: config.Model, encoder_layers: int = 0) -> Decoder:
    shape = dataclasses.replace(shape_of("d16", options, 50, 2 * T), n_layer=3)
    model = EncoderDecoder(shape, options, encoder_layers) if encoder_layers else Decoder(shape, options)
    initialise(model, seed=0)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model.double().eval()


def moved(model: Decoder, two_way: int) -> list[list[bool]]:
    """[changed token][position] whether features there notice it."""
    tokens = torch.randint(0, 50, (1, T), generator=torch.Generator().manual_seed(0))
    found = []
    with torch.no_grad():
        plain = model.hidden(tokens, two_way)
        for changed in range(T):
            other = tokens.clone()
            other[:, changed] = (other[:, changed] + 1) % 50
            found.append(((model.hidden(other, two_way) - plain).abs().amax(dim=(0, 2)) > 1e-12).tolist())
    return found


@pytest.mark.parametrize("parts", [{}, {"norm_place": "post"}, {"position": "learned"}, {"kv_groups": 2}], ids=str)
@pytest.mark.parametrize("encoder_layers", [0, 2])
@pytest.mark.parametrize("two_way", [1, 4, T - 1, T])
def test_the_first_see_one_another_and_the_others_their_past(
    options: config.Model, parts: dict, encoder_layers: int, two_way: int
) -> None:
    if encoder_layers and two_way == T:
        pytest.skip("nothing would be left for the decoder")
    model = make(dataclasses.replace(options, head_dim=8, **parts), encoder_layers)
    expected = [[key <= query or (query < two_way and key < two_way) for query in range(T)] for key in range(T)]
    assert moved(model, two_way) == expected


def test_a_stack_without_both_ways_is_the_decoder(options: config.Model) -> None:
    model = make(options)
    tokens = torch.randint(0, 50, (2, T), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.logits(tokens, two_way=1), model.logits(tokens), rtol=1e-12, atol=1e-12)


def test_cross_attention_is_its_formula(options: config.Model) -> None:
    shape = shape_of("d16", dataclasses.replace(options, head_dim=8), 50, T)
    attention = CrossAttention(shape, NoPosition(shape, 1.0)).double()
    x, source = torch.randn(2, 3, 16).double(), torch.randn(2, 5, 16).double()
    q, (k, v) = attention.q(x), attention.kv(source).chunk(2, dim=-1)
    heads = []
    for at in (slice(0, 8), slice(8, 16)):
        weights = (q[..., at] @ k[..., at].transpose(1, 2) / 8**0.5).softmax(dim=-1)
        heads.append(weights @ v[..., at])
    torch.testing.assert_close(attention(x, source), attention.out(torch.cat(heads, dim=-1)))


def test_the_decoder_knows_how_far_behind_it_a_token_of_the_encoder_stands(options: config.Model) -> None:
    """With rotary positions, weights depend on the distance: a source that is shifted is read otherwise."""
    shape = shape_of("d16", options, 50, T)
    model = EncoderDecoder(shape, options, 1)
    attention = model.blocks[0].cross_attention.double()
    x, source = torch.randn(1, 1, 16).double(), torch.randn(1, 5, 16).double()
    assert not torch.allclose(attention(x, source), attention(x, source.roll(1, dims=1)))


@pytest.mark.parametrize("size", ["d32", "d64", "d128"])
def test_an_encoder_decoder_has_as_many_parameters(options: config.Model, size: str) -> None:
    shape = shape_of(size, options, 1108, 128)
    wanted = sum(parameter.numel() for parameter in Decoder(shape, options).parameters())
    assert parameters(Decoder, shape, options) == wanted
    one = EncoderDecoder(narrowed(shape, options, 1), options, 1)
    assert sum(parameter.numel() for parameter in one.parameters()) == pytest.approx(wanted, rel=0.01)


def test_what_only_looks_back_is_refused(options: config.Model) -> None:
    tokens = torch.zeros(1, T, dtype=torch.long)
    for parts in (
        {"position": "alibi"},
        {"position": "relative"},
        {"attention": "window"},
        {"attention": "linear"},
        {"attention": "selective"},
    ):
        with pytest.raises(UserError, match="knows no keys that come after their query; to look both ways take"):
            make(dataclasses.replace(options, **parts)).hidden(tokens, two_way=4)


def test_an_encoder_without_text_and_writing_with_a_memory_are_refused(options: config.Model) -> None:
    model, tokens = make(options, 1), torch.zeros(1, T, dtype=torch.long)
    with pytest.raises(UserError, match="has to be given something to encode: two_way = 0"):
        model.loss(tokens, tokens, torch.arange(T))
    with pytest.raises(UserError, match="cannot write with a memory"):
        model.extend(tokens, [LayerMemory()])


def test_feed_forward_parts_too_narrow_to_pay_are_refused(options: config.Model) -> None:
    options = dataclasses.replace(options, ff_ratio=0.5)
    with pytest.raises(UserError, match="gives 32 hidden units: too few to pay for cross-attention"):
        narrowed(shape_of("d64", options, 100, 64), options, 1)


@pytest.mark.parametrize("parametrisation", ["mup", "u-mup"])
def test_rules_that_know_no_cross_attention_are_refused(options: config.Model, parametrisation: str) -> None:
    changed = dataclasses.replace(options, parametrisation=parametrisation)
    with pytest.raises(UserError, match="has no rule for cross-attention; take standard"):
        EncoderDecoder(shape_of("d16", changed, 50, 16), changed, 1)
