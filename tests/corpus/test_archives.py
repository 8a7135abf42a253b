"""Archives: what is read from good ones, and that odd ones are refused. Nothing is ever unpacked to disk."""

import contextlib
import gzip
import hashlib
import io
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalinglab.config import Source
from scalinglab.corpus import archives, sources
from scalinglab.corpus.documents import read_documents, write_documents
from scalinglab.errors import UserError

FILES = {"a.py": b"a = 1\n", "deep/er/b.py": b"b = 2\n", "notes.txt": b"not asked for\n"}
WANTED = {name: text for name, text in FILES.items() if name.endswith(".py")}


def zipped(files: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda entry: None) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            change(entry)
            archive.writestr(entry, text)
    return held.getvalue()


def tarred(
    files: dict[str, bytes], mode: str = "w", change: Callable[[tarfile.TarInfo], None] = lambda e: None
) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode) as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            change(entry)
            archive.addfile(entry, io.BytesIO(text) if entry.isreg() else None)
    return held.getvalue()


def read(data: bytes, name: str, tmp_path: Path, max_bytes: int = 10**6) -> dict[str, bytes]:
    path = tmp_path / "held"
    path.write_bytes(data)
    before = sorted(tmp_path.parent.rglob("*"))
    try:
        return dict(archives.read_archive(path, name, ("**/*.py",), max_bytes))
    finally:
        assert sorted(tmp_path.parent.rglob("*")) == before, "nothing is written"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.zip", zipped(FILES)),
        ("x.tar", tarred(FILES)),
        ("x.tar.gz", tarred(FILES, "w:gz")),
        ("x.tgz", tarred(FILES, "w:gz")),
        ("x.tar.bz2", tarred(FILES, "w:bz2")),
        ("X.TAR.XZ", tarred(FILES, "w:xz")),
    ],
)
def test_matching_files_are_read(name: str, data: bytes, tmp_path: Path) -> None:
    assert archives.is_archive(name)
    assert read(data, name, tmp_path) == WANTED


def test_a_compressed_file_is_one_entry(tmp_path: Path) -> None:
    assert read(gzip.compress(b"text"), "book.txt.gz", tmp_path) == {"book.txt": b"text"}


