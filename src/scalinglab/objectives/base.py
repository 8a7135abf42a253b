"""What every objective is: batches made from rows of text, and how its model gives the likelihood of a suffix.

Models trained on different objectives have no loss in common: each is over other targets, seen from other sides. What
they do have is a probability of a suffix behind its prefix, as a product over its tokens (the chain rule); each
objective says how its model gives the factors, in the form that is nearest to its training.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scalinglab.errors import UserError
from scalinglab.model.decoder import Decoder
from scalinglab.training.data import Batch, Batches


@dataclass(frozen=True)
class Specials:
    """Tokens behind the vocabulary of `first` ids that some objectives need; all models have them, and so one size.

    mask stands for a hidden token, cls where a whole text is judged, by following or random; sentinels for whole spans.
    """

    first: int
    SENTINELS: ClassVar[int] = 16
    COUNT: ClassVar[int] = 4 + SENTINELS

    @property
    def mask(self) -> int:
        return self.first

    @property
    def cls(self) -> int:
        return self.first + 1

    @property
    def following(self) -> int:
        return self.first + 2

    @property
    def random(self) -> int:
        return self.first + 3

    @property
    def sentinel(self) -> int:
        """The first of them."""
        return self.first + 4


@dataclass(frozen=True)
class Objective(ABC):
    """One way of making targets of a text. Subclasses are frozen dataclasses of its knobs.

    refuses: the architectures that cannot be trained so, and why.
    """

    name: ClassVar[str]
    refuses: ClassVar[dict[str, str]] = {}

    @property
    @abstractmethod
    def trained_on(self) -> str:
        """What its targets are, in a few words: whether suffixes are among them."""

    @abstractmethod
    def batch(
        self,
        rows_BN: NDArray[np.int64],
        scored_BT: NDArray[np.bool_],
        generator: np.random.Generator,
        specials: Specials,
    ) -> Batch:
        """Inputs and targets from rows. scored: which tokens behind the first may be targets at all."""

    @abstractmethod
    def suffix_logits(self, model: Decoder, rows_BN: Tensor, start: int, specials: Specials) -> Tensor:
        """[B, N - start, V] for each token from `start` on: logits that depend on those before it only."""

    @abstractmethod
    def window(self, tokens_BT: Tensor, specials: Specials) -> tuple[Tensor, int]:
        """A text as it is read to be judged as a whole, with cls at its end, and how much of it is seen both ways."""


class ObjectiveBatches(Batches):
    """The batches of a mixture under an objective: a pure function of the seed and the step."""

    def __init__(
        self,
        rows: NDArray[np.uint16],
        scored: NDArray[np.bool_],
        batch_tokens: int,
        repeat: int,
        objective: Objective,
        specials: Specials,
        seed: int,
    ) -> None:
        super().__init__(rows, scored, batch_tokens, repeat)
        self._objective, self._specials, self._seed = objective, specials, seed

    def __getitem__(self, step: int) -> Batch:
        return self._objective.batch(*self.rows(step), step_generator(self._seed, step), self._specials)


def step_generator(seed: int, step: int) -> np.random.Generator:
    """Random numbers of one step; Philox (Salmon et al. 2011) reaches them without those of the steps before."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, step]))


def places_of(scored_BT: NDArray[np.bool_]) -> Tensor:
    """What a batch calls scored_N."""
    return torch.from_numpy(np.flatnonzero(scored_BT))


def check_architecture(objective: Objective, architecture: str, known: tuple[str, ...]) -> None:
    """Raises UserError where there is no such architecture, or it cannot be trained on the objective."""
    if architecture not in known:
        raise UserError(f"architecture {architecture!r}: unknown; known: {', '.join(known)}")
    if (why := objective.refuses.get(architecture)) is not None:
        raise UserError(f"objective {objective.name} with architecture {architecture}: {why}")
