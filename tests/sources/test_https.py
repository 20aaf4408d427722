"""TLS, through the command line in a process of its own, which trusts one certificate of two."""

import datetime
import http.server
import ipaddress
import os
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from foxgan.dataset.index import KEPT, read_index
from tests.fakes.client import get
from tests.fakes.fixture import fakes as fakes
from tests.sources.lists import photos


def certificate(folder, name):
    """A file with the key and the certificate, signed by itself, of a server on this machine."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    day = datetime.timedelta(days=1)
    built = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), now - day, now + day
    )
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    built = built.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    place = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = built.add_extension(place, critical=False).sign(key, hashes.SHA256())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    text = key.private_bytes(pem, pkcs8, serialization.NoEncryption()) + made.public_bytes(pem)
    (folder / f"{name}.pem").write_bytes(text)
    return folder / f"{name}.pem"


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Those who do not trust the certificate, or speak plain HTTP."""


@pytest.fixture
def secure(fakes, tmp_path):
    """Addresses of two HTTPS servers, of a known and of an unknown certificate; both redirect `/to/<address>` and show one photo."""
    picture = get(photos(fakes, 1)[0]).body

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            to = self.path.removeprefix("/to/")
            self.send_response(302 if to != self.path else 200 if self.path.endswith(".jpg") else 404)
            body = picture if self.path.endswith(".jpg") and to == self.path else b""
            self.send_header("Content-Length", str(len(body)))
            if to != self.path:
                self.send_header("Location", to)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    servers = []
    for name in ("known", "unknown"):
        server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(tmp_path, name))
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    yield [f"https://127.0.0.1:{server.server_address[1]}" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def test_what_came_by_https_never_goes_on_without_it(fakes, secure, tmp_path):
    known, unknown = secure
    plain = photos(fakes, 4)
    fakes.rule(plain[2].replace(fakes.url("museum"), "museum"), "redirect", to=f"{known}/up.jpg")
    fakes.rule(plain[3].replace(fakes.url("museum"), "museum"), "redirect", to=f"{unknown}/up.jpg")
    expected = {
        plain[1]: KEPT,
        plain[2]: KEPT,  # from http to https is fine
        plain[3]: "certificate",
        f"{known}/a.jpg": "duplicate",  # of what plain[2] leads to
        f"{known}/to/{known}/a.jpg": "duplicate",
        f"{known}/to/{plain[0]}": "insecure_redirect",
        f"{unknown}/a.jpg": "certificate",
        known.replace("https:", "http:") + "/a.jpg": "robots_unreachable",
    }
    (tmp_path / "list.txt").write_text("\n".join(expected))
    trust = {"SSL_CERT_FILE": str(tmp_path / "known.pem"), "FOXGAN_ALLOW_PRIVATE": "1"}
    options = ["--path", "list.txt", "--out", "out", "--retries", "0", "--rate", "1000", "--workers", "0"]
    done = subprocess.run(
        [sys.executable, "-c", "from foxgan.cli import main; main()", "scrape", "--source", "urls", *options],
        env={**os.environ, **trust, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["image_url"]: row for row in read_index(tmp_path / "out", kept=False).to_dicts()}
    assert {url: row["status"] for url, row in rows.items()} == {u: s for u, s in expected.items() if s != "duplicate"}
    assert len(rows[plain[2]]["also"]) == 2, "the same picture from two more places"
    assert not fakes.visits("museum", plain[0].removeprefix(fakes.url("museum")))[1:], "asked for by this test only"
