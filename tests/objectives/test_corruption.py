"""Batches of every objective lose nothing of a row, hide nothing but targets, and are functions of the step."""

import numpy as np
import pytest
import torch

from scalinglab.errors import UserError
from scalinglab.objectives.base import Objective, ObjectiveBatches, Specials, step_generator
from scalinglab.objectives.masked import Masked
from scalinglab.objectives.reading import Causal, Prefix
from scalinglab.objectives.registry import objective
from scalinglab.objectives.spans import Spans, corrupted, random_spans
from scalinglab.training.data import Batch

SPECIALS = Specials(100)
ALL = [Causal(), Prefix(), Masked(), Masked(share=0.0), Masked(next_sentence=True), Spans(), Spans(suffixes=1.0)]
ROWS, LENGTH = 24, 41
TEXT = 16  # rows; of the others, every other target is an answer


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, (ROWS, LENGTH))


@pytest.fixture
def scored() -> np.ndarray:
    may = np.ones((ROWS, LENGTH - 1), dtype=bool)
    may[TEXT:, ::2] = False
    return may


def scored_of(batch: Batch) -> np.ndarray:
    flags = torch.zeros(batch.targets_BT.numel(), dtype=torch.bool)
    flags[batch.scored_N] = True
    return flags.view_as(batch.targets_BT).numpy()


def test_spans_are_as_many_and_as_long_as_asked() -> None:
    cut = random_spans(step_generator(0, 0), 500, 20, noise=6, spans=3)
    begins = np.diff(np.pad(cut, ((0, 0), (1, 0))).astype(int), axis=1) == 1
    assert (cut.sum(axis=1) == 6).all()
    assert (begins.sum(axis=1) == 3).all()
    assert not cut[:, 0].any()
    assert cut[:, -1].any(), "a row may end with a span"
    assert not cut[:, -1].all()
    every_place = cut[:, 1:].mean(axis=0)
    assert every_place.min() > 0.15


@pytest.mark.parametrize("noise", [0.15, 0.5])
def test_a_row_is_its_corrupted_text_with_what_was_cut_out(rows: np.ndarray, noise: float) -> None:
    scored = np.ones((ROWS, LENGTH - 1), dtype=bool)
    batch = Spans(noise=noise).batch(rows, scored, step_generator(0, 3), SPECIALS)
    for row, tokens, targets in zip(rows, batch.tokens_BT.tolist(), batch.targets_BT.tolist(), strict=True):
        source, written = tokens[: batch.two_way], [tokens[batch.two_way], *targets[batch.two_way :]]
        assert tokens[batch.two_way + 1 :] == written[1:-1], "the decoder reads what it has written"
        spans: dict[int, list[int]] = {}
        for token in written:
            if token >= SPECIALS.sentinel:
                current = spans.setdefault(token, [])
            else:
                current.append(token)
        assert spans.pop(written[-1]) == []
        assert list(spans) == [SPECIALS.sentinel + i for i in range(len(spans))]
        assert row.tolist() == [word for token in source for word in spans.get(token, [token])]


def test_a_hand_made_corruption() -> None:
    cut = np.array([[False, True, True, False, True]])
    source, written = corrupted(np.array([[1, 2, 3, 4, 5]]), cut, sentinel=90)
    assert source.tolist() == [[1, 90, 4, 91]]
    assert written.tolist() == [[90, 2, 3, 91, 5, 92]]


def test_sentinels_count_in_rows_of_text_only(rows: np.ndarray, scored: np.ndarray) -> None:
    batch = Spans().batch(rows, scored, step_generator(0, 0), SPECIALS)
    counted, sentinel = scored_of(batch), batch.targets_BT.numpy() >= SPECIALS.sentinel
    assert not counted[:, : batch.two_way].any()
    assert counted[:TEXT, batch.two_way :].all()
    assert not (counted & sentinel)[TEXT:].any()
    answers = {(row, token) for row in range(TEXT, ROWS) for token in rows[row, 2::2].tolist()}
    asked = {(row, int(batch.targets_BT[row, at])) for row, at in np.argwhere(counted) if row >= TEXT}
    assert asked
    assert asked <= answers


