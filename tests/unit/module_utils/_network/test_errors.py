# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What exceptions mean, in words; above all those that no server in these tests causes."""

from __future__ import annotations

import http.client
import ssl

import pytest
import requests
import urllib3
from ansible_collections.hpc.apptainer.plugins.module_utils._network.errors import NotTlsError, Proxy, UntrustedError, explain, status_text, timed_out
from support.asking import LATE, PASSWORD
from support.tables import table


def tls_error(reason, kind=ssl.SSLError, text="[SSL]", **attributes):
    error = kind(1, f"{text} {PASSWORD}")
    error.reason = reason
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


class CertificateError(ValueError):
    """As ssl's in Python 3.6."""


CLOSED = "closed the connection without answering: it requires a client certificate (client_cert), does not speak TLS, or failed; see its log"
CLIENT_CERTIFICATE = "requires a client certificate, or rejects the one that was sent: check client_cert"
NO_CIPHER = "refuses the TLS handshake: it shares no cipher with this machine, or requires a client certificate (client_cert)"
NO_VERSION = "shares no TLS version with this machine: enable TLS 1.2 or newer there"
EXPLANATIONS = table([
    ("another host name, from Python 3.6", CertificateError("hostname 'a' doesn't match 'b'"), "has a certificate for another host name"),
    ("a bad certificate, from Python 3.6", tls_error("CERTIFICATE_VERIFY_FAILED"),
     "has a certificate that cannot be verified: its authority is not trusted here (then set ca_path), or it has expired"),
    ("a revoked certificate", tls_error("CERTIFICATE_VERIFY_FAILED", verify_code=23, verify_message="certificate revoked"),
     "has a certificate that is not acceptable (certificate revoked): replace it there"),
    ("certificate required", tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"), CLIENT_CERTIFICATE),
    ("our authority is unknown there", tls_error("TLSV1_ALERT_UNKNOWN_CA"), CLIENT_CERTIFICATE),
    ("handshake failure", tls_error("SSLV3_ALERT_HANDSHAKE_FAILURE"), NO_CIPHER),
    ("an old version there", tls_error("UNSUPPORTED_PROTOCOL"), NO_VERSION),
    ("an old version here", tls_error("TLSV1_ALERT_PROTOCOL_VERSION"), NO_VERSION),
    ("another reason", tls_error("DH_KEY_TOO_SMALL"), "causes a TLS error (DH_KEY_TOO_SMALL): check its TLS settings"),
    ("no reason", tls_error(None), "causes a TLS error (SSLError): check its TLS settings"),
    ("closed in order", tls_error(None, ssl.SSLZeroReturnError), CLOSED),
    ("closed without a word", tls_error(None, ssl.SSLEOFError), CLOSED),
    ("closed, in the words of OpenSSL 3", tls_error("UNEXPECTED_EOF_WHILE_READING"), CLOSED),
    # Python 3.6 with OpenSSL 3, whose reasons it does not know
    ("closed, only as text", tls_error(None, text="[SSL] unexpected eof while reading (_ssl.c:897)"), CLOSED),
    ("no TLS, only as text", tls_error("", text="[SSL] record layer failure (_ssl.c:897)"), "does not speak TLS: it is a plain http server"),
    ("a wrong version number, only as text", tls_error(None, text="[SSL: UNKNOWN] wrong version number (_ssl.c:897)"), "does not speak TLS"),
    ("certificate required, only as text", tls_error(None, text="[SSL] tlsv13 alert certificate required (_ssl.c:897)"), CLIENT_CERTIFICATE),
    ("handshake failure, only as text", tls_error(None, text="[SSL] ssl/tls alert handshake failure (_ssl.c:897)"), NO_CIPHER),
    ("an old version here, only as text", tls_error(None, text="[SSL] tlsv1 alert protocol version (_ssl.c:897)"), NO_VERSION),
    ("another reason, only as text", tls_error(None, text="[SSL] unknown error (_ssl.c:897)"), "causes a TLS error (SSLError)"),
    ("no route", OSError(113, PASSWORD), "cannot be reached (No route to host): check the network and this machine"),
    ("no file descriptor", OSError(24, PASSWORD), "cannot be reached (Too many open files): check the network and this machine"),
    ("reset", ConnectionResetError(104, PASSWORD), "closed the connection without answering: see its log"),
    ("disconnected", http.client.RemoteDisconnected(PASSWORD), "closed the connection without answering: see its log"),
    ("a time-out of the system", TimeoutError(110, PASSWORD), f"did not answer within 10 seconds{LATE}"),
    ("an error without a number", OSError(PASSWORD), "cannot be asked (OSError): check the address"),
    ("a bad value", ValueError(), "cannot be asked (ValueError): check the address"),
])


@pytest.mark.parametrize(("error", "words"), EXPLANATIONS)
def test_explanations(error, words):
    wrapper = requests.exceptions.ConnectionError(ValueError(PASSWORD), error)
    problem, _again = explain(error if type(error) in (OSError, ValueError) else wrapper, "https://x.example/p", "", 10)
    assert str(problem).startswith(f"https://x.example {words}")
    assert PASSWORD not in str(problem)
    assert isinstance(problem, NotTlsError) == ("does not speak TLS: it is" in str(problem))


def test_a_missing_intermediate_certificate_is_thought_of_where_ca_path_is_given():
    """Python 3.6 does not tell what is wrong with a certificate."""
    problem, _again = explain(tls_error("CERTIFICATE_VERIFY_FAILED"), "https://x.example", None, 10, has_ca_path=True)
    assert str(problem).endswith("or it has expired, or the server does not send the intermediate certificate between the two")


@pytest.mark.parametrize(("error", "again"), table([
    ("connecting takes too long", requests.exceptions.ConnectTimeout(urllib3.exceptions.ConnectTimeoutError(TimeoutError())), True),
    ("too late", TimeoutError(), True),
    ("refused", ConnectionRefusedError(), True),
    ("reset", ConnectionResetError(), True),
    ("no route", OSError(113, ""), True),
    ("no file descriptor", OSError(24, ""), False),
    ("closed in TLS", tls_error(None, ssl.SSLEOFError), False),
    ("a bad certificate", tls_error("CERTIFICATE_VERIFY_FAILED"), False),
    ("a bad value", ValueError(), False),
]))
def test_what_is_worth_another_attempt(error, again):
    assert explain(error, "https://x.example/p", "", 10)[1] is again


@pytest.mark.parametrize(("status", "text"), [(404, "404 Not Found"), (299, "299"), (799, "799")])
def test_status_text(status, text):
    assert status_text(status) == text


def test_one_second_is_not_a_plural():
    assert str(timed_out("it", 1)) == f"it did not answer within 1 second{LATE}"


PROXY = Proxy("http://proxy:3128", "http://proxy:3128", "https_proxy", False)


class ProxyError(Exception):
    """As urllib3's."""


@pytest.mark.parametrize(("error", "proxy", "kind"), [
    (CertificateError("x"), None, UntrustedError), (tls_error("CERTIFICATE_VERIFY_FAILED", verify_code=10), PROXY, UntrustedError),
    (ProxyError(tls_error("CERTIFICATE_VERIFY_FAILED", verify_code=10)), PROXY, type(timed_out("x", 1))), (tls_error("OTHER"), None, type(timed_out("x", 1))),
], ids=["the server's name", "the server's certificate, behind a proxy", "the proxy's certificate", "no certificate"])
def test_what_is_about_the_certificate_of_the_server(error, proxy, kind):
    explained, _again = explain(error, "https://x.example", proxy, 10)
    assert explained.__class__ is kind
