"""Span corruption: whole spans are cut out, and written behind the text that they are missing from (Raffel et al. 2020,
section 3.1.4).

The text has a sentinel where a span was; what is to be written is each sentinel, then its span, then one sentinel more.
The first sentinel is given. All rows of a batch have equally many tokens and spans cut out: there is no padding.
"""

from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from scalinglab import config
from scalinglab.config import PositiveFloat, Share
from scalinglab.errors import UserError
from scalinglab.model.decoder import Decoder
from scalinglab.objectives.base import Objective, Specials, places_of
from scalinglab.objectives.reading import NO_FUTURE, ended
from scalinglab.training.data import Batch


@dataclass(frozen=True, config=config.STRICT)
class Spans(Objective):
    """Spans are cut out, and written.

    noise: share of the tokens that are cut out. mean_span: the spans' mean length, in tokens. suffixes: share of the
    steps whose rows lose one span, from a place drawn uniformly to their end (the S-denoiser of Tay et al. 2023).

    In rows of skills only cut-out answers are targets, in rows of text the sentinels as well.
    """

    noise: Annotated[float, Field(gt=0, lt=1)] = 0.15
    mean_span: PositiveFloat = 3.0
    suffixes: Share = 0.0
    name: ClassVar[str] = "span"
    refuses: ClassVar[dict[str, str]] = {"encoder": NO_FUTURE}

    @property
    def trained_on(self) -> str:
        spans = f"spans of {self.mean_span:g} on average"
        return f"{spans}, in {self.suffixes:.0%} of the steps suffixes" if self.suffixes else spans

    def batch(
        self,
        rows_BN: NDArray[np.int64],
        scored_BT: NDArray[np.bool_],
        generator: np.random.Generator,
        specials: Specials,
    ) -> Batch:
        cut_BN = self._cut(rows_BN.shape, scored_BT, generator, specials)
        source_BS, written_BW = corrupted(rows_BN, cut_BN, specials.sentinel)
        may_BN = np.pad(scored_BT, ((0, 0), (1, 0)))
        # What may be a target moves as the tokens do: 0 no, 1 yes, 2 and more a sentinel.
        flags_BW = corrupted(may_BN.astype(np.int64), cut_BN, 2)[1][:, 1:]
        scored_BW = (flags_BW == 1) | ((flags_BW > 1) & scored_BT.all(axis=1, keepdims=True))
        tokens_BT = np.concatenate([source_BS, written_BW[:, :-1]], axis=1)
        targets_BT = np.concatenate([source_BS, written_BW[:, 1:]], axis=1)
        scored = np.concatenate([np.zeros(source_BS.shape, bool), scored_BW], axis=1)
        if not scored.any():  # rows of skills alone, and no answer cut out: others are
            return self.batch(rows_BN, scored_BT, generator, specials)
        return Batch(torch.from_numpy(tokens_BT), torch.from_numpy(targets_BT), places_of(scored), source_BS.shape[1])

    def _cut(
        self,
        shape: tuple[int, ...],
        scored_BT: NDArray[np.bool_],
        generator: np.random.Generator,
        specials: Specials,
    ) -> NDArray[np.bool_]:
        """[B, N] which tokens are cut out. Raises UserError where the knobs do not fit the rows."""
        rows, length = shape
        if generator.random() < self.suffixes:
            last = np.flatnonzero(scored_BT.any(axis=0))[-1] + 1  # something is to be left to predict
            return np.broadcast_to(np.arange(length) >= generator.integers(1, last + 1), (rows, length))
        noise = max(1, round(self.noise * length))
        spans = max(1, round(noise / self.mean_span))
        if spans >= specials.SENTINELS or noise + spans > length:
            raise UserError(
                f"objective span: noise = {self.noise:g}, mean_span = {self.mean_span:g}: {spans} spans of {noise} of "
                f"{length} tokens; at most {specials.SENTINELS - 1} fit, each behind a token that stays"
            )
        return random_spans(generator, rows, length, noise, spans)

    def suffix_logits(self, model: Decoder, rows_BN: Tensor, start: int, specials: Specials) -> Tensor:
        """The suffix as one span that is missing."""
        source_BS = ended(rows_BN[:, :start], specials.sentinel)
        tokens_BT = torch.cat([ended(source_BS, specials.sentinel), rows_BN[:, start:-1]], dim=1)
        return model.head(model.hidden(tokens_BT, start + 1)[:, start + 1 :])

    def window(self, tokens_BT: Tensor, specials: Specials) -> tuple[Tensor, int]:
        return ended(tokens_BT, specials.cls), tokens_BT.shape[1]


def random_spans(generator: np.random.Generator, rows: int, length: int, noise: int, spans: int) -> NDArray[np.bool_]:
    """[R, length] True in `spans` spans of `noise` tokens together, none at the beginning, none touching another."""
    cut_RS = _parts(generator, rows, noise, spans)
    kept_RS = _parts(generator, rows, length - noise + 1, spans + 1)
    kept_RS[:, -1] -= 1  # a span may end the row
    lengths = np.empty((rows, 2 * spans + 1), dtype=np.int64)
    lengths[:, ::2], lengths[:, 1::2] = kept_RS, cut_RS
    return np.repeat(np.tile(np.arange(2 * spans + 1) % 2 == 1, rows), lengths.ravel()).reshape(rows, length)


def _parts(generator: np.random.Generator, rows: int, total: int, parts: int) -> NDArray[np.int64]:
    """[R, parts] whole numbers of at least 1 that add up to the total, every such sum equally likely."""
    ends = np.sort(generator.random((rows, total - 1)).argsort(axis=1)[:, : parts - 1] + 1, axis=1)
    return np.diff(ends, axis=1, prepend=0, append=total)


def corrupted(
    rows_BN: NDArray[np.int64], cut_BN: NDArray[np.bool_], sentinel: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows without what is cut out, and that: the first with a sentinel for each span, the second with each before its
    span and one at the end. `sentinel`: the first of them. All rows have equally many tokens and spans cut out."""
    begins_BN = cut_BN & ~np.pad(cut_BN, ((0, 0), (1, 0)))[:, :-1]
    sentinel_BN = sentinel - 1 + begins_BN.cumsum(axis=1)
    kept_BN = ~cut_BN | begins_BN
    source = np.where(begins_BN, sentinel_BN, rows_BN)[kept_BN].reshape(len(rows_BN), -1)
    pair_BN2 = np.stack([sentinel_BN, rows_BN], axis=2)
    written = pair_BN2[np.stack([begins_BN, cut_BN], axis=2)].reshape(len(rows_BN), -1)
    return source, np.concatenate([written, sentinel_BN[:, -1:] + 1], axis=1)
