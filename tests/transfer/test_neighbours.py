"""The search is that of a plain loop, and a mixture of two distributions is one."""

import math

import numpy as np
import pytest
import torch

from scalinglab.model.decoder import Decoder
from scalinglab.transfer import neighbours


def test_the_nearest_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every size on the way, across blocks, and where there are fewer keys than neighbours."""
    monkeypatch.setattr(neighbours, "QUERIES", 4)
    monkeypatch.setattr(neighbours, "KEYS", 8)
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(n, 5, generator=generator) for n in (9, 50))
    sizes = (3, 20, 50)
    found = list(neighbours.nearest(queries, keys, sizes, k=6))
    assert [size for size, _, _ in found] == list(sizes)
    for size, far, place in found:
        for q in range(9):
            distances = [float(((queries[q].double() - key.double()) ** 2).sum()) for key in keys[:size]]
            nearest = np.argsort(distances)[:6]
            assert place[q, : len(nearest)].tolist() == nearest.tolist()
            assert far[q, : len(nearest)].tolist() == pytest.approx(np.array(distances)[nearest].tolist(), rel=1e-4)
            assert far[q, len(nearest) :].isinf().all()


def test_neighbours_vote_by_their_distance() -> None:
    """By hand: two of three neighbours have the target's value; one that does not exist has no vote."""
    far = torch.tensor([[0.0, 1.0, 2.0, math.inf]])
    values = torch.tensor([[7, 3, 7, 7]])
    p = neighbours.neighbour_probability(far, values, torch.tensor([7]), temperature=2.0)
    e = [1, math.exp(-0.5), math.exp(-1)]
    assert p.item() == pytest.approx((e[0] + e[2]) / sum(e))


def test_all_tokens_share_one_probability() -> None:
    generator = torch.Generator().manual_seed(0)
    far, values = torch.rand(3, 8, generator=generator), torch.randint(5, (3, 8), generator=generator)
    model = torch.rand(3, 5, generator=generator, dtype=torch.float64).softmax(1)
    total = torch.zeros(3, dtype=torch.float64)
    for token in range(5):
        voted = neighbours.neighbour_probability(far, values, torch.full((3,), token), 0.5)
        total += (-neighbours.mixed_nats(model[:, token], voted, 0.3)).exp()
    torch.testing.assert_close(total, torch.ones(3, dtype=torch.float64))


def test_without_weight_the_model_is_alone() -> None:
    p = torch.tensor([0.5, 0.25], dtype=torch.float64)
    assert torch.equal(neighbours.mixed_nats(p, torch.zeros(2, dtype=torch.float64), 0.0), -p.log())


def test_features_are_what_the_parts_read(tiny: Decoder) -> None:
    rows = np.random.default_rng(0).integers(0, 50, (5, 17)).astype(np.uint16)
    final = neighbours.features(tiny, rows, "final", batch_rows=2)
    tokens = torch.from_numpy(rows[:, :-1].astype(np.int64))
    torch.testing.assert_close(final, tiny.hidden(tokens).flatten(0, 1))
    read = neighbours.features(tiny, rows, "feed-forward", batch_rows=2)
    block = tiny.blocks[-1]
    x = tiny.blocks[0](tiny.embedding(tokens))
    x = x + block.attention(block.attention_input(x))  # type: ignore[operator]
    torch.testing.assert_close(read, block.feed_forward_norm(x).flatten(0, 1))  # type: ignore[operator]


def test_the_spread_is_the_mean_over_all_pairs() -> None:
    keys = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert neighbours.spread(keys) == pytest.approx(float(torch.cdist(keys, keys).square().mean()))


def test_contexts_are_told_apart_by_their_last_tokens() -> None:
    rows = np.array([[1, 2, 3, 4, 5, 6], [9, 2, 3, 4, 5, 7], [2, 1, 3, 4, 5, 6]], np.uint16)
    found = neighbours.grams(rows, 4)
    assert found.shape == (3, 2)
    assert found[0, 1] == found[1, 1] != found[2, 1]
    assert found[0, 0] != found[1, 0]
    assert found[0, 0] == (((1 << 16 | 2) << 16 | 3) << 16 | 4)
