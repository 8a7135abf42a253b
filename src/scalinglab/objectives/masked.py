"""Hidden tokens from all that is left on both sides (Devlin et al. 2019); next-sentence prediction is an option."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from torch import Tensor

from scalinglab import config
from scalinglab.config import Share
from scalinglab.model.decoder import Decoder
from scalinglab.objectives.base import Objective, Specials, places_of
from scalinglab.objectives.reading import ended
from scalinglab.training.data import Batch

NO_BOTH = "its decoder never sees what follows a hidden token; take encoder"


@dataclass(frozen=True, config=config.STRICT)
class Masked(Objective):
    """Some tokens are hidden, always behind the mask (10 % others, 10 % themselves make no difference; Wettig et al.
    2023, table 5), and predicted.

    share: of the tokens that may be targets, in each row; 0: drawn uniformly, so that any part of a text is learnt from
    any other (Uria et al. 2014). next_sentence: cls before each row has to tell whether its second half follows the
    first, or is another row's; rows of skills, whose targets are answers only, are left whole and not asked.
    """

    share: Share = 0.15
    next_sentence: bool = False
    name: ClassVar[str] = "masked"
    refuses: ClassVar[dict[str, str]] = {"decoder": NO_BOTH, "encoder-decoder": NO_BOTH}

    @property
    def trained_on(self) -> str:
        return f"{self.share:.0%} of the tokens, scattered" if self.share else "any share of the tokens, scattered"

    def batch(
        self,
        rows_BN: NDArray[np.int64],
        scored_BT: NDArray[np.bool_],
        generator: np.random.Generator,
        specials: Specials,
    ) -> Batch:
        may_BN = np.pad(scored_BT, ((0, 0), (1, 0)))
        drawn_B1 = np.full((len(rows_BN), 1), self.share) if self.share else generator.random((len(rows_BN), 1))
        rank_BN = np.where(may_BN, generator.random(rows_BN.shape), 2.0).argsort(axis=1).argsort(axis=1)
        hidden_BN = may_BN & (rank_BN < np.maximum(1, np.round(drawn_B1 * may_BN.sum(axis=1, keepdims=True))))
        rows_BN, text_B, random_B = self._paired(rows_BN, scored_BT, generator)
        tokens = torch.from_numpy(np.where(hidden_BN, specials.mask, rows_BN))
        targets = torch.from_numpy(rows_BN)
        if self.next_sentence:
            label_B = torch.from_numpy(np.where(random_B, specials.random, specials.following))
            tokens, targets = led(tokens, specials.cls), torch.cat([label_B[:, None], targets], dim=1)
            hidden_BN = np.concatenate([text_B[:, None], hidden_BN], axis=1)
        return Batch(tokens, targets, places_of(hidden_BN), tokens.shape[1])

    def _paired(
        self, rows_BN: NDArray[np.int64], scored_BT: NDArray[np.bool_], generator: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Rows, half of those of text with the second half of the next row of text; which are text, and which these."""
        text_B = np.asarray(scored_BT.all(axis=1))
        random_B = text_B & (generator.random(len(rows_BN)) < 0.5)
        if not self.next_sentence or text_B.sum() < 2:
            random_B[:] = False
        order, half = np.flatnonzero(text_B), rows_BN.shape[1] - rows_BN.shape[1] // 2
        other_BN = rows_BN.copy()
        other_BN[order, half:] = rows_BN[np.roll(order, -1), half:]
        other_BN[~random_B] = rows_BN[~random_B]
        return other_BN, text_B, random_B

    def suffix_logits(self, model: Decoder, rows_BN: Tensor, start: int, specials: Specials) -> Tensor:
        """One pass a token, of which it and all that follow are hidden."""
        place_N = torch.arange(rows_BN.shape[1], device=rows_BN.device)
        hidden_SN = place_N >= place_N[start:, None]
        tokens_BSN = torch.where(hidden_SN, specials.mask, rows_BN[:, None])
        tokens = tokens_BSN.flatten(0, 1)
        if self.next_sentence:
            tokens, place_N = led(tokens, specials.cls), place_N + 1
        x_BSND = model.hidden(tokens, tokens.shape[1]).unflatten(0, tokens_BSN.shape[:2])
        return model.head(x_BSND[:, torch.arange(len(hidden_SN)), place_N[start:]])

    def window(self, tokens_BT: Tensor, specials: Specials) -> tuple[Tensor, int]:
        return ended(tokens_BT, specials.cls), tokens_BT.shape[1] + 1


def led(tokens_BN: Tensor, token: int) -> Tensor:
    """The rows with a token before each."""
    return torch.cat([torch.full_like(tokens_BN[:, :1], token), tokens_BN], dim=1)
