# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What the installed program itself says: `apptainer remote list`, run where it leaves nothing behind, and its table read."""

import os
import re
import shutil
import stat
import tempfile
from typing import Callable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._errors import FormatError
from .._files.locations import REMOTE_YAML
from .._formats.remote_yaml_writer import encode
from .._values.remote_config import RemoteConfig

_USUAL_PLACES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin", "/opt/apptainer/bin", "/opt/singularity/bin")
_VERSION = re.compile(r"(apptainer|singularity)\S* version (\d+)\.(\d+)\S*")
# The first version that looks for the user's file in $HOME or where a variable says, and so can be shown another one (`pkg/syfs/syfs.go`)
_REDIRECTED_FROM = {"apptainer": (1, 1), "singularity": (4, 0)}

Run = Callable[[Sequence[str], Mapping[str, str], str, float], Tuple[bytes, Optional[int]]]


class ListedRemote(NamedTuple):
    """One endpoint in the table. `insecure` is None where it has no such column (1.0)."""

    name: str
    uri: str
    default: bool
    is_global: bool
    exclusive: bool
    insecure: Optional[bool] = None


class ProgramAnswer(NamedTuple):
    """What the program at `path` lists, or why it does not. Without `asked` it was not even run, for the reason in `error`."""

    path: str
    error: Optional[str] = None
    remotes: Tuple[ListedRemote, ...] = ()
    asked: bool = True

    @property
    def active(self) -> str:
        """The name of the default endpoint, or an empty string."""
        return next((remote.name for remote in self.remotes if remote.default), "")

    @property
    def exclusives(self) -> List[str]:
        """Names of the exclusive endpoints, sorted."""
        return sorted(remote.name for remote in self.remotes if remote.exclusive)


def parse_list(text: str) -> Tuple[ListedRemote, ...]:
    """The endpoints in the output of `remote list` of Apptainer 1.0 to 1.5.

    The columns are aligned under their titles, counted in characters (Go's text/tabwriter); up to 1.2 they have YES and NO, from 1.3 marks
    or nothing. Spaces that end a name are lost in it. Source: `internal/app/apptainer/remote_list.go` and the recorded lists of seven
    versions. Raises FormatError.
    """
    lines = text.split("\n")
    start = next((index for index, line in enumerate(lines) if line.split()[:2] == ["NAME", "URI"]), None)
    if start is None:
        raise FormatError("there is no table of endpoints in its output")
    titles = [(match.group().rstrip("?"), match.start()) for match in re.finditer(r"\S+", lines[start])]
    ends = [begin for _title, begin in titles[1:]] + [None]
    found = []
    for line in lines[start + 1:]:
        if not line.strip():
            break
        cells = {title: line[begin:end].rstrip(" ") for (title, begin), end in zip(titles, ends)}
        if not cells[titles[-1][0]]:  # always filled; so here a line break in a name or URI has torn the row
            raise FormatError("a row of its table of endpoints is torn")
        insecure = _is_set(cells["INSECURE"]) if "INSECURE" in cells else not _is_set(cells["SECURE"]) if "SECURE" in cells else None
        default = cells.get("DEFAULT", cells.get("ACTIVE", ""))
        is_global, exclusive = _is_set(cells.get("GLOBAL", "")), _is_set(cells.get("EXCLUSIVE", ""))
        found.append(ListedRemote(cells["NAME"], cells["URI"], _is_set(default), is_global, exclusive, insecure))
    return tuple(found)


def _is_set(cell: str) -> bool:
    return cell in ("YES", "\u2713")


def find_program(flavor: str, sysconfdir: Optional[str] = None) -> Optional[str]:
    """The path of the program: beside `sysconfdir`, in the PATH, or in the usual places; None if it is in none of them."""
    beside = [os.path.join(os.path.dirname(sysconfdir.rstrip("/")), "bin")] if sysconfdir else []
    places = beside + os.environ.get("PATH", "").split(os.pathsep) + list(_USUAL_PLACES)
    return shutil.which(flavor, path=os.pathsep.join(place for place in places if place.startswith("/")))


def who_can_exchange(path: str) -> Optional[str]:
    """Why root must not run the program at `path`, in words: somebody else can write another one there. None if nobody can.

    What belongs to a group is taken for a matter of administrators, as /usr/local on Debian. Raises OSError.
    """
    while True:
        status = os.lstat(path)
        if status.st_uid not in (0, os.geteuid()):
            return "%s belongs to uid %d" % (path, status.st_uid)
        if stat.S_ISLNK(status.st_mode):
            found = who_can_exchange(os.path.realpath(path))
            if found:
                return found
        elif status.st_mode & stat.S_IWOTH and not (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
            return f"everybody can write to {path}"
        if path == "/":
            return None
        path = os.path.dirname(path)


def ask(flavor: str, sysconfdir: Optional[str], timeout: float, run: Run, user: Optional[RemoteConfig]) -> Optional[ProgramAnswer]:
    """What the installed program lists for a user whose file holds `user`, or who has none; None if it is not installed.

    `remote list` makes an empty file in the home, and other commands more, so it gets a home of its own for the time, with a copy of the
    file that holds no secrets. `run` gets arguments, environment, directory and seconds, and says what is printed and the exit status,
    which is None if it did not end in time. `timeout` is for each of two runs. What goes wrong is in the answer.
    """
    path = find_program(flavor, sysconfdir)
    if path is None:
        return None
    try:
        danger = who_can_exchange(path) if os.geteuid() == 0 else None
        if danger:
            return ProgramAnswer(path, f"{danger}, so root does not run it; ask as another user (become: false)", asked=False)
        home = tempfile.mkdtemp(prefix="ansible-hpc.apptainer-")
        try:
            return _run_remote_list(path, flavor, home, timeout, run, user)
        finally:
            shutil.rmtree(home, ignore_errors=True)  # whatever the program made of it
    except OSError as exc:
        return ProgramAnswer(path, f"it cannot be asked: {exc.strerror}", asked=False)


def _run_remote_list(path: str, flavor: str, home: str, timeout: float, run: Run, user: Optional[RemoteConfig]) -> Optional[ProgramAnswer]:
    directory = os.path.join(home, f".{flavor}")
    os.mkdir(directory, 0o700)
    if user is not None:
        remotes = {name: remote._replace(token="") for name, remote in user.remotes.items()}
        with open(os.path.join(directory, REMOTE_YAML), "wb", opener=_private) as stream:
            stream.write(encode(RemoteConfig(user.active, remotes), ""))
    environment = {"HOME": home, f"{flavor.upper()}_CONFIGDIR": directory, "LC_ALL": "C", "PATH": os.environ.get("PATH") or os.defpath}
    version = _VERSION.match(run([path, "--version"], environment, home, timeout)[0].decode("utf-8", "replace"))
    if version and version.group(1) != flavor:
        return None  # the link that Apptainer installs as singularity
    if version and (int(version.group(2)), int(version.group(3))) < _REDIRECTED_FROM[flavor]:
        return ProgramAnswer(path, f"{version.group()} would look into the user's own home and leave files there, so it was not asked", asked=False)
    output, status = run([path, "remote", "list"], environment, home, timeout)
    if status is None:
        return ProgramAnswer(path, f"it did not end within {timeout:g} seconds, or never stops talking")
    if status:  # not what it says of that: a message may quote what is in a file
        return ProgramAnswer(path, "it failed with exit status %d" % status)
    try:
        return ProgramAnswer(path, remotes=parse_list(output.decode("utf-8", "replace")))
    except FormatError as exc:
        return ProgramAnswer(path, str(exc))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL, 0o600)
