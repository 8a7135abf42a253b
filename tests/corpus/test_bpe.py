"""The tokenizer: exact round trip of any text, reserved symbols out of reach of text, honest errors."""

from pathlib import Path

import pytest
import sentencepiece as spm
from hypothesis import given
from hypothesis import strategies as st

from scalinglab.corpus import bpe
from scalinglab.errors import UserError
from scalinglab.files import sha256

SAMPLE = Path(bpe.__file__).read_text() + Path(__file__).read_text()

MODEL = bpe.train(iter([SAMPLE]), vocab_size=400, skill_symbols=64, sample_bytes=10**6)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> spm.SentencePieceProcessor:
    path = tmp_path_factory.mktemp("bpe") / "bpe.model"
    path.write_bytes(MODEL)
    return bpe.load(path, sha256(path))


@given(st.text().filter(lambda text: "\u2581" not in text))
def test_round_trip(tokenizer: spm.SentencePieceProcessor, text: str) -> None:
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert bpe.token_bytes(tokenizer)[tokens].sum() == len(text.encode())


def test_skill_symbols_are_reserved(tokenizer: spm.SentencePieceProcessor) -> None:
    assert tokenizer.vocab_size() == 464
    assert [tokenizer.piece_to_id(f"<skill{i}>") for i in range(64)] == list(range(bpe.CONTROL, bpe.CONTROL + 64))
    reserved = set(range(bpe.CONTROL + 64))
    assert not reserved & set(tokenizer.encode("a <skill0> b </s> <s> <unk>"))
    assert tokenizer.eos_id() == bpe.EOS


def test_vocabulary_beyond_the_corpus_is_one_line() -> None:
    with pytest.raises(UserError, match=r"tokenizer\.vocab_size = 5000: the corpus does not support"):
        bpe.train(iter(["hello world\n" * 3]), vocab_size=5000, skill_symbols=4, sample_bytes=10**6)


def test_missing_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        bpe.load(tmp_path / "none.model", "")


@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    """SentencePiece would read most of such files, and encode otherwise."""
    path = tmp_path_factory.getbasetemp() / "flipped.model"
    path.write_bytes(MODEL)
    expected = sha256(path)
    damaged = bytearray(MODEL)
    damaged[place % len(damaged)] ^= 1 << bit
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="is damaged"):
        bpe.load(path, expected)
