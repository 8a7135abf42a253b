"""Accuracy and likelihood on in-context tasks against the number of examples, beside the Bayes optimum.

One pass over a document scores every shot count: the answer to pair k + 1 has seen k examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from scalinglab.errors import UserError
from scalinglab.model.decoder import Decoder
from scalinglab.skills.base import OUTPUT_0, Pairs, Skill


@dataclass(frozen=True)
class Answers:
    """Per document and pair, [N, S]: whether the likeliest token of the whole vocabulary is right, and -log p in nats."""

    correct_NS: NDArray[np.bool_]
    nll_NS: NDArray[np.float64]


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
        nll.append(F.cross_entropy(logits_BSV.transpose(1, 2), target_BS, reduction="none").double().cpu().numpy())
    return Answers(np.concatenate(correct), np.concatenate(nll))


def by_shots(skill: Skill, pairs: Pairs, answers: Answers, ks: Sequence[int]) -> list[dict[str, float | int | str]]:
    """One row a shot count k: the model's and the Bayes predictor's accuracy and nats, and chance.

    Raises UserError for a k beyond the document.
    """
    p_NSV = skill.bayes(pairs)
    gold_NS = np.take_along_axis(p_NSV, pairs.y_NS[..., None], axis=2)[..., 0]
    shots = pairs.x_NS.shape[1]
    if max(ks) >= shots:
        raise UserError(f"shots.ks: {max(ks)} examples do not fit; mixture.seq_len allows k up to {shots - 1}")
    return [
        {
            "skill": skill.name,
            "k": k,
            "items": len(gold_NS),
            "icl/acc": float(answers.correct_NS[:, k].mean()),
            "icl/nll": float(answers.nll_NS[:, k].mean()),
            "bayes/acc": float(p_NSV[:, k].max(axis=1).mean()),
            "bayes/nll": float(-np.log(gold_NS[:, k]).mean()),
            "chance": 1 / skill.n_outputs,
        }
        for k in ks
    ]


def exact_match(
    skill: Skill, pairs: Pairs, answers: Answers, lengths: Sequence[int]
) -> list[dict[str, float | int | str]]:
    """The last r answers of each document as one r-token output (Schaeffer et al. 2023, section 3).

    `exact/acc` counts an output only if every token is right, `token/acc` counts tokens, `token/nll` is their mean
    -log p: three views of the same answers. The Bayes columns are what the optimal predictor expects of the first two.
    """
    top_NS = skill.bayes(pairs).max(axis=2)
    if max(lengths) > top_NS.shape[1]:
        raise UserError(f"emergence.exact_lengths: {max(lengths)} answers do not fit into {top_NS.shape[1]} pairs")
    return [
        {
            "skill": skill.name,
            "length": r,
            "items": len(top_NS),
            "exact/acc": float(answers.correct_NS[:, -r:].all(axis=1).mean()),
            "token/acc": float(answers.correct_NS[:, -r:].mean()),
            "token/nll": float(answers.nll_NS[:, -r:].mean()),
            "bayes/exact": float(top_NS[:, -r:].prod(axis=1).mean()),
            "bayes/acc": float(top_NS[:, -r:].mean()),
            "chance": float((1 / skill.n_outputs) ** r),
        }
        for r in lengths
    ]
