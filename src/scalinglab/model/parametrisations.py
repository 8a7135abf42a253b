"""How weights, multipliers and learning rates follow width: the standard way, muP and u-muP.

A parameter W acts as A w; w starts with standard deviation B and moves at C times the run's rate. For Adam (eps 0) the
three may be traded: A t, B / t, C / t train alike (Yang et al. 2022, appendix J.2.1), so what differs is how they grow.

* standard, as this repository began: hidden matrices of variance 1 / (3 fan_in), those that write into the residual
  stream smaller by sqrt(2 n_layer), embeddings of unit scale, a head of zeros, scores over sqrt(d_k), one rate.
* mup: Yang et al. 2022 (Tensor Programs V), table 8 for Adam: the head's output times base / width, hidden rates times
  base / width, scores over d_k. At BASE_WIDTH, and heads of the size they have there, it is bitwise the standard one.
* u-mup: Blake et al. 2024, table 2: all weights of unit variance, hidden products over sqrt(fan_in), logits over
  fan_in, rates that are about 1. Each operation keeps unit scale forwards and backwards: see unit_scaling.py.

`training.embedding_rate`, where it is not 0, takes the place of C x rate for the embedding in all of them.

Depth is muP's only in u-mup. Decay is independent of the multipliers C: AdamW shrinks weights by rate x decay a step,
and were rates of wide matrices lower they would decay less (Blake et al. 2024, section 3.1).
"""

import math
from dataclasses import dataclass
from typing import Literal

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.model.shape import Shape

BASE_WIDTH = 64
# One unit of the standard form's rate in u-mup's: at the base width and with two layers hidden matrices then move by
# the same share of themselves a step, rate * sqrt(3 width) there and rate / sqrt(width * 2 layers) here. For what u-muP
# does not say: vectors, which its authors leave out, and decay.
STANDARD_RATE = 1 / (BASE_WIDTH * math.sqrt(3 * 4))

# hidden: matrices of a block. residual: those that write into the stream. vector: norms, shifts, position codes.
Role = Literal["embedding", "hidden", "residual", "head", "vector"]


@dataclass(frozen=True)
class Rule:
    """Of one parameter. initial: B; None where its layer says how it starts. multiplier: A. rate: C.

    decay: what training.weight_decay is multiplied with, beside the rate.
    """

    initial: float | None
    multiplier: float
    rate: float
    decay: float


class Standard:
    """One rate for all."""

    unit = False  # whether each operation keeps unit scale

    def check(self, options: config.Model) -> None:
        """Raise UserError where there are no rules for these parts."""

    def rule(self, role: Role, fan_in: int, shape: Shape) -> Rule:
        """fan_in: channels that a matrix reads; of the embedding, those that it gives."""
        return Rule(_initial(role, fan_in, shape), multiplier=1.0, rate=1.0, decay=1.0)

    def attention_scale(self, head_dim: int, options: config.Model) -> float:
        """What scores are multiplied with."""
        return head_dim**-0.5


class MuP(Standard):
    """Updates of the same size at every width."""

    def check(self, options: config.Model) -> None:
        _check_parts("mup", options)

    def rule(self, role: Role, fan_in: int, shape: Shape) -> Rule:
        ratio = BASE_WIDTH / shape.d_model
        rate = ratio if role in ("hidden", "residual") else 1.0
        multiplier = ratio if role == "head" else 1.0
        return Rule(_initial(role, fan_in, shape), multiplier, rate, decay=1 / rate)

    def attention_scale(self, head_dim: int, options: config.Model) -> float:
        return head_dim**-0.5 * math.sqrt(min(options.head_dim, BASE_WIDTH) / head_dim)


class UnitMuP(Standard):
    """Updates of the same size at every width, and unit scale everywhere."""

    unit = True

    def check(self, options: config.Model) -> None:
        _check_parts("u-mup", options)
        needed = {"norm": ("rmsnorm",), "norm_place": ("pre",), "attention": ("causal", "window", "strided")}
        for key, known in needed.items():
            if (value := getattr(options, key)) not in known:
                raise UserError(
                    f"model.parametrisation = 'u-mup': no rules for model.{key} = {value!r}; take {' or '.join(known)}"
                )

    def rule(self, role: Role, fan_in: int, shape: Shape) -> Rule:
        if role == "vector":
            return Rule(None, multiplier=1.0, rate=STANDARD_RATE, decay=1.0)
        inside = role in ("hidden", "residual")
        depth = 2 * shape.n_layer if inside else 1
        rate = 1.0 if role == "head" else 1 / math.sqrt(fan_in * depth)
        multiplier = {"embedding": 1.0, "head": 1 / fan_in}.get(role, 1 / math.sqrt(fan_in))
        return Rule(1.0, multiplier, rate, decay=STANDARD_RATE / rate)

    def attention_scale(self, head_dim: int, options: config.Model) -> float:
        return 1 / head_dim


def role_of(name: str, dimensions: int) -> Role:
    """The role of a parameter of the decoder, by its name."""
    if dimensions < 2 or name.startswith("position."):
        return "vector"
    if name in ("embedding.weight", "head.weight"):
        return "embedding" if name.startswith("embedding") else "head"
    return "residual" if name.endswith(("attention.out.weight", "down.weight")) else "hidden"


def residual_shares(layer: int, n_layer: int) -> list[tuple[float, float]]:
    """(branch, stream) of attention and feed-forward of a layer: what each is multiplied with before they are added.

    Their squares add up to 1, and behind the last layer embedding, attention and feed-forward make up a third of the
    variance each (Blake et al. 2024, appendix G, with both of its ratios at 1).
    """
    before = [n_layer + part for part in (2 * layer, 2 * layer + 1)]
    return [(math.sqrt(1 / (n + 1)), math.sqrt(n / (n + 1))) for n in before]


def _initial(role: Role, fan_in: int, shape: Shape) -> float | None:
    """The standard form's; Radford et al. 2019, section 2.3, on the residual stream."""
    if role == "vector":
        return None
    if role in ("embedding", "head"):
        return 1.0 if role == "embedding" else 0.0
    scale = 1 / math.sqrt(3 * fan_in)
    return scale * (1 / math.sqrt(2 * shape.n_layer)) if role == "residual" else scale


def _check_parts(name: str, options: config.Model) -> None:
    if options.tied_head:
        raise UserError(f"model.parametrisation = {name!r}: embedding and head scale apart; set model.tied_head: false")
    # Their small matrices have outputs whose number does not grow with the width.
    for key, value in (("feed_forward", "experts"), ("attention", "selective")):
        if getattr(options, key) == value:
            raise UserError(f"model.parametrisation = {name!r}: no rules for model.{key} = {value!r}; take standard")


PARAMETRISATIONS: dict[str, Standard] = {"standard": Standard(), "mup": MuP(), "u-mup": UnitMuP()}
