"""The downstream task of objectives and architectures: which package a window of text is from, by its file's path."""

import hashlib
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from scalinglab import config
from scalinglab.config import PositiveFloat, PositiveInt, Study
from scalinglab.corpus import bpe, packing
from scalinglab.corpus.documents import read_documents
from scalinglab.errors import UserError
from scalinglab.files import read_json
from scalinglab.objectives.fine_tuning import Windows
from scalinglab.paths import Paths

TEST_SHARE, CHOOSE_SHARE = 0.25, 0.15  # of the files, for classification and for the choice of its rate


@dataclass(frozen=True, config=config.STRICT)
class FineTuning:
    """steps of rows windows, at the best of some rates, times the study's; train and test: windows a class, at most."""

    steps: PositiveInt
    rows: PositiveInt
    rates: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    train: PositiveInt
    test: PositiveInt


def windows(study: Study, tuning: FineTuning) -> Windows:
    """Windows of all documents, labelled by the folder that a document's path begins with: its distribution.

    By hash of their path, files are for the test, for the choice of a rate, or to train on. Raises UserError where
    there are not two classes with some of each.
    """
    paths, length = Paths(study.study), study.mixture.seq_len
    tokenizer = bpe.load(paths.tokenizer, read_json(paths.tokenizer_report)["sha256"])
    parts: dict[tuple[str, str], list[np.ndarray]] = {}
    for document in read_documents(paths.documents):
        label = f"{document.source}/{document.path.split('/')[0]}"
        number = int.from_bytes(hashlib.sha256(document.path.encode()).digest()[:4], "little") / 2**32
        rows = packing.text_rows(np.array(tokenizer.encode(document.text), np.int64), length)[:, :length]
        part = "test" if number < TEST_SHARE else "choose" if number < TEST_SHARE + CHOOSE_SHARE else "train"
        parts.setdefault((label, part), []).append(rows)
    found = {key: np.concatenate(rows) for key, rows in parts.items()}
    most = {"train": tuning.train, "choose": tuning.test, "test": tuning.test}
    labels = sorted({label for label, _ in found})
    names = tuple(label for label in labels if all(len(found.get((label, part), ())) for part in most))
    if len(names) < 2:
        raise UserError(
            f"classification: {len(names)} folders of the corpus have files to train on and to test "
            f"({', '.join(names)}); it takes two: add distributions or sources to download.sources"
        )
    chosen: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for part, limit in most.items():
        of_class = [_spread(found[name, part], limit) for name in names]
        numbers = np.repeat(np.arange(len(names)), [len(rows) for rows in of_class])
        chosen[part] = np.concatenate(of_class), numbers
    return Windows(*chosen["train"], *chosen["choose"], *chosen["test"], names)


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly from all."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)]
