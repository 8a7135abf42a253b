"""Scoring: against hand computation, and a perfect and an ignorant model."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scalinglab.errors import UserError
from scalinglab.evaluation.shots import answer, by_shots, exact_match, reference
from scalinglab.evaluation.text import bits_per_byte, token_losses
from scalinglab.model.decoder import Decoder
from scalinglab.skills import SKILLS, skill
from scalinglab.skills.base import OUTPUT_0


def test_token_losses_do_not_depend_on_the_batch(tiny: Decoder) -> None:
    torch.nn.init.normal_(tiny.head.weight)
    rows = np.random.default_rng(0).integers(0, 50, (7, 17)).astype(np.uint16)
    whole = token_losses(tiny, rows, 7)
    np.testing.assert_allclose(token_losses(tiny, rows, 2), whole, rtol=1e-5)
    block = torch.from_numpy(rows.astype(np.int64))
    with torch.no_grad():
        expected = F.cross_entropy(tiny.logits(block[:, :-1]).flatten(0, 1), block[:, 1:].flatten())
    assert whole.mean() == pytest.approx(expected.item(), rel=1e-5)


def test_bits_per_byte() -> None:
    assert bits_per_byte(8 * np.log(2) * 100, 100) == pytest.approx(8.0)


class Oracle(torch.nn.Module):
    """Answers every document as the Bayes predictor does, through the decoder's interface."""

    def __init__(self, name: str, documents: int) -> None:
        super().__init__()
        one = skill(name)
        self.pairs = one.pairs("heldout", 0, 0, documents, 32)
        p_NSV = one.bayes(self.pairs)
        self.parameter = torch.nn.Parameter(torch.zeros(1))
        logits = np.full((documents, 64, 64), -30.0)
        logits[:, 1::2, OUTPUT_0 : OUTPUT_0 + p_NSV.shape[2]] = np.log(np.maximum(p_NSV, 1e-12))
        self.logits = torch.from_numpy(logits)
        self.head = torch.nn.Identity()

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        return self.logits


@pytest.mark.parametrize("name", sorted(SKILLS))
def test_the_bayes_predictor_scores_as_its_own_reference(name: str) -> None:
    one, oracle = skill(name), Oracle(name, 800)
    answers = answer(oracle, one, oracle.pairs, 0, 800)  # type: ignore[arg-type]
    bayes = reference(one, oracle.pairs)
    for row in by_shots(name, answers, bayes, [0, 1, 8, 30]):
        assert row["icl/acc"] == pytest.approx(row["bayes/acc"], abs=0.06)
        assert row["icl/nll"] == pytest.approx(row["bayes/nll"], abs=0.01)
    for row in exact_match(name, answers, bayes, [1, 4]):
        assert row["exact/acc"] == pytest.approx(row["bayes/exact"], abs=0.06)
        assert row["exact/acc"] <= row["token/acc"]


def test_exact_match_of_one_answer_is_accuracy() -> None:
    oracle = Oracle("recall", 100)
    answers = answer(oracle, skill("recall"), oracle.pairs, 0, 100)  # type: ignore[arg-type]
    (row,) = exact_match("recall", answers, reference(skill("recall"), oracle.pairs), [1])
    assert row["exact/acc"] == row["token/acc"]


def test_shots_beyond_the_context_are_refused() -> None:
    oracle = Oracle("shift", 4)
    answers = answer(oracle, skill("shift"), oracle.pairs, 0, 4)  # type: ignore[arg-type]
    bayes = reference(skill("shift"), oracle.pairs)
    with pytest.raises(UserError, match=r"shots\.ks: 32 examples do not fit"):
        by_shots("shift", answers, bayes, [0, 32])
    with pytest.raises(UserError, match=r"exact_lengths: 33"):
        exact_match("shift", answers, bayes, [33])


def test_the_blind_optimum_of_prior_mapping_keeps_the_canonical_map() -> None:
    """Half of the documents share one map: without examples, r answers are right far more often than floor ** r."""
    one = skill("prior")
    bayes = reference(one, one.pairs("heldout", 0, 0, 4000, 32))
    blind = bayes.blind_NS[:, -8:].all(axis=1).mean()
    assert blind == pytest.approx(0.5 * (0.9 + 0.1 / 4) ** 8, abs=0.03)
    assert bayes.correct_NS[:, -8:].all(axis=1).mean() > blind
