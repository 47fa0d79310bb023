# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When certificates expire: the dates in them as another library writes them, and what is known of servers after they were asked."""

import contextlib
import datetime

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.certificates import expiry, server_certificates
from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Client, KnownResponses
from ansible_collections.hpc.apptainer.plugins.module_utils._network.http_options import HttpOptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from support.web import free_port, json_reply, serve

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 40)])


def made(until):
    start = datetime.datetime(1950, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(KEY.public_key()).serial_number(1)
    signed = builder.not_valid_before(start).not_valid_after(until).sign(KEY, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


GOOD = made(datetime.datetime(2030, 1, 31, 12, 0, 0, tzinfo=datetime.UTC))


@given(st.datetimes(datetime.datetime(1951, 1, 1), datetime.datetime(9999, 12, 31), timezones=st.just(datetime.UTC)))
@settings(max_examples=50)
def test_the_date_in_a_certificate(until):
    """Until 2049 it has two digits for the year (RFC 5280, 4.1.2.5)."""
    until = until.replace(microsecond=0)
    assert expiry(made(until)) == until.timestamp()


def test_a_certificate_without_a_version():
    """As those of X.509 v1, which are still found in appliances."""
    version = bytes.fromhex("a003020102")
    tail = GOOD.replace(version, b"", 1)
    assert expiry(tail[:2] + (len(tail) - 4).to_bytes(2, "big") + tail[4:6] + (int.from_bytes(tail[6:8], "big") - 5).to_bytes(2, "big") + tail[8:]) \
        == expiry(GOOD)


@pytest.mark.parametrize("data", [
    b"", b"\x30", b"\x30\x05ab", GOOD[:-1], GOOD.replace(b"300131120000Z", b"301331120000Z"), GOOD.replace(b"300131120000Z", b"300131120000+"),
    GOOD.replace(b"\x17\x0d300131", b"\x18\x0d300131"), GOOD.replace(b"\x17\x0d300131", b"\x0c\x0d300131"),
    GOOD.replace(b"\x30\x1e\x17\x0d", b"\x31\x1e\x17\x0d").replace(b"\x30\x20\x18", b"\x31\x20\x18"),
], ids=["nothing", "a tag", "too short", "cut off", "no month", "no zone", "two digits of four", "no time", "no validity"])
def test_what_is_no_certificate(data):
    assert data != GOOD
    with pytest.raises(ValueError, match=r"cut off|no |month"):
        expiry(data)


@given(st.data())
def test_any_bytes_are_a_date_or_refused(data):
    damaged = bytearray(GOOD)
    for place in data.draw(st.lists(st.integers(0, len(GOOD) - 1), max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        assert isinstance(expiry(bytes(damaged)), int)


def known_after(options, *urls, validate=None):
    known = KnownResponses()
    with Client(options, known) as client:
        for url in urls:
            try:
                client.get(url, validate_certs=validate)
            except NetworkError:
                continue
    return known


def rows(known, options):
    return [(item.address, item.expires, item.trusted, item.reason) for item in server_certificates(known, options)]


def test_each_server_once_and_none_that_is_plain(authority):
    options, port = HttpOptions(ca_path=authority.ca), free_port()
    with serve(lambda request: json_reply({}), authority.context()) as server, serve(lambda request: json_reply({})) as plain:
        known = known_after(options, f"{server.url}/a", f"{server.url}/b", f"https://127.0.0.1:{server.port}/", f"https://localhost:{plain.port}/",
                            f"http://localhost:{plain.port}/", f"https://localhost:{port}/")
        found = rows(known, options)
        assert len(server.requests) == 3
    addresses = {f"https://127.0.0.1:{server.port}", f"https://localhost:{server.port}", f"https://localhost:{port}"}
    assert {address for address, *_rest in found} == addresses
    assert [reason for _address, expires, _trusted, reason in found if expires is None] == [
        "it refuses the connection: check that it is running, and the port"]
    assert [trusted for _address, expires, trusted, _reason in found if expires] == [True, True]


def test_what_is_validated_here_and_not_there_is_not_trusted(authority):
    """The certificate of a keyserver that is `insecure` is noted without validation; that the endpoint at the same server is refused stays known."""
    options = HttpOptions()
    with serve(lambda request: json_reply({}), authority.context()) as server:
        known = known_after(options, f"{server.url}/a", validate=False)
        assert [row[2:] for row in rows(known, options)] == [(None, "")]
        with Client(options, known) as client:
            for url, validate in ((f"{server.url}/b", True), (f"{server.url}/c", False)):
                try:
                    client.get(url, validate_certs=validate)
                except NetworkError:
                    continue
        ((_address, expires, trusted, reason),) = rows(known, options)
        assert len(server.requests) == 2  # nothing is asked again for what is known
    assert trusted is False
    assert expires is not None
    assert "ca_path" in reason


def test_a_certificate_that_is_not_trusted_is_asked_for_once_more(authority):
    """Without validation, for nothing, and without a credential: its date is known nevertheless."""
    options = HttpOptions()
    with serve(lambda request: json_reply({}), authority.context()) as server:
        known = known_after(options, f"{server.url}/a")
        ((_address, expires, trusted, reason),) = rows(known, options)
        (asked,) = server.requests
    assert (asked.path, asked.authorization) == ("/", "")
    assert isinstance(expires, (int, float))
    assert trusted is False
    assert "ca_path" in reason


def test_what_cannot_be_read_is_said():
    known = KnownResponses()
    known.over_tls = {("localhost", 443): None, ("::1", 8443): None, ("x", 443): NetworkError("it is late")}
    known.certificates = {("::1", 8443): b"?", ("x", 443): GOOD}
    assert rows(known, HttpOptions()) == [
        ("https://[::1]:8443", None, None, "it shows a certificate whose dates cannot be read: replace it there"),
        ("https://localhost", None, None, "its certificate is not known: the connection did not show it"),
        ("https://x", expiry(GOOD), None, ""),
    ]
