"""An encoder that sees all of its text, and a decoder that reads it through cross-attention (Vaswani et al. 2017).

It takes what a decoder takes: tokens [B, T], of which the first `two_way` are its encoder's. Positions count on from
one to the other, so that the decoder knows how far behind it a token of the encoder stands.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.model.decoder import Block, Decoder
from scalinglab.model.memory import LayerMemory
from scalinglab.model.norms import NORMS
from scalinglab.model.positions import NoPosition
from scalinglab.model.registry import pick
from scalinglab.model.shape import Shape


class CrossAttention(nn.Module):
    """Softmax attention of a text x to all of a source before it."""

    def __init__(self, shape: Shape, position: NoPosition) -> None:
        super().__init__()
        self.head_dim, self.grouped = shape.head_dim, shape.n_kv_head != shape.n_head
        self.q = nn.Linear(shape.d_model, shape.n_head * shape.head_dim, bias=False)
        self.kv = nn.Linear(shape.d_model, 2 * shape.n_kv_head * shape.head_dim, bias=False)
        self.out = nn.Linear(shape.n_head * shape.head_dim, shape.d_model, bias=False)
        self._rotate = position.rotate

    def forward(self, x_BTD: Tensor, source_BSD: Tensor) -> Tensor:
        q_BTHK = self._rotate(self.q(x_BTD).unflatten(-1, (-1, self.head_dim)), source_BSD.shape[1])
        k_BSHK, v_BSHK = self.kv(source_BSD).unflatten(-1, (-1, self.head_dim)).chunk(2, dim=2)
        y_BHTK = F.scaled_dot_product_attention(
            q_BTHK.transpose(1, 2),
            self._rotate(k_BSHK).transpose(1, 2),
            v_BSHK.transpose(1, 2),
            enable_gqa=self.grouped,
        )
        return self.out(y_BHTK.transpose(1, 2).flatten(2))


class CrossBlock(Block):
    """A block of the decoder: attention to its own past, then to the source, then feed-forward."""

    def __init__(self, shape: Shape, options: config.Model, position: NoPosition) -> None:
        super().__init__(shape, options, position)
        self.cross_norm = pick(NORMS, "norm", options.norm)(shape.d_model)
        self.cross_attention = CrossAttention(shape, position)

    def read(self, x_BTD: Tensor, source_BSD: Tensor) -> Tensor:
        """The block on x [B, T, D], with a source [B, S, D] to look at."""
        x_BTD = self.attend(x_BTD)
        if self._behind:
            return self.feed(self.cross_norm(x_BTD + self.dropout(self.cross_attention(x_BTD, source_BSD))))
        return self.feed(x_BTD + self.dropout(self.cross_attention(self.cross_norm(x_BTD), source_BSD)))


class EncoderDecoder(Decoder):
    """The first `encoder_layers` of the shape's layers see all of the source; the others predict what follows it.

    Raises UserError where the parametrisation is not the standard one.
    """

    def __init__(self, shape: Shape, options: config.Model, encoder_layers: int) -> None:
        if options.parametrisation != "standard":
            raise UserError(
                f"model.parametrisation = {options.parametrisation!r}: has no rule for cross-attention; take standard"
            )
        super().__init__(shape, options)
        self.encoder = self.blocks[:encoder_layers]
        self.encoder_norm = pick(NORMS, "norm", "none" if options.norm_place == "post" else options.norm)(shape.d_model)
        decoder_layers = shape.n_layer - encoder_layers
        self.blocks = nn.ModuleList(CrossBlock(shape, options, self.position) for _ in range(decoder_layers))

    def hidden(self, tokens_BT: Tensor, two_way: int = 0) -> Tensor:
        """Features [B, T, D]: the encoder's of its tokens, then the decoder's of the others.

        Raises UserError where the encoder is left without any.
        """
        if not two_way:
            raise UserError("an encoder-decoder has to be given something to encode: two_way = 0; take a decoder")
        x_BTD = self.dropout(self.position.embed(self.embedding(tokens_BT)))
        source_BSD, x_BTD = x_BTD[:, :two_way], x_BTD[:, two_way:]
        visible_SS = torch.ones(two_way, two_way, dtype=torch.bool, device=x_BTD.device)
        for block in self.encoder:
            source_BSD = block(source_BSD, visible_TT=visible_SS)
        source_BSD = self.encoder_norm(source_BSD)
        for cross in self.blocks:
            assert isinstance(cross, CrossBlock)
            x_BTD = cross.read(x_BTD, source_BSD)
        return torch.cat([source_BSD, self.norm(x_BTD)], dim=1)

    def extend(self, tokens_BT: Tensor, memories: Sequence[LayerMemory]) -> Tensor:
        """Not to be had: the memory holds one stack's past, and no source. Raises UserError."""
        raise UserError("an encoder-decoder cannot write with a memory; write with a decoder")


def narrowed(shape: Shape, options: config.Model, encoder_layers: int) -> Shape:
    """The shape whose encoder-decoder has as many parameters as the decoder of a shape, to a multiple of 8 in d_ff.

    Cross-attention is paid for with narrower feed-forward parts. Raises UserError where that leaves them nothing.
    """
    wanted = parameters(Decoder, shape, options)
    shapes = [replace(shape, d_ff=d_ff) for d_ff in range(8, shape.d_ff + 1, 8)]
    found = {one: abs(parameters(EncoderDecoder, one, options, encoder_layers) - wanted) for one in shapes}
    best = min(found, key=lambda one: found[one])
    if best.d_ff == 8:
        raise UserError(f"model.ff_ratio gives {shape.d_ff} hidden units: too few to pay for cross-attention; raise it")
    return best


def parameters(kind: type[Decoder], shape: Shape, options: config.Model, *more: int) -> int:
    """How many parameters a model has, without making it."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in kind(shape, options, *more).parameters())
