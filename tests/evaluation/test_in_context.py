"""In-context learning on text: against hand computation, and a head that is known to look back."""

import dataclasses

import numpy as np
import pytest
import torch

from scalinglab import config
from scalinglab.evaluation.in_context import (
    ROLES,
    attention_weights,
    by_position,
    completes_bigram_of,
    even_on_pairs,
    on_repeats,
    own_half,
    prefix_matching,
    repeated_rows,
    roles_on_pairs,
    with_foreign_half,
)
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.model.shape import shape_of


def test_bigrams_of_the_first_part() -> None:
    first, rest = np.array([[1, 2, 3, 1]], dtype=np.uint16), np.array([[9, 1, 2, 4, 3, 1]], dtype=np.uint16)
    assert completes_bigram_of(first, rest).tolist() == [[False, True, False, False, True]]


def test_losses_by_position() -> None:
    losses = np.array([[8.0, 7, 6, 5, 4, 3, 2, 1]])
    table = {(row["measure"], row["at"]): row["value"] for row in by_position(losses)}
    assert table["position", "2"] == 6
    assert table["gain", "8"] == 1.5 - 7.5


def test_only_use_of_the_own_past_is_counted() -> None:
    """A model of bigram frequencies saves nothing by its own past; one that copies saves on its bigrams alone."""
    rows = np.random.default_rng(0).integers(0, 6, (40, 17)).astype(np.uint16)
    foreign = with_foreign_half(rows)
    assert (foreign[:, 8:] == rows[:, 8:]).all()
    assert (foreign[:, :8] == rows[(np.arange(40) + 20) % 40, :8]).all()
    frequent = np.broadcast_to(np.linspace(1, 2, 16), (40, 16))
    assert {row["value"] for row in own_half(frequent, frequent, rows)} == {0.0}
    copied = completes_bigram_of(rows[:, :8], rows[:, 12:])
    saved = np.zeros((40, 16))
    saved[:, 12:] = 0.7 * copied
    table = {row["at"]: row for row in own_half(frequent - saved, frequent, rows)}
    assert table["seen"]["value"] == pytest.approx(0.7)
    assert table["new"]["value"] == pytest.approx(0)
    assert table["seen"]["items"] + table["new"]["items"] == 40 * 4


@pytest.mark.parametrize("place", ["pre", "post"])
def test_the_attention_looked_at_is_the_one_that_acts(options: config.Model, place: str) -> None:
    """Wherever the norms stand: each layer's weights are those of what it is given in a forward pass."""
    changed = dataclasses.replace(options, head_dim=8, norm_place=place, token_shift=True)
    model = Decoder(shape_of("d16", changed, vocab_size=50, seq_len=16), changed)
    initialise(model, seed=0)
    given: list[torch.Tensor] = []
    for block in model.blocks:
        torch.nn.init.normal_(block.shift.mix_D)
        block.attention.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    rows = repeated_rows(16, range(10, 50), rows=3)[:, :16]
    looked = attention_weights(model, rows)
    given.clear()
    model.hidden(torch.from_numpy(rows.astype(np.int64)))
    for weights, block, x_BTD in zip(looked, model.blocks, given, strict=True):
        torch.testing.assert_close(weights, block.attention.weights(x_BTD))


def test_prefix_matching_sees_an_induction_head(tiny: Decoder) -> None:
    """A head that only looks back `period - 1` places scores one; untrained heads do not."""
    rows = repeated_rows(16, range(10, 50), rows=3)
    assert (rows[:, :8] == rows[:, 8:16]).all()
    attention = tiny.blocks[0].attention
    perfect = torch.zeros(1, 1, 16, 16)
    for t in range(16):
        perfect[0, 0, t, max(0, t - 7)] = 1
    before = prefix_matching(tiny, rows[:, :16], 8)
    attention.weights = lambda x_BTD: perfect.expand(len(x_BTD), attention.n_head, -1, -1)
    after = prefix_matching(tiny, rows[:, :16], 8)
    assert before[0].max() < 0.5
    np.testing.assert_allclose(after[0], 1)
    np.testing.assert_allclose(after[1], before[1])
    table = on_repeats(tiny, 16, range(10, 50), 4)
    assert {row["at"] for row in table if row["measure"] == "prefix"} >= {"0.0", "1.0"}


def test_roles_on_pairs_are_sums_over_earlier_copies() -> None:
    """Against loops over documents, keys and earlier keys."""
    rng = np.random.default_rng(0)
    x_NS = rng.integers(0, 3, (2, 5))
    weights = torch.rand(2, 4, 10, 10, generator=torch.Generator().manual_seed(0)).tril()
    rows: list[tuple[float, float, float]] = []
    for n, s in np.ndindex(2, 5):
        earlier = [r for r in range(s) if x_NS[n, r] == x_NS[n, s]]
        if earlier:
            from_key = weights[n, 1, 1 + 2 * s].tolist()
            copies, answers = (sum(from_key[place + 2 * r] for r in earlier) for place in (1, 2))
            rows.append((from_key[2 * s], copies, answers))
    found = roles_on_pairs(weights, x_NS)
    assert tuple(found) == ROLES
    assert [by_head[1] for by_head in found.values()] == pytest.approx(np.mean(rows, axis=0))


def test_a_head_that_reads_evenly_gives_the_even_share() -> None:
    x_NS = np.array([[0, 1, 0, 1, 1], [2, 2, 2, 0, 1]])
    even = torch.ones(2, 1, 10, 10).tril() / torch.arange(1, 11)[:, None]
    found = roles_on_pairs(even, x_NS)
    assert found["duplicate"] == pytest.approx(even_on_pairs(x_NS))
    assert found["induction"] == pytest.approx(even_on_pairs(x_NS))
    # Copies of keys that came before, to the places that can be seen: of document 1, then of document 2.
    assert even_on_pairs(x_NS) == pytest.approx(np.mean([1 / 6, 1 / 8, 2 / 10, 1 / 4, 2 / 6]))
