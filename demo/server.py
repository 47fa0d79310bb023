# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A library endpoint, a keyserver and an OCI registry, with just enough of each to be verified, on a free port of 127.0.0.1.

Usage: python3 server.py DIRECTORY. Writes its certificate and its port there. The registry accepts alice with her password.
"""

import base64
import datetime
import http.server
import ipaddress
import json
import pathlib
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LOGIN = "Basic " + base64.b64encode(b"alice:correct horse").decode()
SERVICES = {"libraryAPI": "library", "keystoreAPI": "keys", "tokenAPI": "token"}


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/assets/config/config.prod.json":
            here = f"https://127.0.0.1:{self.server.server_port}"
            self.answer(200, json.dumps({name: {"uri": f"{here}/{path}"} for name, path in SERVICES.items()}), "application/json")
        elif self.path in ("/library/version", "/token/version"):
            self.answer(200, json.dumps({"data": {"version": "v1.0.0"}}), "application/json")
        elif self.path.startswith("/keys/pks/lookup"):
            self.answer(200, "info:1:0\n", "text/plain")
        elif self.path == "/v2/" and self.headers.get("Authorization") == LOGIN:
            self.answer(200, "{}", "application/json")
        else:
            self.answer(401 if self.path == "/v2/" else 404, "", "text/plain")

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="demo"')
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_arguments):
        pass


def certificate(path):
    """Write a self-signed certificate for 127.0.0.1 and its key to one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "demo")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=15))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256()))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + pem)


directory = pathlib.Path(sys.argv[1])
certificate(directory / "server.pem")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(directory / "server.pem")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
server.socket = context.wrap_socket(server.socket, server_side=True)
(directory / "port.new").write_text(str(server.server_port))
(directory / "port.new").rename(directory / "port")
server.serve_forever()
