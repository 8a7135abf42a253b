"""Download over https: pinned sha256, size cap while streaming, resume, retries, local mirror first."""

import time
from pathlib import Path
from urllib.parse import urlparse

import requests
from urllib3.exceptions import HTTPError

from scalinglab.errors import UserError
from scalinglab.files import NOT_WRITABLE, sha256

CACHE = Path(".scratch/downloads")
ATTEMPTS = 4
CHUNK = 1 << 16
TIMEOUT = 30.0


def fetch(url: str, digest: str, max_bytes: int, mirror: str = "", cache: Path = CACHE) -> Path:
    """Path of a local copy of `url` whose SHA-256 is `digest`.

    A file of the same name below `mirror` is taken first; then a copy fetched before; then the network, resuming a
    partial download. Raises UserError on a wrong checksum, a size above `max_bytes`, or a source that cannot be had.
    """
    if len(digest) != 64:
        raise UserError(f"{url}: sha256 = {digest!r} is not 64 hex digits; pin the file's checksum")
    name = urlparse(url).path.rsplit("/", 1)[-1]
    if not name:
        raise UserError(f"{url}: names no file; give the address of one file")
    held = Path(mirror) / name if mirror else cache / digest
    for path in (held, cache / digest):
        if path.is_file():
            return _checked(path, digest, url)
    if urlparse(url).scheme != "https":
        raise UserError(f"{url}: only https is fetched; use an https address or a local mirror folder")
    partial = cache / f"{digest}.part"
    partial.parent.mkdir(parents=True, exist_ok=True)
    if partial.exists() and not _complete(url, partial, digest, max_bytes):
        partial.unlink()  # what an earlier run left was no part of this file: once more, from the beginning
    if not partial.exists() and not _complete(url, partial, digest, max_bytes):
        found = sha256(partial)
        partial.unlink()
        raise UserError(f"{url}: sha256 is {found}, not {digest}; the file changed or the download broke")
    partial.rename(cache / digest)
    return cache / digest


def _complete(url: str, partial: Path, digest: str, max_bytes: int) -> bool:
    """Append what is missing of `url` to `partial`, with retries; return whether it is the file that was meant."""
    for attempt in range(ATTEMPTS):
        try:
            _stream(url, partial, max_bytes)
            break
        except requests.exceptions.InvalidSchema as error:
            raise UserError(f"{url}: redirects to what is not https ({error}); refused") from None
        except (requests.RequestException, HTTPError, OSError) as error:
            if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
                raise UserError(f"cannot write {partial}: {error.strerror}; free some space, then run again") from error
            if attempt == ATTEMPTS - 1:
                raise UserError(f"{url}: cannot be fetched after {ATTEMPTS} tries: {error}") from error
            time.sleep(2**attempt)
    return sha256(partial) == digest


def _checked(path: Path, digest: str, url: str) -> Path:
    found = sha256(path)
    if found != digest:
        raise UserError(f"{path} (for {url}): sha256 is {found}, not {digest}; delete it or correct the pin")
    return path


def _stream(url: str, partial: Path, max_bytes: int) -> None:
    """Append what is missing of `url` to `partial`; a server that ignores the range starts it anew."""
    have = partial.stat().st_size if partial.exists() else 0
    # As it is, never compressed on the way: sizes, ranges and the checksum are those of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    session = requests.Session()
    session.adapters.pop("http://")  # a redirect there fails before a byte is sent
    with session, session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # nothing is missing
            return
        response.raise_for_status()
        resumed = response.status_code == 206
        size = have if resumed else 0
        expected = size + int(response.headers.get("Content-Length", 0))
        with open(partial, "ab" if resumed else "wb") as stream:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                size += len(chunk)
                if size > max_bytes:
                    partial.unlink()
                    raise UserError(f"{url}: larger than max_bytes = {max_bytes}; raise the cap if that is meant")
                stream.write(chunk)
        if size < expected:
            raise requests.ConnectionError(f"truncated download: {size} of {expected} bytes")
