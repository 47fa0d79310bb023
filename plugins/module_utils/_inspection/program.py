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
_VERSION = re.compile(r"(apptainer|singularity)\S* version ([0-9]{1,9})\.([0-9]{1,9})\S*")
# The first version that looks for the user's file in $HOME or where a variable says, so that it can be given another one (`pkg/syfs/syfs.go`).
_REDIRECTED_FROM = {"apptainer": (1, 1), "singularity": (4, 0)}

Run = Callable[[Sequence[str], Mapping[str, str], str, float], Tuple[bytes, Optional[int]]]


class Question(NamedTuple):
    """For whom the program is asked: a user whose file holds `user`, or who has none. `is_link`: this file is a symbolic link that the
    program may refuse. `is_torn`: what the files hold cannot be read in a table."""

    user: Optional[RemoteConfig] = None
    is_link: bool = False
    is_torn: bool = False


class ListedRemote(NamedTuple):
    """One row of the table. `insecure` is None where the table has no such column (1.0)."""

    name: str
    uri: str
    default: bool
    is_global: bool
    exclusive: bool
    insecure: Optional[bool] = None


class ProgramAnswer(NamedTuple):
    """What the program at `path` lists, or in `error` why it does not. If `asked` is false, it was not even run, so nothing is compared."""

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
    """The endpoints in the output of `remote list` of Apptainer 1.0 to 1.6. Raises FormatError.

    The columns are aligned under their titles, counted in characters (Go's text/tabwriter); up to 1.2 they have YES and NO, from 1.3 check
    marks or nothing. Spaces at the end of a name are lost in the table. Source: `internal/app/apptainer/remote_list.go`; the recorded lists
    of seven versions.
    """
    lines = text.split("\n")
    start = next((index for index, line in enumerate(lines) if line.split()[:2] == ["NAME", "URI"]), None)
    if start is None:
        raise FormatError("there is no table of endpoints in its output")
    titles = [(match.group().rstrip("?"), match.start()) for match in re.finditer(r"\S+", lines[start])]
    ends = [begin for _title, begin in titles[1:]] + [None]
    remotes = []
    for line in lines[start + 1:]:
        if not line.strip():
            break
        cells = {title: line[begin:end].rstrip(" ") for (title, begin), end in zip(titles, ends)}
        if not cells[titles[-1][0]]:  # this cell is never empty, so a line break in a name or URI has torn the row
            raise FormatError("a row in its table of endpoints is torn")
        remotes.append(ListedRemote(
            name=cells["NAME"],
            uri=cells["URI"],
            default=_is_set(cells.get("DEFAULT", cells.get("ACTIVE", ""))),
            is_global=_is_set(cells.get("GLOBAL", "")),
            exclusive=_is_set(cells.get("EXCLUSIVE", "")),
            insecure=_is_set(cells["INSECURE"]) if "INSECURE" in cells else not _is_set(cells["SECURE"]) if "SECURE" in cells else None))
    return tuple(remotes)


def _is_set(cell: str) -> bool:
    return cell in ("YES", "\u2713")  # a check mark


def find_program(flavor: str, sysconfdir: Optional[str] = None) -> Optional[str]:
    """The path of the program: beside `sysconfdir`, on the PATH, or in the usual places; None if it is in none of them."""
    beside = [os.path.join(os.path.dirname(sysconfdir.rstrip("/")), "bin")] if sysconfdir else []
    directories = beside + os.environ.get("PATH", "").split(os.pathsep) + list(_USUAL_PLACES)
    return shutil.which(flavor, path=os.pathsep.join(directory for directory in directories if directory.startswith("/")))


def who_can_replace(path: str) -> Optional[str]:
    """Why root must not run the program at `path`, in words: another user can put a different one there. None if nobody can.

    Group permissions are left to the administrators, as with Debian's /usr/local. Raises OSError.
    """
    while True:
        status = os.lstat(path)
        if status.st_uid not in (0, os.geteuid()):
            return f"{path} belongs to uid {status.st_uid}"
        if stat.S_ISLNK(status.st_mode):
            reason = who_can_replace(os.path.realpath(path))
            if reason:
                return reason
        elif status.st_mode & stat.S_IWOTH and not (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
            return f"everyone can write to {path}"
        if path == "/":
            return None
        path = os.path.dirname(path)


def ask_program(flavor: str, sysconfdir: Optional[str], timeout: float, run: Run, question: Question) -> Optional[ProgramAnswer]:
    """What the installed program lists for a user; None if it is not installed.

    `remote list` leaves an empty file in the home, and other commands more (recorded runs of remote_ops), so it gets a temporary home, with
    a copy of the file without secrets, behind a symbolic link if the file itself is. `run` takes arguments, environment, directory and
    seconds, and returns the output and the exit status, which is None if the program did not finish in time. `timeout` is for each of two
    runs. What goes wrong is in the answer.
    """
    path = find_program(flavor, sysconfdir)
    if path is None:
        return None
    if question.is_torn:
        return ProgramAnswer(path, "a name or uri in the files has a tab or a line break, which tears the table of its remote list, so it was not "
                                   "run and nothing was compared; give that endpoint another name or uri", asked=False)
    try:
        reason = who_can_replace(path) if os.geteuid() == 0 else None
        if reason:
            return ProgramAnswer(path, f"{reason}, so root does not run it; run the task as another user (become: false)", asked=False)
        home = tempfile.mkdtemp(prefix="ansible-hpc.apptainer-")
        try:
            return _run_remote_list(path, flavor, home, timeout, run, question)
        finally:
            shutil.rmtree(home, ignore_errors=True)  # whatever the program left in it
    except OSError as error:
        return ProgramAnswer(path, f"it cannot be run: {error.strerror}", asked=False)


def _run_remote_list(path: str, flavor: str, home: str, timeout: float, run: Run, question: Question) -> Optional[ProgramAnswer]:
    directory = os.path.join(home, f".{flavor}")
    os.mkdir(directory, 0o700)
    if question.user is not None:
        remotes = {name: remote._replace(token="") for name, remote in question.user.remotes.items()}
        file = os.path.join(directory, REMOTE_YAML)
        if question.is_link:
            os.symlink(f"{REMOTE_YAML}.target", file)
            file += ".target"
        with open(file, "wb", opener=_private) as stream:
            stream.write(encode(RemoteConfig(question.user.active, remotes), ""))
    environment = {"HOME": home, f"{flavor.upper()}_CONFIGDIR": directory, "LC_ALL": "C", "PATH": os.environ.get("PATH") or os.defpath}
    version = _VERSION.match(run([path, "--version"], environment, home, timeout)[0].decode("utf-8", "replace"))
    if version and version.group(1) != flavor:
        return None  # the link named singularity that Apptainer installs
    if version and (int(version.group(2)), int(version.group(3))) < _REDIRECTED_FROM[flavor]:
        return ProgramAnswer(path, f"{version.group()} would use the user's own home and leave files there, so it was not run", asked=False)
    output, status = run([path, "remote", "list"], environment, home, timeout)
    if status is None:
        return ProgramAnswer(path, f"it did not finish within {timeout:g} seconds, or its output did not end")
    if status:  # without its message, which may quote what is in a file
        return ProgramAnswer(path, f"it failed with exit status {status}")
    try:
        return ProgramAnswer(path, remotes=parse_list(output.decode("utf-8", "replace")))
    except FormatError as error:
        return ProgramAnswer(path, str(error))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL, 0o600)
