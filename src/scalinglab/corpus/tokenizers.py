"""Kinds of tokenizers over UTF-8 bytes, by name: all cut words alike and differ only in how they cut them up.

From the `tokenizers` library; the study itself uses SentencePiece (bpe.py).
"""

import json
from collections.abc import Callable, Iterable, Iterator

from tokenizers import Tokenizer, models, trainers
from tokenizers.pre_tokenizers import ByteLevel

from scalinglab.errors import UserError

UNKNOWN = "\x00unknown\x00"  # special tokens are looked for in text, so that it must be none
CONTINUES = "##"  # what WordPiece writes before a piece that does not begin a word
# Every byte that UTF-8 has, in one word: so that WordPiece knows it inside words as well.
EVERY_BYTE = "".join(map(chr, [*range(0x80, 0x800), *range(0x800, 0x11_0000, 0x1000)])).encode("utf-8", "ignore")
BYTES = 256


def _bpe(size: int) -> tuple[Tokenizer, trainers.Trainer]:
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    return Tokenizer(models.BPE()), trainer


def _wordpiece(size: int) -> tuple[Tokenizer, trainers.Trainer]:
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, initial_alphabet=ByteLevel.alphabet(), special_tokens=[UNKNOWN], show_progress=False
    )
    return Tokenizer(models.WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=10_000)), trainer


def _unigram(size: int) -> tuple[Tokenizer, trainers.Trainer]:
    trainer = trainers.UnigramTrainer(
        vocab_size=size, initial_alphabet=ByteLevel.alphabet(), special_tokens=[UNKNOWN], unk_token=UNKNOWN,
        show_progress=False,
    )  # fmt: skip
    return Tokenizer(models.Unigram()), trainer


def _bytes(size: int) -> tuple[Tokenizer, trainers.Trainer]:
    return _bpe(BYTES)


KINDS: dict[str, Callable[[int], tuple[Tokenizer, trainers.Trainer]]] = {
    "bytes": _bytes,  # 256 of them, whatever size is asked for
    "bpe": _bpe,  # Sennrich et al. 2016
    "unigram": _unigram,  # Kudo 2018
    "wordpiece": _wordpiece,  # Schuster & Nakajima 2012
}


def train(kind: str, size: int, texts: Iterable[str]) -> Tokenizer:
    """A tokenizer with a vocabulary of about that size. Raises UserError where the kind is not known."""
    if kind not in KINDS:
        raise UserError(f"tokenizer kind {kind!r}: unknown; known: {', '.join(KINDS)}")
    tokenizer, trainer = KINDS[kind](size)
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)

    def fed() -> Iterator[str]:
        yield from texts
        if kind == "wordpiece":
            yield EVERY_BYTE.decode("utf-8")

    tokenizer.train_from_iterator(fed(), trainer)
    return tokenizer


def bytes_of(tokenizer: Tokenizer) -> list[int]:
    """UTF-8 bytes that each token id stands for; the unknown one for none."""
    sizes = []
    for i in range(tokenizer.get_vocab_size()):
        piece = str(tokenizer.id_to_token(i))
        if isinstance(tokenizer.model, models.WordPiece):
            piece = piece.removeprefix(CONTINUES)
        sizes.append(0 if piece == UNKNOWN else len(piece))
    return sizes


def merges_of(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """The merges of a byte-pair encoding, in the order in which they were learnt."""
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]
