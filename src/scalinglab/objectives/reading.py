"""Objectives that read on from what is there: every token from the past, or a suffix from a prefix."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from torch import Tensor

from scalinglab import config
from scalinglab.model.decoder import Decoder
from scalinglab.objectives.base import Objective, Specials, places_of
from scalinglab.training.data import Batch

NO_FUTURE = "an encoder sees the tokens that it would have to predict; take masked"


@dataclass(frozen=True, config=config.STRICT)
class Causal(Objective):
    """Each token from all before it (Radford et al. 2018, eq. 1)."""

    name: ClassVar[str] = "causal"
    refuses: ClassVar[dict[str, str]] = {
        "encoder": NO_FUTURE,
        "encoder-decoder": "there is no prefix for its encoder to read; take prefix",
    }

    @property
    def trained_on(self) -> str:
        return "every token"

    def batch(
        self,
        rows_BN: NDArray[np.int64],
        scored_BT: NDArray[np.bool_],
        generator: np.random.Generator,
        specials: Specials,
    ) -> Batch:
        rows = torch.from_numpy(rows_BN)
        return Batch(rows[:, :-1], rows[:, 1:].contiguous(), places_of(scored_BT))

    def suffix_logits(self, model: Decoder, rows_BN: Tensor, start: int, specials: Specials) -> Tensor:
        return model.head(model.hidden(rows_BN[:, :-1])[:, start - 1 :])

    def window(self, tokens_BT: Tensor, specials: Specials) -> tuple[Tensor, int]:
        return ended(tokens_BT, specials.cls), 0


@dataclass(frozen=True, config=config.STRICT)
class Prefix(Objective):
    """Each token of a suffix from all before it; the prefix is seen both ways (Raffel et al. 2020, section 3.2.1).

    Where the suffix begins is drawn uniformly, once a step, so that encoder-decoders need no padding. The last token of
    the prefix begins what the decoder reads.
    """

    name: ClassVar[str] = "prefix"
    refuses: ClassVar[dict[str, str]] = {"encoder": NO_FUTURE}

    @property
    def trained_on(self) -> str:
        return "suffixes of all lengths"

    def batch(
        self,
        rows_BN: NDArray[np.int64],
        scored_BT: NDArray[np.bool_],
        generator: np.random.Generator,
        specials: Specials,
    ) -> Batch:
        rows = torch.from_numpy(rows_BN)
        last = np.flatnonzero(scored_BT.any(axis=0))[-1]  # something is to be left to predict
        two_way = int(generator.integers(1, last + 1))
        asked_T = np.arange(scored_BT.shape[1]) >= two_way
        return Batch(rows[:, :-1], rows[:, 1:].contiguous(), places_of(scored_BT & asked_T), two_way)

    def suffix_logits(self, model: Decoder, rows_BN: Tensor, start: int, specials: Specials) -> Tensor:
        return model.head(model.hidden(rows_BN[:, :-1], start - 1)[:, start - 1 :])

    def window(self, tokens_BT: Tensor, specials: Specials) -> tuple[Tensor, int]:
        return ended(tokens_BT, specials.cls), tokens_BT.shape[1]


def ended(tokens_BT: Tensor, token: int) -> Tensor:
    """The rows with a token behind each."""
    return torch.cat([tokens_BT, torch.full_like(tokens_BT[:, :1], token)], dim=1)
