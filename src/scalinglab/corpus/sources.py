"""The four kinds of source. Each yields documents; `SOURCES` is the registry.

* `installed`: text files of pinned distributions in this environment (no network; the default study's corpus)
* `url`: a file or archive over https, pinned by sha256 (see fetch.py)
* `local`: files below a folder
* `hf`: a data set of the Hugging Face hub, streamed (needs the `hf` extra)
"""

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import urlparse

from scalinglab.config import Source
from scalinglab.corpus.archives import is_archive, read_archive
from scalinglab.corpus.documents import Document
from scalinglab.corpus.fetch import fetch
from scalinglab.errors import UserError


def decode(data: bytes, where: str, errors: str) -> str | None:
    """UTF-8 text, or None where the file is to be skipped. Raises UserError under `errors: error`."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if errors == "skip":
            return None
        if errors == "replace":
            return data.decode("utf-8", errors="replace")
        raise UserError(
            f"{where}: not UTF-8 (byte {error.object[error.start]:#04x} at {error.start}); "
            "convert it, or set encoding_errors: skip or replace for this source"
        ) from None


def matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Files below `folder` that match a pattern, sorted."""
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def plain_name(path: PurePath) -> str:
    """A file's name as text that can be stored: bytes in it that are not UTF-8 are shown as `\\udc..`."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises UserError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; make it readable or exclude it") from error


def folder_digest(folder: Path, patterns: tuple[str, ...]) -> str:
    """One SHA-256 over names and contents of the matching files."""
    whole = hashlib.sha256()
    for path in matching(folder, patterns):
        whole.update(f"{plain_name(path.relative_to(folder))}\0".encode())
        whole.update(hashlib.sha256(read_bytes(path)).digest())
    return whole.hexdigest()


def read_folder(folder: Path, source: Source, prefix: str = "") -> Iterator[Document]:
    """Files below `folder` that match the source's patterns, in sorted order."""
    for path in matching(folder, source.patterns):
        name = prefix + plain_name(path.relative_to(folder))
        text = decode(read_bytes(path), f"source {source.name}: {name}", source.encoding_errors)
        if text is not None:
            yield Document(source.name, name, text)


def from_installed(source: Source) -> Iterator[Document]:
    """Text files of pinned installed distributions, from their import packages."""
    for pin in source.distributions:
        name, _, version = pin.partition("==")
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise UserError(f"source {source.name}: {pin} is not installed; pip install {pin}") from None
        if not version:
            raise UserError(f"source {source.name}: {pin} is not pinned; write {name}=={distribution.version}")
        if distribution.version != version:
            raise UserError(
                f"source {source.name}: {name} is {distribution.version} here but {pin} is asked for; "
                f"pip install {pin}, or change the pin (another corpus, so other results)"
            )
        tops = sorted({path.parts[0] for path in distribution.files or [] if path.suffix == ".py"})
        for top in tops:
            folder = Path(str(distribution.locate_file(top)))
            if folder.is_dir():
                yield from read_folder(folder, source, prefix=f"{top}/")


def from_local(source: Source) -> Iterator[Document]:
    """Files below a folder, pinned by one SHA-256 over all of them: caches must notice when the files change."""
    folder = Path(source.path)
    if not source.path or not folder.is_dir():
        raise UserError(f"source {source.name}: path {source.path!r} is not a folder; correct download.sources")
    found = folder_digest(folder, source.patterns)
    if source.sha256 != found:
        raise UserError(
            f"source {source.name}: sha256 is {source.sha256 or 'missing'}, but the files of {folder} that match "
            f"{list(source.patterns)} give {found}; write that into download.sources if they are the ones you mean"
        )
    yield from read_folder(folder, source)


def from_url(source: Source) -> Iterator[Document]:
    """A text file over https, or the matching files of an archive, checked against its sha256."""
    path = fetch(source.url, source.sha256, source.max_bytes, source.mirror)
    name = PurePosixPath(urlparse(source.url).path).name
    if is_archive(name):
        files = read_archive(path, name, source.patterns, source.max_bytes)
    else:
        files = iter([(name, read_bytes(path))])
    for inside, contents in ((plain_name(PurePosixPath(inside)), contents) for inside, contents in files):
        text = decode(contents, f"source {source.name}: {inside}", source.encoding_errors)
        if text is not None:
            yield Document(source.name, inside, text)


def from_hf(source: Source) -> Iterator[Document]:
    """A hub data set, streamed until `max_bytes` of text."""
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"source {source.name}: kind hf needs the datasets package; pip install 'scalinglab[hf]'"
        ) from None
    if not source.dataset:
        raise UserError(f"source {source.name}: kind hf needs dataset:, such as roneneldan/TinyStories")
    if not source.revision and not Path(source.dataset).is_dir():
        raise UserError(f"source {source.name}: kind hf needs revision:, the commit of the data set on the hub")
    size = 0
    for i, row in enumerate(_hub_rows(source, datasets.load_dataset)):
        if source.field not in row:
            raise UserError(f"source {source.name}: no field {source.field!r}; its fields are {sorted(row)}")
        text = str(row[source.field])
        size += len(text.encode())
        if size > source.max_bytes:
            return
        yield Document(source.name, f"{source.dataset}/{source.split}/{i}", text)


def _hub_rows(source: Source, load_dataset: Callable[..., Iterable[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Rows of a hub data set, streamed. The hub's client raises many types; all mean that the data cannot be had."""
    subset, revision = source.subset or None, source.revision or None
    try:
        yield from load_dataset(source.dataset, subset, split=source.split, revision=revision, streaming=True)
    except Exception as error:
        raise UserError(f"source {source.name}: cannot load {source.dataset!r}: {error}") from error


SOURCES: dict[str, Callable[[Source], Iterator[Document]]] = {
    "installed": from_installed,
    "local": from_local,
    "url": from_url,
    "hf": from_hf,
}


def read_source(source: Source) -> Iterator[Document]:
    """All documents of one source. Raises UserError where it is missing or yields none."""
    count = 0
    for document in SOURCES[source.kind](source):
        count += 1
        yield document
    if not count:
        raise UserError(f"source {source.name}: no document matches {list(source.patterns)}; correct its patterns")
