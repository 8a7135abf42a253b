"""The decoder: embedding, blocks, final norm, head."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scalinglab import config
from scalinglab.model.attention import ATTENTIONS, TokenShift
from scalinglab.model.feed_forward import FEED_FORWARDS
from scalinglab.model.linear_loss import linear_cross_entropy
from scalinglab.model.memory import LayerMemory
from scalinglab.model.norms import NORMS
from scalinglab.model.positions import POSITIONS, NoPosition
from scalinglab.model.registry import pick
from scalinglab.model.shape import Shape


def dropout(options: config.Model) -> nn.Module:
    """Dropout on what is written into the residual stream (Vaswani et al. 2017, section 5.4)."""
    return nn.Dropout(options.dropout) if options.dropout else nn.Identity()


class Block(nn.Module):
    """x + attention(norm x), then x + feed_forward(norm x); with norms behind, norm(x + attention x) and so on.

    Before the parts: Xiong et al. 2020; behind them: Vaswani et al. 2017.
    """

    def __init__(self, shape: Shape, options: config.Model, position: NoPosition) -> None:
        super().__init__()
        norm = pick(NORMS, "norm", options.norm)
        self.attention_norm = norm(shape.d_model)
        self.shift = TokenShift(shape.d_model) if options.token_shift else None
        self.attention = pick(ATTENTIONS, "attention", options.attention)(shape, position)
        self.feed_forward_norm = norm(shape.d_model)
        self.feed_forward = pick(FEED_FORWARDS, "feed_forward", options.feed_forward)(shape, options)
        self.dropout = dropout(options)
        self._behind = options.norm_place == "post"

    def forward(self, x_BTD: Tensor, memory: LayerMemory | None = None) -> Tensor:
        """memory: of the positions before x, which is added to it."""
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_input(x_BTD, memory), memory))
        if self._behind:
            x_BTD = self.attention_norm(x_BTD)
            return self.feed_forward_norm(x_BTD + self.dropout(self.feed_forward(x_BTD)))
        return x_BTD + self.dropout(self.feed_forward(self.feed_forward_norm(x_BTD)))

    def attention_input(self, x_BTD: Tensor, memory: LayerMemory | None = None) -> Tensor:
        """What the attention reads of the block's input."""
        x_BTD = x_BTD if self._behind else self.attention_norm(x_BTD)
        return x_BTD if self.shift is None else self.shift(x_BTD, memory)


class Decoder(nn.Module):
    """A causal language model of one shape. `hidden` gives features, `logits` and `loss` put the head on them."""

    def __init__(self, shape: Shape, options: config.Model) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab_size, shape.d_model)
        self.dropout = dropout(options)
        self.position = pick(POSITIONS, "position", options.position)(shape, options.rope_theta)
        self.blocks = nn.ModuleList(Block(shape, options, self.position) for _ in range(shape.n_layer))
        final = "none" if options.norm_place == "post" else options.norm  # the last block ended with one
        self.norm = pick(NORMS, "norm", final)(shape.d_model)
        self.head = nn.Linear(shape.d_model, shape.vocab_size, bias=False)
        if options.tied_head:
            self.head.weight = self.embedding.weight

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """Features [B, T, D] after the final norm."""
        x_BTD = self.dropout(self.position.embed(self.embedding(tokens_BT)))
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.norm(x_BTD)

    def logits(self, tokens_BT: Tensor) -> Tensor:
        """Next-token logits [B, T, V]."""
        return self.head(self.hidden(tokens_BT))

    def extend(self, tokens_BT: Tensor, memories: Sequence[LayerMemory]) -> Tensor:
        """Next-token logits [B, T, V] behind what the memories hold, one a block, empty at first; they grow by T."""
        x_BTD = self.position.embed(self.embedding(tokens_BT), memories[0].length)
        for block, memory in zip(self.blocks, memories, strict=True):
            x_BTD = block(x_BTD, memory)
        return self.head(self.norm(x_BTD))

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor, scored_N: Tensor, smoothing: float = 0.0) -> Tensor:
        """Mean nats over the scored targets; scored_N holds their places in the flattened [B * T].

        smoothing: share of each target that is spread over the vocabulary.

        The head runs at those places only: inside skill documents most targets are noise that nothing could learn.
        """
        x_ND = self.hidden(tokens_BT).flatten(0, 1).index_select(0, scored_N)
        return linear_cross_entropy(x_ND, self.head.weight, targets_BT.flatten().index_select(0, scored_N), smoothing)


@torch.no_grad()
def initialise(model: Decoder, seed: int) -> None:
    """Draw the weights: every matrix normal with variance 1 / (3 fan_in), its output scale independent of width.

    Matrices that write into the residual stream start smaller by sqrt(2 n_layer) (Radford et al. 2019, section 2.3);
    embeddings have unit scale, and the head starts at zero, so that the first loss is exactly ln V.
    """
    generator = torch.Generator().manual_seed(seed)
    residual = 1 / math.sqrt(2 * model.shape.n_layer)
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2 or name.startswith("position."):
            continue
        if name == "embedding.weight":
            scale = 1.0 if model.head.weight is not parameter else 1 / math.sqrt(model.shape.d_model)
        elif name == "head.weight":
            parameter.zero_()
            continue
        else:
            scale = 1 / math.sqrt(3 * parameter.shape[1])
            if name.endswith(("attention.out.weight", "down.weight")):
                scale *= residual
        parameter.normal_(0.0, scale, generator=generator)
