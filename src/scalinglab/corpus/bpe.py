"""The BPE tokenizer: SentencePiece, byte fallback, exact round trip, and reserved symbols for the skills.

Skill symbols are SentencePiece control symbols: they have ids, but no text can produce them.
"""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sentencepiece as spm
from numpy.typing import NDArray

from scalinglab.errors import DamagedError, UserError

CONTROL = 3  # <unk>, <s>, </s> come first, then the skill symbols, then bytes and pieces
EOS = 2
NEWLINE = "\n"


def train(texts: Iterator[str], vocab_size: int, skill_symbols: int, sample_bytes: int) -> bytes:
    """Train on the first `sample_bytes` of text; return the serialized model.

    vocab_size counts text pieces (bytes included); the skill symbols come on top.
    Raises UserError where the text does not support so many pieces.
    """
    model = io.BytesIO()
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=_lines(texts, sample_bytes),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size + skill_symbols,
            byte_fallback=True,
            character_coverage=0.9995,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_digits=True,
            control_symbols=[f"<skill{i}>" for i in range(skill_symbols)],
            user_defined_symbols=[NEWLINE],
            max_sentence_length=100_000,
            input_sentence_size=0,
            num_threads=1,  # the merges do not depend on it; one job uses one core
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"tokenizer.vocab_size = {vocab_size}: the corpus does not support so many pieces; "
            f"lower it or add text (SentencePiece: {reason[-160:]})"
        ) from None
    return model.getvalue()


def _lines(texts: Iterator[str], sample_bytes: int) -> Iterator[str]:
    size = 0
    for text in texts:
        for line in text.split("\n"):
            if line:
                yield line
        size += len(text.encode())
        if size >= sample_bytes:
            return


def load(path: Path, digest: str) -> spm.SentencePieceProcessor:
    """The tokenizer in a model file whose SHA-256 is `digest` (the stage's report holds it).

    SentencePiece itself reads a file with other bytes without a word. Raises UserError where it is missing or damaged.
    """
    try:
        model = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `snakemake --cores 2 {path}`") from None
    if hashlib.sha256(model).hexdigest() != digest:
        raise DamagedError(f"{path} is damaged (its sha256 is not its report's); delete it and run snakemake again")
    return spm.SentencePieceProcessor(model_proto=model)


def token_bytes(tokenizer: spm.SentencePieceProcessor) -> NDArray[np.int64]:
    """UTF-8 bytes that each token id stands for, [V]; control symbols stand for none."""
    return np.array([_bytes_of(tokenizer, i) for i in range(tokenizer.vocab_size())])


def _bytes_of(tokenizer: spm.SentencePieceProcessor, token: int) -> int:
    if tokenizer.is_control(token) or tokenizer.is_unknown(token):
        return 0
    if tokenizer.is_byte(token):
        return 1
    return len(tokenizer.id_to_piece(token).replace("\u2581", " ").encode())
