"""download to encode on a folder of real Python files: what is written, and what bad input gets."""

import dataclasses
from pathlib import Path

import jinja2
import numpy as np
import pytest

from scalinglab.config import Study
from scalinglab.corpus import bpe
from scalinglab.corpus.documents import read_documents
from scalinglab.errors import UserError
from scalinglab.files import read_json
from scalinglab.paths import Paths
from scalinglab.skills import skill
from scalinglab.stages import clean, download, encode, tokenizer

JINJA = Path(jinja2.__file__).parent
PATHS = Paths("smoke")


def test_from_files_to_rows(text_study: Study) -> None:
    for stage in (download, clean, tokenizer, encode):
        stage.run(text_study)
    report = read_json(PATHS.of("clean", "report.json"))
    kept = report["out_train"]["documents"] + report["out_validation"]["documents"]
    dropped = sum(row["documents"] for name, row in report.items() if not name.startswith(("in", "out")))
    assert (
        kept + dropped
        == report["in"]["documents"]
        == read_json(PATHS.of("download", "sources.json"))["jinja"]["documents"]
    )

    manifest = read_json(PATHS.manifest)
    rows = np.load(PATHS.of("encode", "train.npy"), mmap_mode="r")
    scored = np.load(PATHS.of("encode", "train-scored.npy"), mmap_mode="r")
    assert rows.shape == (manifest["train_rows"], 65)
    assert rows.max() < manifest["vocab_size"]
    is_skill = np.isin(rows[:, 0], bpe.CONTROL + np.arange(3))
    assert is_skill.mean() == pytest.approx(text_study.mixture.skill_share, abs=0.01)
    assert scored[~is_skill].all()
    assert (scored[is_skill] == (np.arange(64) % 2 == 1)).all()
    first = rows[is_skill][0]
    expected = skill(text_study.mixture.skills[0]).documents("train", text_study.seed, 0, 1, 65)[0] + bpe.CONTROL
    assert first.tolist() == expected.tolist()

    text = "".join(document.text for document in read_documents(PATHS.documents, "train"))
    trained = bpe.load(PATHS.tokenizer, read_json(PATHS.tokenizer_report)["sha256"])
    piece = trained.decode(rows[~is_skill][0][1:].tolist())
    assert any(part in text for part in piece.split("\n") if len(part) > 10)
    sizes = bpe.token_bytes(trained)
    held_out = np.load(PATHS.of("encode", "validation.npy"))
    assert manifest["validation_bytes"] == sizes[held_out[:, 1:]].sum()


def test_nothing_left_after_cleaning_leaves_no_file(text_study: Study) -> None:
    text_study = dataclasses.replace(
        text_study, clean=dataclasses.replace(text_study.clean, min_chars=10**6, max_chars=10**7)
    )
    download.run(text_study)
    with pytest.raises(UserError, match="no train document is left after cleaning .* relax clean"):
        clean.run(text_study)
    assert not list(PATHS.of("clean", "").glob("*"))


def test_damaged_raw_file_is_named(text_study: Study) -> None:
    download.run(text_study)
    data = bytearray(PATHS.raw.read_bytes())
    data[len(data) // 3] ^= 0xFF
    data[-3] ^= 0xFF
    PATHS.raw.write_bytes(data)
    with pytest.raises(UserError, match=r"raw\.parquet is damaged"):
        clean.run(text_study)
