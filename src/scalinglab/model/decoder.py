"""The decoder: embedding, blocks, final norm, head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scalinglab import config
from scalinglab.model.attention import ATTENTIONS, TokenShift
from scalinglab.model.feed_forward import FEED_FORWARDS
from scalinglab.model.linear_loss import linear_cross_entropy
from scalinglab.model.memory import LayerMemory
from scalinglab.model.norms import NORMS
from scalinglab.model.parametrisations import PARAMETRISATIONS, Rule, role_of
from scalinglab.model.positions import POSITIONS, NoPosition
from scalinglab.model.readout import Readout
from scalinglab.model.registry import pick
from scalinglab.model.residual import Residual
from scalinglab.model.shape import Shape
from scalinglab.model.unit_scaling import UnitEmbedding, UnitReadout, UnitRMSNorm, unit_scale


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
        self.attention_residual, self.feed_forward_residual = Residual(), Residual()
        self._behind = options.norm_place == "post"

    def forward(self, x_BTD: Tensor, memory: LayerMemory | None = None, visible_TT: Tensor | None = None) -> Tensor:
        """memory: of the positions before x, which is added to it. visible: see CausalAttention."""
        return self.feed(self.attend(x_BTD, memory, visible_TT))

    def attend(self, x_BTD: Tensor, memory: LayerMemory | None = None, visible_TT: Tensor | None = None) -> Tensor:
        """The first half, attention."""
        x_BTD = self.attention_residual(
            x_BTD, lambda y_BTD: self.dropout(self.attention(self.attention_input(y_BTD, memory), memory, visible_TT))
        )
        return self.attention_norm(x_BTD) if self._behind else x_BTD

    def feed(self, x_BTD: Tensor) -> Tensor:
        """The second half, feed-forward."""
        if self._behind:
            x_BTD = self.feed_forward_residual(x_BTD, lambda y_BTD: self.dropout(self.feed_forward(y_BTD)))
            return self.feed_forward_norm(x_BTD)
        return self.feed_forward_residual(
            x_BTD, lambda y_BTD: self.dropout(self.feed_forward(self.feed_forward_norm(y_BTD)))
        )

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
        self.head = Readout(shape.d_model, shape.vocab_size, bias=False)
        if options.tied_head:
            self.head.weight = self.embedding.weight
        self._parametrise(options)

    def _parametrise(self, options: config.Model) -> None:
        """Set what weights and scores are multiplied with; gradient_unit: the norm of a gradient of usual size."""
        self.parametrisation = pick(PARAMETRISATIONS, "parametrisation", options.parametrisation)
        self.parametrisation.check(options)
        self.gradient_unit = 1.0
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            block.attention.score_scale = self.parametrisation.attention_scale(self.shape.head_dim, options)
            if self.parametrisation.unit:
                unit_scale(block, layer, self.shape.n_layer, self.shape.seq_len)
        if self.parametrisation.unit:
            self.embedding = UnitEmbedding(self.shape.vocab_size, self.shape.d_model)
            self.norm = UnitRMSNorm(self.shape.d_model, eps=1e-6)
            self.head = UnitReadout(self.shape.d_model, self.shape.vocab_size, bias=False)
            self.gradient_unit = sum(parameter.numel() for parameter in self.parameters()) ** 0.5
        self.head.multiplier = self.rule_of("head.weight").multiplier

    def rule_of(self, name: str) -> Rule:
        """How a parameter starts, acts and moves."""
        parameter = self.get_parameter(name)
        role = role_of(name, parameter.dim())
        return self.parametrisation.rule(role, parameter.shape[-1], self.shape)

    def hidden(self, tokens_BT: Tensor, two_way: int = 0) -> Tensor:
        """Features [B, T, D] after the final norm. two_way: so many positions, the first ones, all see one another."""
        x_BTD = self.dropout(self.position.embed(self.embedding(tokens_BT)))
        visible_TT = sees(tokens_BT.shape[1], two_way, x_BTD.device) if two_way else None
        for block in self.blocks:
            x_BTD = block(x_BTD, visible_TT=visible_TT)
        return self.norm(x_BTD)

    def logits(self, tokens_BT: Tensor, two_way: int = 0) -> Tensor:
        """Next-token logits [B, T, V]."""
        return self.head(self.hidden(tokens_BT, two_way))

    def extend(self, tokens_BT: Tensor, memories: Sequence[LayerMemory]) -> Tensor:
        """Next-token logits [B, T, V] behind what the memories hold, one a block, empty at first; they grow by T."""
        x_BTD = self.position.embed(self.embedding(tokens_BT), memories[0].length)
        for block, memory in zip(self.blocks, memories, strict=True):
            x_BTD = block(x_BTD, memory)
        return self.head(self.norm(x_BTD))

    def loss(
        self, tokens_BT: Tensor, targets_BT: Tensor, scored_N: Tensor, smoothing: float = 0.0, two_way: int = 0
    ) -> Tensor:
        """Mean nats over the scored targets; scored_N holds their places in the flattened [B * T].

        smoothing: share of each target that is spread over the vocabulary. two_way: see `hidden`.

        The head runs at those places only: inside skill documents most targets are noise that nothing could learn.
        """
        x_ND = self.hidden(tokens_BT, two_way).flatten(0, 1).index_select(0, scored_N)
        x_ND, weight_VD = self.head.operands(x_ND)
        return linear_cross_entropy(x_ND, weight_VD, targets_BT.flatten().index_select(0, scored_N), smoothing)


def sees(length: int, two_way: int, device: torch.device) -> Tensor:
    """[T, T] whether a query (row) sees a key: the past, and all of the first `two_way` positions."""
    place_T = torch.arange(length, device=device)
    return (place_T <= place_T[:, None]) | (place_T < two_way)


@torch.no_grad()
def initialise(model: Decoder, seed: int) -> None:
    """Draw the weights: matrices normal with the scale that the parametrisation gives each (parametrisations.py).

    In the standard one the output scale of matrices is independent of width, and the head starts at zero, so that the
    first loss is exactly ln V. A tied head starts smaller than an embedding of its own would.
    """
    generator = torch.Generator().manual_seed(seed)
    tied = model.head.weight is model.embedding.weight
    for name, parameter in model.named_parameters():
        scale = model.rule_of(name).initial
        if tied and name == "embedding.weight":
            scale = model.shape.d_model**-0.5
        if scale == 0:
            parameter.zero_()
        elif scale is not None:
            parameter.normal_(0.0, scale, generator=generator)
