"""Downloads against a real https server on this machine that cuts, lies, redirects and ignores ranges."""

import datetime
import hashlib
import http.server
import resource
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scalinglab.corpus import fetch
from scalinglab.errors import UserError

BODY = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """/file: the body, ranges honoured. /cut: the first answer breaks off. /always: every answer does. /redirect: to
    plain http. /moved: to /file. /deaf: ranges are ignored. /endless: no length, and no end. /busy: 503, twice.
    /packed: cut as well, and labelled as compressed, as archives often are."""

    cuts = 0
    asked: list[str]
    waits: list[float]

    def do_GET(self) -> None:
        type(self).asked.append(f"{self.path} {self.headers.get('Range', '')}".strip())
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/file")
            self.end_headers()
            return
        if self.path.startswith("/moved"):
            self.send_response(301)
            self.send_header("Location", "/file")
            self.end_headers()
            return
        if self.path.startswith("/endless"):
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(BODY)
        if self.path.startswith("/busy") and len(type(self).asked) < 3:
            self.send_error(503)
            return
        if self.path.startswith("/deaf"):
            del self.headers["Range"]
        start = int(self.headers["Range"].split("=")[1].rstrip("-")) if "Range" in self.headers else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        if self.path.startswith("/packed"):
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        cut = (self.path.startswith(("/cut", "/deaf", "/packed")) and type(self).cuts == 0) or self.path.startswith(
            "/always"
        )
        type(self).cuts += cut
        self.wfile.write(BODY[start : start + 100_000] if cut else BODY[start:])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    Server.cuts, Server.asked = 0, []
    httpd = http.server.ThreadingHTTPServer(("localhost", 0), Server)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    Server.waits = []
    monkeypatch.setattr(fetch.time, "sleep", Server.waits.append)
    yield f"https://localhost:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()


def test_downloads_once(server: str, tmp_path: Path) -> None:
    for _ in range(2):
        path = fetch.fetch(f"{server}/file", DIGEST, 10**6, cache=tmp_path / "cache")
        assert path.read_bytes() == BODY
    assert len(Server.asked) == 1


def test_resumes_after_a_cut(server: str, tmp_path: Path) -> None:
    path = fetch.fetch(f"{server}/cut", DIGEST, 10**6, cache=tmp_path / "cache")
    assert path.read_bytes() == BODY
    assert Server.asked[1].startswith("/cut bytes=")


def test_a_server_that_ignores_ranges_is_read_from_the_beginning(server: str, tmp_path: Path) -> None:
    path = fetch.fetch(f"{server}/deaf", DIGEST, 10**6, cache=tmp_path / "cache")
    assert path.read_bytes() == BODY


def test_what_comes_is_kept_as_it_is(server: str, tmp_path: Path) -> None:
    """Unpacked on the way, it would have another checksum, and the rest of a cut one could not be asked for."""
    path = fetch.fetch(f"{server}/packed", DIGEST, 10**6, cache=tmp_path / "cache")
    assert path.read_bytes() == BODY
    assert Server.asked[1] == "/packed bytes=100000-"


def test_waits_longer_before_each_try(server: str, tmp_path: Path) -> None:
    assert fetch.fetch(f"{server}/busy", DIGEST, 10**6, cache=tmp_path / "cache").read_bytes() == BODY
    assert Server.waits == [1, 2]
    with pytest.raises(UserError, match="cannot be fetched after 4 tries"):
        fetch.fetch(f"{server}/always", "1" * 64, 10**9, cache=tmp_path / "cache")
    assert Server.waits == [1, 2, 1, 2, 4]


def test_a_later_run_goes_on_with_what_is_there(server: str, tmp_path: Path) -> None:
    part = tmp_path / f"{DIGEST}.part"
    part.write_bytes(BODY[:1234])
    assert fetch.fetch(f"{server}/file", DIGEST, 10**6, cache=tmp_path).read_bytes() == BODY
    assert Server.asked == ["/file bytes=1234-"]


@pytest.mark.parametrize("left", [b"not a part of it", BODY + b"more", b"x" * len(BODY)])
def test_a_damaged_part_is_fetched_again(server: str, tmp_path: Path, left: bytes) -> None:
    (tmp_path / f"{DIGEST}.part").write_bytes(left)
    assert fetch.fetch(f"{server}/file", DIGEST, 10**6, cache=tmp_path).read_bytes() == BODY


def test_a_damaged_copy_is_refused(server: str, tmp_path: Path) -> None:
    (tmp_path / DIGEST).write_bytes(BODY[:-1])
    with pytest.raises(UserError, match="delete it or correct the pin"):
        fetch.fetch(f"{server}/file", DIGEST, 10**6, cache=tmp_path)


def test_a_full_disk_is_told_at_once_and_what_is_there_stays(server: str, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write .*part: .* free some space"):
            fetch.fetch(f"{server}/file", DIGEST, 10**6, cache=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Server.waits == []
    assert fetch.fetch(f"{server}/file", DIGEST, 10**6, cache=tmp_path).read_bytes() == BODY
    assert Server.asked[1].startswith("/file bytes="), "it goes on where the disk was full"


def test_redirects_within_https_are_followed(server: str, tmp_path: Path) -> None:
    assert fetch.fetch(f"{server}/moved", DIGEST, 10**6, cache=tmp_path).read_bytes() == BODY


def test_wrong_checksum_is_refused_and_leaves_nothing(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sha256 is"):
        fetch.fetch(f"{server}/file", "0" * 64, 10**6, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("path", ["file", "endless"])
def test_size_cap_holds_while_streaming(server: str, tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError, match="larger than max_bytes = 300000"):
        fetch.fetch(f"{server}/{path}", "2" * 64, 300_000, cache=tmp_path / "cache")
    assert sum(held.stat().st_size for held in (tmp_path / "cache").iterdir()) <= 300_000


def test_redirect_to_plain_http_is_refused_at_once(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="redirects to what is not https"):
        fetch.fetch(f"{server}/redirect", DIGEST, 10**6, cache=tmp_path / "cache")
    assert len(Server.asked) == 1, "nothing was sent there, and it was not tried again"


@pytest.mark.parametrize(
    ("url", "digest", "message"),
    [
        ("http://example.org/a.txt", "0" * 64, "only https"),
        ("https://example.org/a.txt", "12", "64 hex digits"),
        ("https://example.org/", "0" * 64, "names no file"),
    ],
)
def test_bad_addresses(url: str, digest: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        fetch.fetch(url, digest, 100, cache=tmp_path)
