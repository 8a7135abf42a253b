"""encode: the training mixture and the validation text as memory-mapped rows of token ids."""

import mmap
from collections.abc import Iterator

import numpy as np
from sentencepiece import SentencePieceProcessor

from scalinglab import shards
from scalinglab.config import Mixture, Study
from scalinglab.corpus import bpe, packing
from scalinglab.corpus.documents import read_documents
from scalinglab.errors import UserError
from scalinglab.files import atomic, read_json, write_json
from scalinglab.paths import Paths
from scalinglab.skills import skill
from scalinglab.skills.base import Skill

ROWS_PER_WRITE = 8192


def run(study: Study) -> None:
    paths, mixture = Paths(study.study), study.mixture
    skills = [skill(entry) for entry in mixture.skills] if mixture.skill_share else []
    validation_bytes, validation_rows = _encode_validation(paths, mixture)
    n_rows = _encode_training(paths, mixture, skills, study.seed)
    write_json(
        paths.manifest,
        {
            "vocab_size": _tokenizer(paths).vocab_size(),
            "skill_offset": bpe.CONTROL,
            "seq_len": mixture.seq_len,
            "train_rows": n_rows,
            "train_tokens": n_rows * mixture.seq_len,
            "validation_rows": validation_rows,
            "validation_tokens": validation_rows * mixture.seq_len,
            "validation_bytes": validation_bytes,
            # The data by content: what was trained on them carries these on.
            "sha256": shards.checksums(paths.of("encode", "")),
        },
    )


def _tokenizer(paths: Paths) -> SentencePieceProcessor:
    return bpe.load(paths.tokenizer, read_json(paths.tokenizer_report)["sha256"])


def _token_stream(paths: Paths, split: str) -> Iterator[np.ndarray]:
    """Token ids of each document of a split, each ended by EOS."""
    tokenizer = _tokenizer(paths)
    for document in read_documents(paths.documents, split):
        yield np.array([*tokenizer.encode(document.text), bpe.EOS], dtype=np.uint16)


def _encode_validation(paths: Paths, mixture: Mixture) -> tuple[int, int]:
    """Write held-out rows spread evenly over the split; return the UTF-8 bytes of their targets, and their number."""
    stream = np.concatenate(list(_token_stream(paths, "validation")))
    rows = packing.text_rows(stream, mixture.seq_len)
    if not len(rows):
        raise UserError("the validation split is shorter than one row; raise clean.validation_share or add text")
    wanted = min(len(rows), mixture.validation_tokens // mixture.seq_len)
    rows = rows[np.linspace(0, len(rows) - 1, wanted).astype(int)]
    with atomic(paths.of("encode", "validation.npy")) as temporary, open(temporary, "wb") as out:
        np.save(out, rows)
    sizes = bpe.token_bytes(_tokenizer(paths))
    return int(sizes[rows[:, 1:]].sum()), len(rows)


def _encode_training(paths: Paths, mixture: Mixture, skills: list[Skill], seed: int) -> int:
    """Write the mixture in training order; return its rows."""
    stream = paths.of("encode", ".tokens.tmp")
    stream.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(stream, "wb") as out:
            for part in _token_stream(paths, "train"):
                out.write(part.tobytes())
        with open(stream, "rb") as tokens:
            return _write_mixture(paths, mixture, skills, seed, mmap.mmap(tokens.fileno(), 0, access=mmap.ACCESS_READ))
    finally:
        stream.unlink(missing_ok=True)


def _write_mixture(paths: Paths, mixture: Mixture, skills: list[Skill], seed: int, tokens: mmap.mmap) -> int:
    """Rows of text in a fixed random order among skill documents; tokens: the text, as uint16."""
    seq_len = mixture.seq_len
    text = packing.text_rows(np.frombuffer(tokens, dtype=np.uint16), seq_len)
    if not len(text):
        raise UserError("the training split is shorter than one row; add text to download.sources")
    # Neighbouring windows of one file would share a batch; a fixed permutation spreads them.
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(text))
    n_rows = packing.mixture_rows(len(text), mixture.skill_share)
    is_skill = packing.is_skill_row(n_rows, mixture.skill_share)
    skill_number = np.cumsum(is_skill) - 1
    text_number = np.cumsum(~is_skill) - 1
    with (
        atomic(paths.of("encode", "train.npy")) as rows_path,
        atomic(paths.of("encode", "train-scored.npy")) as scored_path,
        open(rows_path, "wb") as rows,
        open(scored_path, "wb") as scored,
    ):
        shards.write_header(rows, np.uint16, (n_rows, seq_len + 1))
        shards.write_header(scored, np.bool_, (n_rows, seq_len))
        for start in range(0, n_rows, ROWS_PER_WRITE):
            span = slice(start, min(start + ROWS_PER_WRITE, n_rows))
            here = is_skill[span]
            block = np.empty((len(here), seq_len + 1), dtype=np.uint16)
            block[~here] = text[order[text_number[span][~here]]]
            counts = np.ones((len(here), seq_len), dtype=bool)
            numbers = skill_number[span][here]  # the skills take turns
            for i, one in enumerate(skills):
                own = np.flatnonzero(here)[numbers % len(skills) == i]
                if len(own):
                    first = int(numbers[numbers % len(skills) == i][0]) // len(skills)
                    documents = one.documents("train", seed, first, len(own), seq_len + 1)
                    block[own] = documents + np.uint16(bpe.CONTROL)
                    if mixture.skill_loss == "answers":
                        counts[own] = packing.answer_targets(one, documents)
            rows.write(block.tobytes())
            scored.write(counts.tobytes())
            tokens.madvise(mmap.MADV_DONTNEED)  # rows come from everywhere: all of it would stay in memory
    return n_rows
