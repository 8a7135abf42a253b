"""The four kinds of source, and what a missing or broken one says."""

import hashlib
import importlib.metadata
from pathlib import Path

import pandas as pd
import pytest

from scalinglab.config import Source
from scalinglab.corpus.sources import folder_digest, read_source
from scalinglab.errors import UserError
from tests.conftest import ROOT

JINJA = f"jinja2=={importlib.metadata.version('jinja2')}"
MIRROR = ROOT.parent / "shared/mirror"


def test_installed_reads_pinned_distributions() -> None:
    documents = list(read_source(Source("python", "installed", distributions=(JINJA,))))
    assert "jinja2/environment.py" in {document.path for document in documents}
    assert [d.path for d in documents] == sorted(d.path for d in documents)


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        ("no-such-thing==1", "no-such-thing==1 is not installed"),
        ("jinja2==0.1", "jinja2==0.1 is asked for"),
        ("jinja2", "not pinned"),
    ],
)
def test_installed_names_what_is_wrong(distribution: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(read_source(Source("python", "installed", distributions=(distribution,))))


def test_local_folder_and_encoding(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("b")
    (tmp_path / "a.py").write_text("é")

    def source(**options: str) -> Source:
        return Source("mine", "local", path=str(tmp_path), sha256=folder_digest(tmp_path, ("**/*.py",)), **options)

    before = source()
    assert [document.text for document in read_source(before)] == ["é", "b"]
    (tmp_path / "c.py").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="sha256 is .* give [0-9a-f]{64}"):
        list(read_source(before))
    with pytest.raises(UserError, match=r"c\.py: not UTF-8 \(byte 0xff at 0\)"):
        list(read_source(source()))
    assert [document.text for document in read_source(source(encoding_errors="skip"))] == ["é", "b"]


def test_missing_and_empty_local(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        list(read_source(Source("mine", "local", path=str(tmp_path / "nowhere"))))
    with pytest.raises(UserError, match="no document matches"):
        digest = folder_digest(tmp_path, ("**/*.py",))
        list(read_source(Source("mine", "local", path=str(tmp_path), sha256=digest)))


def test_hf_streams_up_to_the_cap(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["one", "two", "three"]}).to_parquet(tmp_path / "train.parquet")
    source = Source("hub", "hf", dataset=str(tmp_path), max_bytes=7)
    assert [document.text for document in read_source(source)] == ["one", "two"]
    with pytest.raises(UserError, match="no field 'body'"):
        list(read_source(Source("hub", "hf", dataset=str(tmp_path), field="body")))
    with pytest.raises(UserError, match="needs revision"):
        list(read_source(Source("hub", "hf", dataset="nobody/nothing")))
    with pytest.raises(UserError, match="cannot load"):
        list(read_source(Source("hub", "hf", dataset=str(tmp_path / "none"), revision="main")))


def test_a_hub_data_set_that_breaks_off_is_one_line(tmp_path: Path) -> None:
    for i in range(2):
        pd.DataFrame({"text": ["one", "two"]}).to_parquet(tmp_path / f"train-0000{i}-of-00002.parquet")
    (tmp_path / "train-00001-of-00002.parquet").write_bytes(b"PAR1, and then nothing")
    rows = read_source(Source("hub", "hf", dataset=str(tmp_path)))
    assert [next(rows).text, next(rows).text] == ["one", "two"]
    with pytest.raises(UserError, match="source hub: cannot load"):
        next(rows)


@pytest.mark.skipif(not MIRROR.exists(), reason="no local mirror on this machine")
def test_url_takes_the_mirror_first() -> None:
    digest = hashlib.sha256((MIRROR / "wikitext-2-test.txt").read_bytes()).hexdigest()
    source = Source("wiki", "url", url="https://example.org/wikitext-2-test.txt", sha256=digest, mirror=str(MIRROR))
    (document,) = read_source(source)
    assert len(document.text) > 1_000_000
