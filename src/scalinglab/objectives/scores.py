"""What models of all objectives can be compared by: suffixes of text, and last answers of skill documents.

Both ask for tokens given all before them, and so have one meaning whatever the model was trained on; an objective's own
loss has not.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from scalinglab.errors import UserError
from scalinglab.evaluation.text import negative_log_likelihood
from scalinglab.model.decoder import Decoder
from scalinglab.objectives.base import Objective, Specials, step_generator
from scalinglab.objectives.masked import Masked
from scalinglab.skills.base import Skill
from scalinglab.training.data import Batch

HELD_OUT = 2**63  # key of the held-out corruption: no seed of a run reaches it
SUFFIX, ANSWERS, CLASSES, LOSS = "suffix nats", "answers wrong", "classes wrong", "loss"
COMPARABLE = (SUFFIX, ANSWERS, CLASSES, LOSS)  # lower is better, all of them


def check_comparable(compare: str, objectives: Mapping[str, Objective]) -> None:
    """Raises UserError where variants have nothing of that name in common."""
    if compare not in COMPARABLE:
        raise UserError(f"compare = {compare!r}: unknown; known: {', '.join(COMPARABLE)}")
    if compare == LOSS and len(set(objectives.values())) > 1:
        by_kind: dict[Objective, list[str]] = {}
        for variant, objective in objectives.items():
            by_kind.setdefault(objective, []).append(variant)
        raise UserError(
            f"compare = 'loss': {' and '.join(', '.join(names) for names in by_kind.values())} are trained on "
            "different objectives, whose losses are means over different targets: a hidden token is predicted from "
            f"both sides, the next one from the past alone. Compare {', '.join(COMPARABLE[:-1])} instead"
        )


@torch.no_grad()
def suffix_nats(
    model: Decoder, objective: Objective, rows_RN: NDArray[np.int64], start: int, specials: Specials, batch_rows: int
) -> float:
    """Mean nats of the tokens from `start` on, each given all before it: the rows' -log p(suffix | prefix) a token."""
    model.eval()
    device, total = next(model.parameters()).device, 0.0
    for first in range(0, len(rows_RN), batch_rows):
        rows_BN = torch.from_numpy(rows_RN[first : first + batch_rows]).to(device)
        logits_BSV = objective.suffix_logits(model, rows_BN, start, specials)
        total += float(negative_log_likelihood(logits_BSV, rows_BN[:, start:]).double().sum())
    return total / rows_RN[:, start:].size


@torch.no_grad()
def last_answers(
    model: Decoder,
    objective: Objective,
    skill: Skill,
    documents_RN: NDArray[np.uint16],
    specials: Specials,
    offset: int,
) -> float:
    """Share of skill documents whose last answer symbol is the likeliest token of all, behind all before it.

    offset: the token id of skill symbol 0.
    """
    model.eval()
    device, right = next(model.parameters()).device, 0
    rows_RN = documents_RN.astype(np.int64) + offset
    at_R = skill.places(documents_RN).at_NA[:, -1]
    for at in np.unique(at_R).tolist():  # rows are cut behind the answer, so those of one length go together
        rows_BN = torch.from_numpy(rows_RN[at_R == at, : at + 1]).to(device)
        logits_B1V = objective.suffix_logits(model, rows_BN, at, specials)
        right += int((logits_B1V[:, 0].argmax(dim=-1) == rows_BN[:, -1]).sum())
    return right / len(rows_RN)


@torch.no_grad()
def own_loss(
    model: Decoder, objective: Objective, rows_RN: NDArray[np.int64], specials: Specials, batch_rows: int
) -> float:
    """The objective's loss on rows of text, corrupted alike for all models, mean over batches; comparable with none of
    another objective."""
    model.eval()
    device, losses = next(model.parameters()).device, []
    for batch in _corrupted(objective, rows_RN, specials, batch_rows):
        tokens, targets, scored = (part.to(device) for part in (batch.tokens_BT, batch.targets_BT, batch.scored_N))
        losses.append(float(model.loss(tokens, targets, scored, two_way=batch.two_way)))
    return float(np.mean(losses))


@torch.no_grad()
def next_sentences(
    model: Decoder, objective: Objective, rows_RN: NDArray[np.int64], specials: Specials, batch_rows: int
) -> float:
    """Share of rows of text of which the model tells rightly whether their halves belong together; half of them do.

    NaN where the objective does not ask.
    """
    if not (isinstance(objective, Masked) and objective.next_sentence):
        return float("nan")
    model.eval()
    device, right = next(model.parameters()).device, 0
    for batch in _corrupted(objective, rows_RN, specials, batch_rows):
        x_BD = model.hidden(batch.tokens_BT.to(device), batch.two_way)[:, 0]
        pair_B2 = model.head(x_BD)[:, [specials.following, specials.random]]
        wanted_B = batch.targets_BT[:, 0].to(device) == specials.random
        right += int((pair_B2.argmax(dim=1).bool() == wanted_B).sum())
    return right / len(rows_RN)


def _corrupted(
    objective: Objective, rows_RN: NDArray[np.int64], specials: Specials, batch_rows: int
) -> Iterator[Batch]:
    """Held-out rows of text as batches of an objective, the same ones for all of its models."""
    for step, first in enumerate(range(0, len(rows_RN), batch_rows)):
        rows_BN = rows_RN[first : first + batch_rows]
        all_BT = np.ones(rows_BN[:, 1:].shape, dtype=bool)
        yield objective.batch(rows_BN, all_BT, step_generator(HELD_OUT, step), specials)
