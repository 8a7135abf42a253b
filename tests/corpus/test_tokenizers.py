"""Kinds of tokenizers, and byte-pair encoding in its plainest form."""

from collections import Counter

import pytest
from tokenizers.pre_tokenizers import ByteLevel

from scalinglab.corpus import tokenizers
from scalinglab.corpus.merges import apply_merges, learn_merges
from scalinglab.errors import UserError
from tests.conftest import ROOT

TEXT = "".join(path.read_text() for path in sorted((ROOT / "src/scalinglab/corpus").glob("*.py")))


def test_merges_by_hand() -> None:
    """Sennrich et al. 2016, figure 1: es, est, lo, low."""
    words = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    assert learn_merges(words, 4) == [("e", "s"), ("es", "t"), ("l", "o"), ("lo", "w")]
    assert apply_merges("lowest", learn_merges(words, 4)) == ("low", "est")
    assert learn_merges({"aaaa": 1}, 9) == [("a", "a"), ("aa", "aa")]


def test_merges_are_those_of_the_library() -> None:
    words = Counter(word for word, _ in ByteLevel(add_prefix_space=False).pre_tokenize_str(TEXT))
    fast = tokenizers.train("bpe", tokenizers.BYTES + 100, [TEXT])
    assert learn_merges(words, 100) == tokenizers.merges_of(fast)
    known = {"".join(pair) for pair in tokenizers.merges_of(fast)} | set(ByteLevel.alphabet())
    for word in list(words)[:200]:
        pieces = apply_merges(word, tokenizers.merges_of(fast))
        assert set(pieces) <= known
        assert list(pieces) == [piece.value for piece in fast.model.tokenize(word)]


@pytest.mark.parametrize("kind", tokenizers.KINDS)
def test_pieces_stand_for_every_byte(kind: str) -> None:
    tokenizer = tokenizers.train(kind, 600, [TEXT])
    sizes = tokenizers.bytes_of(tokenizer)
    for text in (TEXT, "## a comment", "naïve, 日本語, Ωμέγα\n\n", tokenizers.UNKNOWN.strip("\x00")):
        assert sum(sizes[i] for i in tokenizer.encode(text).ids) == len(text.encode()), text
    assert tokenizer.get_vocab_size() == (256 if kind == "bytes" else 600)


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="'morse': unknown; known: bytes, bpe, unigram, wordpiece"):
        tokenizers.train("morse", 600, [TEXT])
