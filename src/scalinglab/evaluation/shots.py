"""Accuracy and likelihood on in-context tasks against the number of examples, beside the Bayes optimum.

One pass over a document scores every shot count: the answer to pair k + 1 has seen k examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scalinglab.errors import UserError
from scalinglab.evaluation.text import negative_log_likelihood
from scalinglab.model.decoder import Decoder
from scalinglab.skills.base import OUTPUT_0, Pairs, Skill


@dataclass(frozen=True)
class Answers:
    """Per document and pair: whether the likeliest token of the whole vocabulary is right, and -log p in nats."""

    correct_NS: NDArray[np.bool_]
    nll_NS: NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """What the Bayes predictor makes of the same documents.

    top_NS is its largest probability, nll_NS -log p of the answer, correct_NS whether its likeliest answer is right.
    blind_NS is that of the optimum which never looks at the examples. Both are counted on the documents themselves:
    answers of one document share its map, so products of probabilities would understate how often all are right.
    """

    top_NS: NDArray[np.float64]
    nll_NS: NDArray[np.float64]
    correct_NS: NDArray[np.bool_]
    blind_NS: NDArray[np.bool_]

    @property
    def floor(self) -> float:
        """Its expected accuracy at zero examples: a uniform guess, or the prior where a task has one."""
        return float(self.top_NS[:, 0].mean())


def reference(skill: Skill, pairs: Pairs) -> Reference:
    """The Bayes predictor's scores on documents of a skill."""
    p_NSV = skill.bayes(pairs)
    gold_NS = np.take_along_axis(p_NSV, pairs.y_NS[..., None], axis=2)[..., 0]
    alone = Pairs(pairs.x_NS.reshape(-1, 1), np.zeros((pairs.x_NS.size, 1), dtype=np.int64))
    blind_NS = skill.bayes(alone)[:, 0].argmax(axis=1).reshape(pairs.x_NS.shape)
    return Reference(p_NSV.max(axis=2), -np.log(gold_NS), p_NSV.argmax(axis=2) == pairs.y_NS, blind_NS == pairs.y_NS)


@torch.no_grad()
def answer(model: Decoder, skill: Skill, pairs: Pairs, offset: int, batch_rows: int) -> Answers:
    """Score every answer of the documents. `offset` is the token id of skill symbol 0."""
    model.eval()
    device = next(model.parameters()).device
    rows = torch.from_numpy(skill.rows(pairs).astype(np.int64) + offset)
    target_NS = torch.from_numpy(pairs.y_NS + OUTPUT_0 + offset)
    correct, nll = [], []
    for start in range(0, len(rows), batch_rows):
        tokens_BT = rows[start : start + batch_rows, :-1].to(device)
        target_BS = target_NS[start : start + batch_rows].to(device)
        # Position 2j + 1 holds x(j+1); what it predicts is the answer.
        logits_BSV = model.head(model.hidden(tokens_BT)[:, 1::2])
        correct.append((logits_BSV.argmax(dim=-1) == target_BS).cpu().numpy())
        nll.append(negative_log_likelihood(logits_BSV, target_BS).double().cpu().numpy())
    return Answers(np.concatenate(correct), np.concatenate(nll))


Row = dict[str, float | int | str]
SHOT_COLUMNS = ("skill", "k", "items", "icl/acc", "icl/nll", "bayes/acc", "bayes/nll", "floor")
EXACT_COLUMNS = (
    "skill",
    "length",
    "items",
    "exact/acc",
    "token/acc",
    "token/nll",
    "bayes/exact",
    "bayes/acc",
    "floor",
    "token/floor",
)


def by_shots(name: str, answers: Answers, bayes: Reference, ks: Sequence[int]) -> list[Row]:
    """One row a shot count k: accuracy and nats of the model and of the Bayes predictor, and the latter's floor.

    Raises UserError for a k beyond the document.
    """
    items, shots = answers.correct_NS.shape
    if max(ks) >= shots:
        raise UserError(f"shots.ks: {max(ks)} examples do not fit; mixture.seq_len allows k up to {shots - 1}")
    return [
        {
            "skill": name,
            "k": k,
            "items": items,
            "icl/acc": float(answers.correct_NS[:, k].mean()),
            "icl/nll": float(answers.nll_NS[:, k].mean()),
            "bayes/acc": float(bayes.top_NS[:, k].mean()),
            "bayes/nll": float(bayes.nll_NS[:, k].mean()),
            "floor": bayes.floor,
        }
        for k in ks
    ]


def exact_match(name: str, answers: Answers, bayes: Reference, lengths: Sequence[int]) -> list[Row]:
    """The last r answers of each document as one r-token output (Schaeffer et al. 2023, section 3).

    `exact/acc` counts an output only if every token is right, `token/acc` counts tokens, `token/nll` is their mean
    -log p: three views of the same answers. `bayes/exact` and `floor` are the exact match of the optimal predictor with
    and without the examples, `bayes/acc` and `token/floor` what it expects a token.
    """
    items, shots = answers.correct_NS.shape
    if max(lengths) > shots:
        raise UserError(f"emergence.exact_lengths: {max(lengths)} answers do not fit into {shots} pairs")
    return [
        {
            "skill": name,
            "length": r,
            "items": items,
            "exact/acc": float(answers.correct_NS[:, -r:].all(axis=1).mean()),
            "token/acc": float(answers.correct_NS[:, -r:].mean()),
            "token/nll": float(answers.nll_NS[:, -r:].mean()),
            "bayes/exact": float(bayes.correct_NS[:, -r:].all(axis=1).mean()),
            "bayes/acc": float(bayes.top_NS[:, -r:].mean()),
            "floor": float(bayes.blind_NS[:, -r:].all(axis=1).mean()),
            "token/floor": bayes.floor,
        }
        for r in lengths
    ]
