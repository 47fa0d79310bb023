# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any bytes as files, URIs and answers of servers: what reads them says what is wrong in an error of its own, in linear time.

By atheris, which looks for inputs that reach new code, or by hypothesis where atheris can't be installed. Run as a script in the environment
that has atheris, this is the fuzzer itself.
"""

import contextlib
import gzip
import json
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "format.json.gz"
SLOW = 5.0  # seconds of CPU time for an input of at most LONGEST bytes
LONGEST = 16384
LARGEST = 16 * 1024 * 1024  # what is written must be readable again


def load() -> list[Callable[[bytes], None]]:
    """What reads bytes of others; each raises nothing but an AssertionError, for what must not be."""
    from ansible_collections.hpc.apptainer.plugins.module_utils._apptainer.effective import effective
    from ansible_collections.hpc.apptainer.plugins.module_utils._errors import ApptainerError
    from ansible_collections.hpc.apptainer.plugins.module_utils._formats import docker_json, remote_yaml_reader, remote_yaml_writer
    from ansible_collections.hpc.apptainer.plugins.module_utils._network import challenges, discovery, endpoints, registries
    from ansible_collections.hpc.apptainer.plugins.module_utils._network.client import Response
    from ansible_collections.hpc.apptainer.plugins.module_utils._redaction import redacted, redacted_docker_tree, safe_part, without_login
    from ansible_collections.hpc.apptainer.plugins.module_utils._rules import uris
    from ansible_collections.hpc.apptainer.plugins.module_utils._values import uri

    def remote_yaml(data: bytes) -> None:
        with contextlib.suppress(ApptainerError):
            document = remote_yaml_reader.decode(data, "remote.yaml")
            effective(document.config, document.config)
            remote_yaml_writer.encode(redacted(document.config))
            written = remote_yaml_writer.encode(document.config, document.header)
            assert len(written) <= LARGEST, f"{len(data)} bytes become {len(written)}"
            again = remote_yaml_reader.decode(written, "remote.yaml")
            assert again.config == document.config and again.header == document.header, "what is written does not read back as meant"
            assert remote_yaml_writer.encode(again.config, again.header) == written, "what is written again is something else"

    def docker_config(data: bytes) -> None:
        with contextlib.suppress(ApptainerError):
            config = docker_json.decode(data, "docker-config.json")
            redacted_docker_tree(config.tree, config.tree)
            written = docker_json.encode(config)
            assert docker_json.encode(docker_json.decode(written, "docker-config.json")) == written, "what is written again is something else"

    def uri_of_task(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        without_login(text)
        safe_part(text)
        for function in (uri.parse, uris.checked_endpoint_uri, uris.checked_keyserver_uri, uri.keyserver_identity, uri.hardcoded_keyserver):
            with contextlib.suppress(ApptainerError):
                function(text)
        for insecure in (True, False):
            with contextlib.suppress(ApptainerError):
                uri.is_usable(text, insecure)
                uri.requested_url(text, insecure)

    def challenge(data: bytes) -> None:
        for found in challenges.challenges(data.decode("latin-1")):
            with contextlib.suppress(ApptainerError):
                registries._token_url("http://localhost:1/v2/", found.parameters, True)

    def answer(data: bytes) -> None:
        given = _response(Response, data)
        discovery.is_web_page(given)
        registries._token_in(given)
        registries._user_in(data.decode("utf-8", "replace"))
        endpoints._confirms(given)
        with contextlib.suppress(ValueError):
            discovery._problem(discovery.read_json(given))

    return [remote_yaml, docker_config, uri_of_task, challenge, answer]


def _response(response: Any, data: bytes) -> Any:
    """An answer with these bytes, whatever other fields there are."""
    values = {"status": 200, "body": data, "content_type": "application/json", "challenge": ""}
    return response(**{name: values.get(name, response._field_defaults.get(name, "")) for name in response._fields})


class Seen:
    """What went wrong: each place once, as lines of JSON in a file."""

    def __init__(self, file: Path) -> None:
        self._file, self._places, self.targets = file, set[str](), load()

    def one(self, data: bytes) -> None:
        """Give an input to what its first byte says."""
        if not data:
            return
        target, data = self.targets[data[0] % len(self.targets)], data[1:]
        begin = time.process_time()
        try:
            target(data)
        except Exception as exc:
            frame = traceback.extract_tb(exc.__traceback__)[-1]
            self._note(f"{target.__name__}: {type(exc).__name__} in {Path(frame.filename).name}:{frame.lineno}: {str(exc)[:200]}", data)
        if time.process_time() - begin > SLOW:
            self._note(f"{target.__name__}: slow", data)

    def _note(self, what: str, data: bytes) -> None:
        place = re.sub(r"\d{3,}|'[^']*'", "...", what)
        if place not in self._places:
            self._places.add(place)
            with self._file.open("a") as file:
                file.write(json.dumps({"what": what, "input": data.hex()}) + "\n")


def seeds() -> Iterator[bytes]:
    """Real files, and inputs of the kinds that were trouble once."""
    for case in json.loads(gzip.decompress(GOLDEN.read_bytes()))[:200]:
        for number, name in enumerate(("user", "docker_config")):
            if case["before"].get(name):
                yield bytes([number]) + case["before"][name].encode()
    yield b"\x00Active: " + b"1" * 5000
    yield b"\x00Active: &a [" + b"*a," * 100 + b"]"
    yield b"\x02https://alice:pa55@[::1%25eth0]:443/v2/?token=x#y"
    yield b'\x03Bearer realm="https://auth.example.org/token",service="r", Basic realm="x"'
    yield b'\x04{"libraryAPI": {"uri": "https://library.example.org"}, "params": {}, "n": ' + b"9" * 5000 + b"}"


def fuzz(seconds: int, place: Path) -> tuple[str, int, list[str]]:
    """Look for so long. By what, how many inputs, what was found. Where atheris can't be installed, the first says why."""
    from support import envs

    found = place / "found"
    try:
        python = envs.attack() / "bin" / "python"
    except (RuntimeError, envs.MissingInterpreterError) as exc:
        why = f"hypothesis (atheris can't be installed: {(str(exc).splitlines() or ['?'])[-1]})"
        return (why, _by_hypothesis(seconds, found), _told(found))
    corpus = place / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds()):
        (corpus / str(number)).write_bytes(seed)
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={int(SLOW) * 20}"]
    command = [python, __file__, found, *limits, f"-artifact_prefix={place}/", corpus]
    env = {"PYTHONPATH": str(ROOT / ".collections"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([str(word) for word in command], env=env, capture_output=True, text=True, check=False)
    runs = re.findall(r"Done (\d+) runs|stat::number_of_executed_units: (\d+)|^#(\d+)", done.stderr, re.MULTILINE)
    told = _told(found)
    if done.returncode:
        told.append(f"the fuzzer ended with {done.returncode}: {done.stderr[-500:]}")
    return "atheris", max((int(number) for groups in runs for number in groups if number), default=0), told


def _told(found: Path) -> list[str]:
    notes = map(json.loads, found.read_text().splitlines() if found.exists() else [])
    return [f"{note['what']} <- {bytes.fromhex(note['input'])[:80]!r}" for note in notes]


def _by_hypothesis(seconds: int, found: Path) -> int:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    seen, count, end = Seen(found), 0, time.monotonic() + seconds
    texts = list(seeds())
    cut = st.tuples(st.sampled_from(texts), st.integers(0, 400), st.binary(max_size=8), st.integers(0, 8))
    changed = cut.map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + parts[3]:])

    @settings(max_examples=2000, deadline=None, database=None, derandomize=False, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.one_of(changed, st.binary(max_size=300)))
    def look(data: bytes) -> None:
        nonlocal count
        count += 1
        seen.one(data)

    while time.monotonic() < end:
        look()
    return count


if __name__ == "__main__":
    import atheris

    with atheris.instrument_imports(include=["ansible_collections"]):
        SEEN = Seen(Path(sys.argv[1]))
    atheris.Setup([sys.argv[0], *sys.argv[2:]], SEEN.one)
    atheris.Fuzz()
