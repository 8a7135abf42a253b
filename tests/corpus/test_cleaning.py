"""Filters, duplicates, split and decontamination on documents made for each."""

import dataclasses
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scalinglab import config
from scalinglab.config import Study
from scalinglab.corpus.cleaning import DropReport, decontaminate, keep, split_of, text_hash
from scalinglab.corpus.documents import Document, read_documents, write_documents
from scalinglab.corpus.duplicates import contaminated, shingle_hashes
from scalinglab.corpus.filters import normalise
from tests.conftest import ROOT

CLEAN = config.load(ROOT / "presets/smoke.yaml").clean
WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omicron",
    "pi",
    "rho",
    "sigma",
    "tau",
]


def prose(seed: int, words: int = 400) -> str:
    rng = np.random.default_rng(seed)
    return " ".join(f"{rng.choice(WORDS)}{rng.integers(50)}x" for _ in range(words)) + "\n"


def kept(texts: list[str], **changes: object) -> tuple[list[Document], DropReport]:
    report = DropReport()
    options = dataclasses.replace(CLEAN, **{"max_line_chars": 100_000, **changes})
    raw = (Document("s", str(i), text) for i, text in enumerate(texts))
    return list(keep(raw, options, report)), report


@given(st.text())
def test_normalise_is_idempotent_and_clean(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert "\r" not in once
    assert "\u2581" not in once


def test_each_filter_is_counted_under_its_name() -> None:
    texts = ["short", prose(1, 50_000), prose(2), prose(2), "=" * 3000, "word " * 400 + "y" * 2000]
    documents, report = kept(texts, max_line_chars=3900, max_chars=100_000)
    assert [document.path for document in documents] == ["2"]
    assert report.documents["too_short"] == 1
    assert report.documents["long_line"] == 1
    assert report.documents["too_long"] == 1
    assert report.documents["exact_duplicate"] == 1
    assert report.documents["few_letters"] == 1
    assert report.documents["in"] == len(texts)
    assert kept(texts, max_line_chars=3900, max_chars=100_000, sample_share=0.001)[1].documents["not_sampled"] == 6


def test_near_duplicates_go_and_different_texts_stay() -> None:
    original = prose(1)
    edited = original.replace(original.split()[7], "changed", 1)
    documents, report = kept([original, edited, prose(2)])
    assert [document.path for document in documents] == ["0", "2"]
    assert report.documents["near_duplicate"] == 1


def test_split_follows_the_hash_at_the_asked_share() -> None:
    splits = [split_of(text_hash(str(i)), 0.2) for i in range(5000)]
    assert abs(splits.count("validation") / 5000 - 0.2) < 0.02


def test_contaminated_validation_document_is_dropped() -> None:
    own, copied = prose(1), prose(2)
    held_out = [("own", own), ("copied", copied)]
    assert contaminated(held_out, iter([prose(3) + copied]), words=5, share=0.5) == {"copied"}
    assert contaminated([], iter([own]), words=5, share=0.5) == set()


def test_decontaminate_counts_and_keeps_the_rest() -> None:
    documents = [
        Document("s", "t", prose(2) + prose(3), "train"),
        Document("s", "good", prose(1), "validation"),
        Document("s", "bad", prose(2), "validation"),
    ]
    report = DropReport()
    left = decontaminate(lambda split: (d for d in documents if d.split == split), CLEAN, report)
    assert [document.path for document in left] == ["t", "good"]
    assert report.documents["contaminated_validation"] == 1


def test_shingles_do_not_depend_on_place() -> None:
    text = prose(4, 60)
    assert set(shingle_hashes(text, 5)) <= set(shingle_hashes("before all that " + text, 5))


def test_documents_survive_the_file(tmp_path: Path, smoke: Study) -> None:
    documents = [Document("s", str(i), prose(i), "train" if i % 2 else "validation") for i in range(5)]
    assert write_documents(tmp_path / "d.parquet", documents) == 5
    assert list(read_documents(tmp_path / "d.parquet")) == documents
    assert [d.path for d in read_documents(tmp_path / "d.parquet", "train")] == ["1", "3"]
