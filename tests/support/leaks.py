# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where secrets must not show up: in which forms, in which processes, in the system's log."""

import base64
import contextlib
import errno
import fcntl
import html
import json
import os
import re
import secrets
import shlex
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator

import yaml

DEV_LOG = "/dev/log"


class NoSyslogError(Exception):
    """The system's log cannot be read here; the message says why."""


def forms(username: str, secret: str) -> set[str]:
    """All texts of which none may appear: the secret as it is, in base64 alone or after the user's name, escaped in the usual ways."""
    if len(secret) < 8:
        raise ValueError("so short a secret is found everywhere")
    found = {secret, repr(secret)[1:-1], shlex.quote(secret)[1:-1], html.escape(secret)}
    found |= {urllib.parse.quote(secret, safe=""), urllib.parse.quote(secret), urllib.parse.quote_plus(secret)}
    for text in (secret, f"{username}:{secret}"):
        for encoding in ("utf-8", "latin-1"):
            with contextlib.suppress(UnicodeEncodeError):
                found |= _base64(text.encode(encoding))
    for ascii_only in (True, False):
        found.add(json.dumps(secret, ensure_ascii=ascii_only)[1:-1])
        for style in ("'", '"'):
            dumped = yaml.safe_dump(secret, default_style=style, allow_unicode=not ascii_only, width=10**6)
            found.add(dumped.strip()[1:-1])
    return {form for form in found if len(form) >= 8}


def leaked(texts: str | Iterable[str], wanted: set[str]) -> list[str]:
    """Those texts in which one of the forms is, though lines be folded there: within words, as base64 is, or at spaces, as YAML is."""
    given = [texts] if isinstance(texts, str) else texts
    return [text for text in given if any(form in view for view in _unfolded(text) for form in wanted)]


def _unfolded(text: str) -> set[str]:
    return {text, re.sub(r"\n\s*", "", text), re.sub(r"\n\s*", " ", text)}


def _base64(data: bytes) -> set[str]:
    """What base64 makes of these bytes wherever they begin in a longer text: without the ends, which depend on what is around them."""
    found = set()
    for before in range(3):
        whole = len(data) + before
        first, last = -(-before * 4 // 3), whole * 4 // 3
        found |= {encode(bytes(before) + data).decode()[first:last] for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    return found


@contextlib.contextmanager
def watched_processes(interval: float = 0.005) -> Iterator[set[str]]:
    """The command lines and environments of all processes that are seen meanwhile. Complete once the block is left."""
    seen: set[str] = set()
    stop = threading.Event()

    def look(pid: str, name: str) -> bytes:
        try:
            with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
                data = file.read(1 << 20)
        except OSError:
            return b""
        seen.add(data.decode("utf-8", "replace").replace("\0", " "))
        return data

    def watch() -> None:
        last: dict[str, bytes] = {}
        while True:
            stopping = stop.is_set()  # look once more after the last process
            found = {pid: look(pid, "cmdline") for pid in os.listdir("/proc") if pid.isdigit()}
            for pid, line in found.items():
                if line != last.get(pid):  # another environment comes with another program, and so with another command line
                    look(pid, "environ")
            last = found
            if stopping:
                return
            stop.wait(interval)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


class Syslog:
    """What came to the system's log."""

    def __init__(self, log: socket.socket) -> None:
        self._log = log
        self._texts: list[str] = []

    def texts(self) -> list[str]:
        """All that was sent until now: a message of our own comes last."""
        mark = secrets.token_hex()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(mark.encode(), DEV_LOG)
        while mark not in self._texts:
            time.sleep(0.001)
        self._texts.remove(mark)
        return list(self._texts)

    def receive(self) -> None:
        while data := self._log.recv(1 << 18):
            self._texts.append(data.decode("utf-8", "replace"))


@contextlib.contextmanager
def captured_syslog() -> Iterator[Syslog]:
    """What programs send to the system's log meanwhile, where none is running and we may be it.

    One process at a time is the log; the others wait. (The lock is on /dev itself, which all checkouts share.)
    """
    lock = os.open(os.path.dirname(DEV_LOG), os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            try:
                _bind(log)
            except OSError as exc:
                raise NoSyslogError(f"{DEV_LOG}: {exc.strerror}") from exc
            syslog = Syslog(log)
            thread = threading.Thread(target=syslog.receive, daemon=True)
            thread.start()
            try:
                yield syslog
            finally:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                    client.sendto(b"", DEV_LOG)
                thread.join()
                os.unlink(DEV_LOG)
    finally:
        os.close(lock)


def _bind(log: socket.socket) -> None:
    if os.path.lexists(DEV_LOG):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            if client.connect_ex(DEV_LOG) != errno.ECONNREFUSED:  # else one of us was killed
                raise NoSyslogError(f"{DEV_LOG} is a real syslog's")
        os.unlink(DEV_LOG)
    log.bind(DEV_LOG)
    os.chmod(DEV_LOG, 0o666)
