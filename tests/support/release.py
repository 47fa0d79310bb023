# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tarball for Galaxy, with the same bytes wherever and whenever it is made of the same files.

Run as a script, `build` makes it in dist/. `release` does so for what is committed, installs it where nothing but ansible-core is, uses it there, and
prints the notes for the tag.
"""

import datetime
import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import yaml

from support import envs, processes

DIST = envs.ROOT / "dist"
REMOTES = [{"name": "site", "uri": "https://library.example.org", "exclusive": True}]


class ReleaseError(Exception):
    """Something is not fit to be released; the message says what."""


def build(source: Path, directory: Path) -> Path:
    """Build the collection of a directory into another one, and return the tarball."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        galaxy = envs.core("running") / "bin" / "ansible-galaxy"
        _run(galaxy, "collection", "build", source, "--output-path", scratch, env=processes.clean_env(Path(scratch) / "home"))
        (built,) = Path(scratch).glob("*.tar.gz")
        tarball = directory / built.name
        tarball.write_bytes(_normalized(built, _date(source)))
    return tarball


def notes(source: Path, version: str) -> str:
    """What the changelog says about a version, with its heading."""
    found = re.search(rf"^v{re.escape(version)}\n=+\n.*?(?=^v\d|\Z)", (source / "CHANGELOG.rst").read_text(), re.DOTALL | re.MULTILINE)
    if not found:
        raise ReleaseError(f"CHANGELOG.rst has nothing about version {version}: run antsibull-changelog release")
    return found[0].strip()


def use(tarball: Path, scratch: Path) -> None:
    """Install a tarball where nothing but ansible-core is, and use a module and the role there; each run changes what it must, and no second one does."""
    programs = envs.only_core() / "bin"
    config = scratch / "ansible.cfg"
    config.write_text("[defaults]\nlocalhost_warning = false\n")
    env = processes.clean_env(scratch / "home", {"ANSIBLE_CONFIG": config, "ANSIBLE_COLLECTIONS_PATH": scratch})
    _run(programs / "ansible-galaxy", "collection", "install", "--offline", "-p", scratch, tarball, env=env, cwd=scratch)
    shown = json.loads(_run(programs / "ansible-doc", "--json", "hpc.apptainer.apptainer_remotes", env=env, cwd=scratch))
    source = shown["hpc.apptainer.apptainer_remotes"]["doc"]["filename"]
    if not Path(source).is_relative_to(scratch):
        raise ReleaseError(f"ansible-doc shows {source} instead of what was installed")

    file = scratch / "remote.yaml"
    arguments = json.dumps({"scope": "global", "config_file": str(file), "verify": "never", "remotes": REMOTES})
    for expected in ("CHANGED", "SUCCESS"):
        said = _run(programs / "ansible", "localhost", "-m", "hpc.apptainer.apptainer_remotes", "-a", arguments, env=env, cwd=scratch)
        if f"localhost | {expected} =>" not in said or "library.example.org" not in file.read_text():
            raise ReleaseError(f"apptainer_remotes should have said {expected}: {said}")

    root, playbook = scratch / "root", scratch / "site.yml"
    (root / "etc").mkdir(parents=True)
    variables = {"apptainer_fleet_verify": False, "apptainer_fleet_config_root": str(root), "apptainer_fleet_remotes": REMOTES}
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "vars": variables, "roles": ["hpc.apptainer.apptainer_fleet"]}]))
    for changed in (1, 0):
        said = _run(programs / "ansible-playbook", playbook, env=env, cwd=scratch)
        if not re.search(rf"\bchanged={changed}\b", said) or not list(root.glob("**/remote.yaml")):
            raise ReleaseError(f"the role should have changed {changed}: {said}")


def release() -> str:
    """Build what is committed in dist/, use it, and return what to do with it and the notes for the tag."""
    if changes := subprocess.check_output(["git", "status", "--porcelain"], cwd=envs.ROOT, text=True):
        raise ReleaseError(f"not everything is committed:\n{changes}")
    version = yaml.safe_load((envs.ROOT / "galaxy.yml").read_text())["version"]
    text = notes(envs.ROOT, version)
    tarball = build(envs.ROOT, DIST)
    with tempfile.TemporaryDirectory() as scratch:
        use(tarball, Path(scratch))
    checksum = hashlib.sha256(tarball.read_bytes()).hexdigest()
    return f"{text}\n\n{checksum}  {tarball.relative_to(envs.ROOT)}\nTag the commit with {version} and these notes, and upload the tarball."


def _date(source: Path) -> int:
    """The date of the newest release in the changelog, which all files in the tarball have, in seconds since 1970."""
    releases = yaml.safe_load((source / "changelogs" / "changelog.yaml").read_text())["releases"].values()
    newest = max(entry["release_date"] for entry in releases)
    return int(datetime.datetime.fromisoformat(newest).replace(tzinfo=datetime.UTC).timestamp())


def _normalized(tarball: Path, date: int) -> bytes:
    """What ansible-galaxy built, in the order of names instead of the directory's, and with one date instead of each file's and the clock's."""
    with tarfile.open(tarball) as archive:
        members = {member.name: member for member in archive.getmembers()}
        contents = {name: archive.extractfile(name).read() for name, member in members.items() if member.isfile()}
    files, manifest = json.loads(contents["FILES.json"]), json.loads(contents["MANIFEST.json"])
    files["files"].sort(key=lambda entry: entry["name"])
    contents["FILES.json"] = json.dumps(files, indent=1).encode()
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(contents["FILES.json"]).hexdigest()
    contents["MANIFEST.json"] = json.dumps(manifest, indent=1).encode()

    data = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=data, mode="wb", mtime=date) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        # Galaxy's server and client read these two first.
        for name in sorted(members, key=lambda name: (name != "MANIFEST.json", name != "FILES.json", name)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mtime, entry.size = members[name].type, date, len(contents.get(name, b""))
            entry.mode = 0o755 if members[name].mode & 0o100 else 0o644
            entry.linkname = members[name].linkname
            archive.addfile(entry, io.BytesIO(contents.get(name, b"")))
    return data.getvalue()


def _run(*command: object, env: dict[str, str], cwd: Path = envs.ROOT) -> str:
    done = processes.run(*command, env=env, cwd=cwd)
    if done.returncode:
        raise ReleaseError(f"failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    try:
        print(build(envs.ROOT, DIST) if sys.argv[1] == "build" else release())
    except (ReleaseError, RuntimeError) as exc:
        sys.exit(f"make {sys.argv[1]}: {exc}")
