"""download to encode on a folder of real Python files: what is written, and what bad input gets."""

import dataclasses
from pathlib import Path

import jinja2
import numpy as np
import pytest

from scalinglab.config import Source, Study
from scalinglab.corpus import bpe
from scalinglab.corpus.documents import read_documents
from scalinglab.corpus.sources import folder_digest
from scalinglab.errors import UserError
from scalinglab.files import read_json
from scalinglab.paths import Paths
from scalinglab.skills import skill
from scalinglab.stages import clean, download, encode, tokenizer

JINJA = Path(jinja2.__file__).parent
PATHS = Paths("smoke")


@pytest.fixture
def study(smoke: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(tmp_path)
    digest = folder_digest(JINJA, ("**/*.py",))
    source = Source("jinja", "local", path=str(JINJA), sha256=digest)
    return dataclasses.replace(smoke, download=dataclasses.replace(smoke.download, sources=(source,)))


def test_from_files_to_rows(study: Study) -> None:
    for stage in (download, clean, tokenizer, encode):
        stage.run(study)
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
    assert is_skill.mean() == pytest.approx(study.mixture.skill_share, abs=0.01)
    assert scored[~is_skill].all()
    assert (scored[is_skill] == (np.arange(64) % 2 == 1)).all()
    first = rows[is_skill][0]
    expected = skill(study.mixture.skills[0]).documents("train", study.seed, 0, 1, 65)[0] + bpe.CONTROL
    assert first.tolist() == expected.tolist()

    text = "".join(document.text for document in read_documents(PATHS.documents, "train"))
    trained = bpe.load(PATHS.tokenizer, read_json(PATHS.tokenizer_report)["sha256"])
    piece = trained.decode(rows[~is_skill][0][1:].tolist())
    assert any(part in text for part in piece.split("\n") if len(part) > 10)
    sizes = bpe.token_bytes(trained)
    held_out = np.load(PATHS.of("encode", "validation.npy"))
    assert manifest["validation_bytes"] == sizes[held_out[:, 1:]].sum()


def test_nothing_left_after_cleaning_leaves_no_file(study: Study) -> None:
    study = dataclasses.replace(study, clean=dataclasses.replace(study.clean, min_chars=10**6, max_chars=10**7))
    download.run(study)
    with pytest.raises(UserError, match="no train document is left after cleaning .* relax clean"):
        clean.run(study)
    assert not list(PATHS.of("clean", "").glob("*"))


def test_damaged_raw_file_is_named(study: Study) -> None:
    download.run(study)
    data = bytearray(PATHS.raw.read_bytes())
    data[len(data) // 3] ^= 0xFF
    data[-3] ^= 0xFF
    PATHS.raw.write_bytes(data)
    with pytest.raises(UserError, match=r"raw\.parquet is damaged"):
        clean.run(study)