@pytest.mark.parametrize("name", ["../a.py", "/etc/a.py", "b/../../a.py", "C:\\a.py", "..\\a.py"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_climb_out_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    data = zipped({name: b""}) if kind == "zip" else tarred({name: b""})
    with pytest.raises(UserError, match="points out of its folder; refused"):
        read(data, f"x.{kind}", tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    def change(entry: tarfile.TarInfo) -> None:
        entry.type, entry.linkname, entry.size = kind, "/etc/passwd", 0

    with pytest.raises(UserError, match="'a.py' is a link, a device or sparse; refused"):
        read(tarred({"a.py": b""}, change=change), "x.tar", tmp_path)


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    def change(entry: zipfile.ZipInfo) -> None:
        entry.create_system, entry.external_attr = 3, 0o120777 << 16

    with pytest.raises(UserError, match="'a.py' is a link, a device or encrypted; refused"):
        read(zipped({"a.py": b"/etc/passwd"}, change), "x.zip", tmp_path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.zip", zipped({"a.py": bytes(10**7)})),
        ("x.zip", zipped({f"{i}.txt": bytes(10**6) for i in range(10)})),
        ("x.tar.gz", tarred({"a.py": bytes(10**7)}, "w:gz")),
        ("x.tar.xz", tarred({"not-asked-for.txt": bytes(10**7)}, "w:xz")),
        ("x.py.gz", gzip.compress(bytes(10**7))),
    ],
    ids=["zip", "zip of many", "tar.gz", "skipped in tar.xz", "gz"],
)
def test_bombs_are_refused(name: str, data: bytes, tmp_path: Path) -> None:
    assert len(data) < 100_000
    with pytest.raises(UserError, match=r"unpacks to .* max_bytes"):
        read(data, name, tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_lies_about_its_sizes_is_refused(method: int, tmp_path: Path) -> None:
    """It claims one byte a file and unpacks to a hundred million, within a small limit on memory."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        archive.writestr("a.py", bytes(10**8))
    data = bytearray(held.getvalue())
    claimed = (10**8).to_bytes(4, "little")
    for at in (data.index(claimed), data.rindex(claimed)):
        data[at : at + 4] = (1).to_bytes(4, "little")
    with pytest.raises(UserError, match=r"cannot be unpacked|neither plainly nor by deflate"):
        tracemalloc.start()
        try:
            read(bytes(data), "x.zip", tmp_path, max_bytes=10_000)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 5 * 10**6


@pytest.mark.parametrize(
    "pattern", ["**/*.py", "*.py", "deep/*.py", "deep/**/*.py", "**/er/*.py", "d*/**", "**", "**/?.py", "deep/er/b.py"]
)
def test_patterns_are_those_of_a_folder(pattern: str, tmp_path: Path) -> None:
    files = {**FILES, "deep/c.py": b"c", "deep/er/est/d.py": b"d", "other/deep/e.py": b"e", "x.pyc": b""}
    for name, text in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(text)
    path = tmp_path / "held"
    path.write_bytes(zipped(files))
    found = {name for name, _ in archives.read_archive(path, "x.zip", (pattern,), 10**6)}
    below = {
        path.relative_to(tmp_path / "folder").as_posix() for path in sources.matching(tmp_path / "folder", (pattern,))
    }
    assert found == below or pattern.endswith("**")  # a folder's final ** stands for folders alone, until Python 3.13


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_thousands_of_entries_are_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 1000)
    files = {f"{i}.py": b"" for i in range(1001)}
    data = zipped(files) if kind == "zip" else tarred(files)
    with pytest.raises(UserError, match="more than 1000 entries"):
        read(data, f"x.{kind}", tmp_path, max_bytes=10**8)


@settings(max_examples=150)
@given(
    data=st.one_of(st.binary(max_size=400), st.tuples(st.integers(0), st.integers(1, 255))),
    name=st.sampled_from(["x.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz", "x.py.gz"]),
)
def test_arbitrary_bytes_never_crash(tmp_path_factory: pytest.TempPathFactory, data: object, name: str) -> None:
    """Either bytes from nowhere, or a good archive with one byte changed."""
    if isinstance(data, tuple):
        modes = {"x.tar": "w", "x.tar.gz": "w:gz", "x.tar.bz2": "w:bz2", "x.tar.xz": "w:xz"}
        good = tarred(FILES, modes[name]) if name in modes else zipped(FILES) if "zip" in name else gzip.compress(b"a")
        changed = bytearray(good)
        changed[data[0] % len(good)] ^= data[1]
        data = bytes(changed)
    path = tmp_path_factory.getbasetemp() / "arbitrary"
    path.write_bytes(data)  # type: ignore[arg-type]
    found: list[tuple[str, bytes]] = []
    with contextlib.suppress(UserError):  # whatever was read before that counts too
        found.extend(archives.read_archive(path, name, ("**/*.py",), 10**6))
    assert all(entry.endswith(".py") for entry, _ in found)


def test_a_source_may_be_an_archive(tmp_path: Path) -> None:
    data = zipped(FILES)
    (tmp_path / "code.zip").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    source = Source("code", "url", url="https://example.org/code.zip", sha256=digest, mirror=str(tmp_path))
    assert [(d.path, d.text.encode()) for d in sources.read_source(source)] == list(WANTED.items())


@pytest.mark.parametrize("name", ["caf\udce9.py", "a/\udcff\udcfe.py"])
def test_names_that_are_not_utf8_are_shown_as_their_bytes(name: str, tmp_path: Path) -> None:
    """Python holds such bytes as lone surrogates, which no file of text can."""
    data = tarred({name: b"x = 1\n"})
    (tmp_path / "code.tar").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    archive = Source("code", "url", url="https://example.org/code.tar", sha256=digest, mirror=str(tmp_path))
    folder = tmp_path / "folder"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("x = 1\n")
    pin = sources.folder_digest(folder, ("**/*.py",))
    for source in (archive, Source("code", "local", path=str(folder), sha256=pin)):
        (document,) = sources.read_source(source)
        assert document.path == name.encode("utf-8", "backslashreplace").decode()
        write_documents(tmp_path / "documents.parquet", [document])
        assert list(read_documents(tmp_path / "documents.parquet")) == [document]
