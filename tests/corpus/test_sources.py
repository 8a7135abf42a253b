"""The four kinds of source, and what a missing or broken one says."""

import hashlib
import importlib.metadata
from pathlib import Path

import pandas as pd
import pytest

from scalinglab.config import Source
from scalinglab.corpus.sources import read_source
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
    source = Source("mine", "local", path=str(tmp_path))
    assert [document.text for document in read_source(source)] == ["é", "b"]
    (tmp_path / "c.py").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"c\.py: not UTF-8 \(byte 0xff at 0\)"):
        list(read_source(source))
    skipping = Source("mine", "local", path=str(tmp_path), encoding_errors="skip")
    assert [document.text for document in read_source(skipping)] == ["é", "b"]


def test_missing_and_empty_local(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        list(read_source(Source("mine", "local", path=str(tmp_path / "nowhere"))))
    with pytest.raises(UserError, match="no document matches"):
        list(read_source(Source("mine", "local", path=str(tmp_path))))


def test_hf_streams_up_to_the_cap(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["one", "two", "three"]}).to_parquet(tmp_path / "train.parquet")
    source = Source("hub", "hf", dataset=str(tmp_path), max_bytes=7)
    assert [document.text for document in read_source(source)] == ["one", "two"]
    with pytest.raises(UserError, match="no field 'body'"):
        list(read_source(Source("hub", "hf", dataset=str(tmp_path), field="body")))
    with pytest.raises(UserError, match="cannot load"):
        list(read_source(Source("hub", "hf", dataset=str(tmp_path / "none"))))


@pytest.mark.skipif(not MIRROR.exists(), reason="no local mirror on this machine")
def test_url_takes_the_mirror_first() -> None:
    digest = hashlib.sha256((MIRROR / "wikitext-2-test.txt").read_bytes()).hexdigest()
    source = Source("wiki", "url", url="https://example.org/wikitext-2-test.txt", sha256=digest, mirror=str(MIRROR))
    (document,) = read_source(source)
    assert len(document.text) > 1_000_000