@pytest.mark.parametrize("kind", [Causal(), Prefix()])
def test_what_is_read_on_is_the_row(kind: Objective, rows: np.ndarray, scored: np.ndarray) -> None:
    batch = kind.batch(rows, scored, step_generator(0, 5), SPECIALS)
    assert np.array_equal(np.concatenate([batch.tokens_BT[:, :1], batch.targets_BT], axis=1), rows)
    assert np.array_equal(batch.tokens_BT, rows[:, :-1])
    assert np.array_equal(scored_of(batch), scored & (np.arange(LENGTH - 1) >= batch.two_way))


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_so_many_tokens_are_hidden_and_no_others(share: float, rows: np.ndarray, scored: np.ndarray) -> None:
    batch = Masked(share=share).batch(rows, scored, step_generator(0, 1), SPECIALS)
    hidden = scored_of(batch)
    assert np.array_equal(batch.tokens_BT.numpy() == SPECIALS.mask, hidden)
    assert np.array_equal(np.where(hidden, batch.targets_BT, batch.tokens_BT), rows)
    assert (hidden[:TEXT].sum(axis=1) == round(share * (LENGTH - 1))).all()
    assert (hidden[TEXT:].sum(axis=1) == round(share * (LENGTH - 1) / 2)).all()
    assert not hidden[TEXT:, 1::2].any(), "inputs of skills are noise"
    assert batch.two_way == LENGTH


def test_any_share_may_be_hidden(rows: np.ndarray) -> None:
    everything = np.ones((ROWS, LENGTH - 1), dtype=bool)
    counts = [
        scored_of(Masked(share=0.0).batch(rows, everything, step_generator(0, step), SPECIALS)).sum(axis=1)
        for step in range(40)
    ]
    assert np.mean(counts) == pytest.approx(0.5 * LENGTH, rel=0.05)
    assert np.min(counts) == 1
    assert np.max(counts) > 0.95 * (LENGTH - 1)


def test_the_next_sentence_is_the_rows_own_or_anothers(rows: np.ndarray, scored: np.ndarray) -> None:
    batch = Masked(next_sentence=True).batch(rows, scored, step_generator(0, 0), SPECIALS)
    half, read = LENGTH - LENGTH // 2, batch.targets_BT.numpy()[:, 1:]
    assert (batch.tokens_BT[:, 0] == SPECIALS.cls).all()
    own = (read[:, half:] == rows[:, half:]).all(axis=1)
    assert np.array_equal(batch.targets_BT[:, 0].numpy() == SPECIALS.following, own)
    assert 0 < own[:TEXT].sum() < TEXT
    assert own[TEXT:].all()
    assert np.array_equal(read[:, :half], rows[:, :half])
    others = {tuple(row[half:]) for row in rows[:TEXT]}
    assert {tuple(row[half:]) for row in read[:TEXT][~own[:TEXT]]} <= others
    assert scored_of(batch)[:, 0].tolist() == [True] * TEXT + [False] * (ROWS - TEXT)


@pytest.mark.parametrize("kind", ALL, ids=str)
def test_batches_are_a_function_of_seed_and_step(kind: Objective, rows: np.ndarray, scored: np.ndarray) -> None:
    def batches(seed: int) -> ObjectiveBatches:
        return ObjectiveBatches(rows.astype(np.uint16), scored, 8 * (LENGTH - 1), 1, kind, SPECIALS, seed)

    first, again, other = batches(1), batches(1), batches(2)
    later = first[2]
    first[0]
    for step in (1, 2):  # whatever was asked for before
        for name in ("tokens_BT", "targets_BT", "scored_N"):
            assert torch.equal(getattr(first[step], name), getattr(again[step], name))
        assert first[step].two_way == again[step].two_way
    assert torch.equal(later.tokens_BT, again[2].tokens_BT)
    if kind != Causal():
        assert any(
            first[step].two_way != other[step].two_way or not torch.equal(first[step].scored_N, other[step].scored_N)
            or not torch.equal(first[step].tokens_BT, other[step].tokens_BT)
            for step in range(3)
        )  # fmt: skip


def test_objectives_are_named_with_their_knobs() -> None:
    assert objective("causal") == Causal()
    assert objective({"name": "span", "noise": 0.5}) == Spans(noise=0.5)
    with pytest.raises(UserError, match=r"objective 'caual': unknown; known: causal, prefix, masked, span"):
        objective("caual")
    with pytest.raises(UserError, match=r"objective masked: shar: unknown key; did you mean 'share'"):
        objective({"name": "masked", "shar": 0.5})
    with pytest.raises(UserError, match=r"objective masked: share = 2: input should be less than or equal to 1"):
        objective({"name": "masked", "share": 2})


def test_too_many_spans_are_refused(rows: np.ndarray, scored: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"20 spans of 20 of 41 tokens; at most 15 fit"):
        Spans(noise=0.5, mean_span=1.0).batch(rows, scored, step_generator(0, 0), SPECIALS)
