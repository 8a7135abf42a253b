"""Skills: pure functions of (split, seed, index), and Bayes predictors against brute-force enumeration."""

import itertools

import numpy as np
import pytest

from scalinglab.errors import UserError
from scalinglab.skills import SKILLS, skill
from scalinglab.skills.base import SYMBOLS_USED, Pairs, uniforms
from scalinglab.skills.prior_mapping import CANONICAL, EPS, KEYS, LABELS, PI

NAMES = sorted(SKILLS)


@pytest.mark.parametrize("name", NAMES)
def test_documents_depend_on_their_index_alone(name: str) -> None:
    one = skill(name)
    whole = one.documents("train", 0, 0, 3000, 8)
    np.testing.assert_array_equal(one.documents("train", 0, 1000, 100, 8), whole[1000:1100])
    assert whole.shape == (3000, 17)
    assert whole.max() < SYMBOLS_USED
    assert set(whole[:, 0]) == {one.task_symbol}


@pytest.mark.parametrize("name", NAMES)
def test_splits_and_seeds_do_not_share_documents(name: str) -> None:
    one = skill(name)
    train = {row.tobytes() for row in one.documents("train", 0, 0, 2000, 16)}
    assert not train & {row.tobytes() for row in one.documents("heldout", 0, 0, 2000, 16)}
    assert not train & {row.tobytes() for row in one.documents("train", 1, 0, 2000, 16)}


@pytest.mark.parametrize("name", NAMES)
def test_bayes_is_a_calibrated_distribution(name: str) -> None:
    """Probabilities sum to one, and answers come as often as predicted."""
    one = skill(name)
    pairs = one.pairs("heldout", 3, 0, 4000, 12)
    p_NSV = one.bayes(pairs)
    np.testing.assert_allclose(p_NSV.sum(axis=2), 1, atol=1e-12)
    top = p_NSV.max(axis=2)
    right = p_NSV.argmax(axis=2) == pairs.y_NS
    assert np.all(p_NSV[np.arange(4000)[:, None], np.arange(12)[None], pairs.y_NS] > 0)
    np.testing.assert_allclose(right.mean(axis=0), top.mean(axis=0), atol=4 * 0.5 / np.sqrt(4000))


def test_recall_seen_rate_is_the_known_one() -> None:
    """For p symbols with uniform inputs the query was seen among k examples with chance 1 - (1 - 1/p)^k."""
    one = skill("recall")
    seen = one.bayes(one.pairs("heldout", 0, 0, 20_000, 20)).max(axis=2) == 1
    expected = 1 - (1 - 1 / 16) ** np.arange(20)
    np.testing.assert_allclose(seen.mean(axis=0), expected, atol=0.015)


def test_shift_bayes_against_enumeration() -> None:
    one = skill("shift")
    pairs = one.pairs("heldout", 0, 0, 50, 4)
    p_NSV = one.bayes(pairs)
    for n, s in itertools.product(range(50), range(4)):
        x, y = pairs.x_NS[n], pairs.y_NS[n]
        fitting = [c for c in range(16) if all((x[i] + c) % 16 == y[i] for i in range(s))]
        expected = np.bincount([(x[s] + c) % 16 for c in fitting], minlength=16) / len(fitting)
        np.testing.assert_allclose(p_NSV[n, s], expected, atol=1e-12)


def test_prior_mapping_bayes_against_enumeration() -> None:
    """Sum over the canonical map and every random map of the keys that occur."""
    one = skill("prior")
    rng = np.random.default_rng(0)
    pairs = Pairs(rng.integers(0, 3, (20, 5)), rng.integers(0, LABELS, (20, 5)))
    p_NSV = one.bayes(pairs)
    maps = [(PI, CANONICAL)]
    weight = (1 - PI) / LABELS**3
    for labels in itertools.product(range(LABELS), repeat=3):
        maps.append((weight, np.array([*labels, *[0] * (KEYS - 3)])))
    for n, s in itertools.product(range(20), range(5)):
        total = np.zeros(LABELS)
        for prior, mapping in maps:
            emit = (1 - EPS) * np.eye(LABELS)[mapping] + EPS / LABELS
            likelihood = prior * np.prod([emit[pairs.x_NS[n, i], pairs.y_NS[n, i]] for i in range(s)])
            total += likelihood * emit[pairs.x_NS[n, s]]
        np.testing.assert_allclose(p_NSV[n, s], total / total.sum(), atol=1e-12)


def test_uniforms_are_uniform() -> None:
    u = uniforms("x", "train", 0, 0, 5000, 3)
    assert abs(u.mean() - 0.5) < 0.02
    assert u.min() >= 0
    assert u.max() < 1


def test_unknown_skill_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="unknown skill 'juggling'.*prior, *|recall"):
        skill("juggling")
