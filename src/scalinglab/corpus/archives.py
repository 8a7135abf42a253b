"""Files inside a zip or tar archive, read without unpacking anything to disk, and refused where something is odd.

An archive from the network is hostile until it has shown otherwise: names that climb out of their folder, links and
devices, thousands of entries, and a few kilobytes that unpack to terabytes. Its checksum says that it is the one that
was pinned, not that the one who pinned it looked inside.
"""

import bz2
import functools
import gzip
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from scalinglab.errors import UserError

MAX_ENTRIES = 100_000
BLOCK = 1 << 16
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError, RuntimeError)


def is_archive(name: str) -> bool:
    """Whether a file's name says that it holds other files, or is compressed."""
    return name.lower().endswith((*TARS, ".zip", *OPENERS))


def read_archive(path: Path, name: str, patterns: tuple[str, ...], max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """(name, contents) of each file in an archive that matches a pattern, in the archive's order.

    name: what the archive was called where it came from; it tells the format. A single compressed file, `a.txt.gz`, is
    one entry, `a.txt`. Raises UserError on an odd entry, and beyond `max_bytes` unpacked or MAX_ENTRIES entries.
    """
    lower = name.lower()
    try:
        if lower.endswith(".zip"):
            yield from _zip(path, name, patterns, max_bytes)
        elif lower.endswith(TARS):
            yield from _tar(path, name, patterns, max_bytes)
        else:
            with OPENERS[PurePosixPath(lower).suffix](path, "rb") as stream:
                yield PurePosixPath(name).stem, Capped(stream, name, max_bytes).read()
    except BROKEN as error:
        raise UserError(
            f"{name}: cannot be unpacked ({error}); it is damaged, or no archive of its name's kind"
        ) from None


class Capped:
    """A stream that ends in an error once it has given more than `max_bytes`: a small file may unpack to anything."""

    def __init__(self, stream: IO[bytes], name: str, max_bytes: int) -> None:
        self._stream, self._name, self._max, self._left = stream, name, max_bytes, max_bytes

    def read(self, size: int = -1) -> bytes:
        wanted = self._left + 1 if size < 0 else min(size, self._left + 1)
        parts = []
        while wanted > 0 and (block := self._stream.read(min(wanted, BLOCK))):
            parts.append(block)
            wanted -= len(block)
            self._left -= len(block)
            if self._left < 0:
                raise UserError(f"{self._name}: unpacks to more than max_bytes = {self._max}; raise the cap if meant")
        return b"".join(parts)


def _zip(path: Path, name: str, patterns: tuple[str, ...], max_bytes: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as held:
        entries = held.infolist()
        _check_count(len(entries), name)
        # No more is read of an entry than it claims to hold, so the claims bound the work.
        if (total := sum(entry.file_size for entry in entries)) > max_bytes:
            raise UserError(f"{name}: unpacks to {total} bytes, max_bytes is {max_bytes}; raise the cap if meant")
        for entry in entries:
            kind = entry.external_attr >> 28  # the Unix file type; 0 where it was written elsewhere
            if kind not in (0, 0o10, 0o4) or entry.flag_bits & 1:
                raise UserError(f"{name}: {entry.filename!r} is a link, a device or encrypted; refused")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UserError(f"{name}: {entry.filename!r} is packed neither plainly nor by deflate; refused")
            _check_name(entry.filename, name)
            if not entry.is_dir() and _matches(entry.filename, patterns):
                with held.open(entry) as stream:
                    yield entry.filename, _exactly(stream, entry.file_size)


def _tar(path: Path, name: str, patterns: tuple[str, ...], max_bytes: int) -> Iterator[tuple[str, bytes]]:
    opener = OPENERS.get(PurePosixPath(name.lower()).suffix, open)
    with opener(path, "rb") as stream:
        capped = Capped(stream, name, max_bytes)
        # Read as a stream, front to back: even headers come through the cap.
        with tarfile.open(fileobj=cast(IO[bytes], capped), mode="r|") as held:
            for count, entry in enumerate(held, start=1):
                _check_count(count, name)
                if not (entry.isreg() or entry.isdir()) or entry.issparse():
                    raise UserError(f"{name}: {entry.name!r} is a link, a device or sparse; refused")
                _check_name(entry.name, name)
                if entry.isreg() and _matches(entry.name, patterns):
                    contents = held.extractfile(entry)
                    yield entry.name, contents.read() if contents else b""


def _check_count(count: int, name: str) -> None:
    if count > MAX_ENTRIES:
        raise UserError(f"{name}: more than {MAX_ENTRIES} entries; refused")


def _check_name(entry: str, name: str) -> None:
    parts = entry.replace("\\", "/").split("/")
    if entry.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in entry:
        raise UserError(f"{name}: the entry {entry!r} points out of its folder; refused")


def _exactly(stream: IO[bytes], size: int) -> bytes:
    """What an entry holds; ValueError where it unpacks to more than it claims. In blocks: `read()` unpacks it all."""
    data = bytearray()
    while len(data) <= size and (block := stream.read(min(BLOCK, size + 1 - len(data)))):
        data += block
    if len(data) > size:
        raise ValueError("an entry holds more than it claims")
    return bytes(data)


def _matches(entry: str, patterns: tuple[str, ...]) -> bool:
    return any(re.fullmatch(_expression(pattern), entry) for pattern in patterns)


@functools.cache
def _expression(pattern: str) -> str:
    """A glob pattern below a folder as a regular expression: `**/` is any folders or none, `*` and `?` stay in one."""
    parts = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(parts.get(part, re.escape(part)) for part in re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", pattern))
