# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Small configuration files: found behind symbolic links, read, locked, and replaced as a whole.

The order of use is `path = real_path(name)`, `read(path)` and, only if something has to change: `make_directory(...)`, then `replace(...)`
under `locked(path)`. Root may do all this in the directory of a user who tries to trick it: links are followed by a rule (`real_path`),
and everything afterwards reaches the file through descriptors that were opened without following any.

Every error is a StoreError. It names the path, what the system said and what to do, never the content of the file.
"""

import contextlib
import errno
import fcntl
import os
import platform
import pwd
import stat
import sys
import time
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .._errors import ConflictError, StoreError

MAX_BYTES = 16 * 1024 * 1024
LOCK_FILE = ".ansible-hpc.apptainer.lock"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_UNSUPPORTED = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EROFS)
# include/uapi/linux/fs.h: FS_IOC_GETFLAGS is an _IOR of a long, of which some architectures have an encoding of their own
_GET_FLAGS = (2 << (29 if platform.machine().startswith(("ppc", "mips", "sparc", "alpha")) else 30)
              | (8 if sys.maxsize > 1 << 32 else 4) << 16 | ord("f") << 8 | 1)
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20
_MOUNTS = "/proc/self/mountinfo"
_NOT_PERMITTED = "Run the task as root or as the owner (become_user)."
_NOT_EVEN_ROOT = "Not even root may do this: on NFS, run the task as the owner (become_user); elsewhere, check lsattr flags and SELinux denials."
_OF_USERS = (".apptainer", ".singularity")
_ADVICE = {
    errno.ENOSPC: "Free some space, and run again.",
    errno.EDQUOT: "The disk quota is used up: free some space, and run again.",
    errno.EROFS: "Mount the file system writable, or make the change where its image is built.",
    errno.EBUSY: "If it is a mount point, as in a container, change the file that is mounted there.",
    errno.ENOENT: "Its directory is missing: create it, or find out what removed it.",
    errno.ENOTDIR: "A directory on its path is a file, or became a symbolic link while this task ran: find out what changes it.",
    errno.ELOOP: "It became a symbolic link while this task ran: find out what changes it.",
}


class FileState(NamedTuple):
    """What was read. All four are None where there is no such file."""

    data: Optional[bytes]
    mode: Optional[int]
    uid: Optional[int]
    gid: Optional[int]


def real_path(path: str, root: str = "/", is_file: bool = True) -> str:
    """The absolute path of the real file, which need not exist, behind all symbolic links: links are followed, not replaced.

    With `root`, the root of another system's file tree, `path` must be below it, or below its real path, and links below it mean what
    they mean to that system: an absolute one begins at `root`, and `..` does not lead out of it. So the answer is always below it.

    A link in place of the file is followed only to what its owner could have put there: something inside the link's own directory
    (unless that is sticky, as /tmp), or a target of the same owner; for a missing target its nearest existing parent counts. So root
    neither rewrites /etc/shadow for a user nor keeps the node's configuration in a user's file. A link in place of a directory on the
    path must pass the same test, unless root or the running user created it: /home on another disk is how the administrator built the system.

    With `is_file` false, `path` is that of a directory, and a link in its place is judged as one of a directory on the path.

    Raises StoreError for a link that fails this test, for a loop, and where the path cannot be searched.
    """
    with _explained(path, "find the file"):
        base = _real(os.getcwd(), root, [], False)
        if base == "/":
            return _real(os.getcwd(), path, [], is_file)
        below = os.path.abspath(path)
        for top in (os.path.abspath(root), base):
            if (f"{below}/").startswith(f"{top}/"):
                return _real(base, below[len(top) + 1:], [], is_file, base)
        raise StoreError(f"{path}: is not below the root {root}. Correct one of the two.")


def link_at(path: str, root: str = "/") -> Optional[str]:
    """The symbolic link itself that is in place of the file at `path`, as the real path of its directory with its name; None if it is no link.

    `root` and what is raised are as in real_path().
    """
    directory, name = os.path.split(path)
    link = os.path.join(real_path(directory or ".", root, is_file=False), name)
    return link if os.path.islink(link) else None


def read(path: str) -> FileState:
    """The file at a resolved `path`, or nothing if it or its directory does not exist.

    Raises StoreError if it is no regular file (a FIFO does not block), unreadable, larger than MAX_BYTES, or suddenly behind a link.
    """
    directory, name = os.path.split(path)
    with _explained(path, "read"):
        try:
            with _opened(directory) as parent, _open(name or ".", os.O_RDONLY | os.O_NONBLOCK, parent) as fd:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a device or pipe"
                    raise StoreError(f"{path}: is {kind} where a regular file is expected. Move it away, or name another file.")
                with os.fdopen(fd, "rb", closefd=False) as stream:
                    data = stream.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return FileState(None, None, None, None)
    if len(data) > MAX_BYTES:
        raise StoreError(f"{path}: is larger than {MAX_BYTES >> 20} MiB, so it is not a configuration file. Find out what wrote it.")
    return FileState(data, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


@contextlib.contextmanager
def locked(*paths: str, timeout: float = 30.0) -> Iterator[None]:
    """Keeps every other user of this function away from all files in the directories of the resolved `paths`, which must exist.

    Name all files in one call: files of one directory share its lock, and the order is always the same, so there is no deadlock.
    The lock is an empty file beside them, 0600 and never removed. On NFS and Lustre a lock on the directory itself would be granted
    but hold on this node only, while nodes share home directories; and on a local disk anyone who may read the directory could hold
    it. Where a lock file does not work (read-only, or no locks on files) the directory is locked instead: better than nothing.

    Raises StoreError if it has waited `timeout` seconds for one directory, or may not lock it.
    """
    with contextlib.ExitStack() as held:
        for directory in sorted({os.path.dirname(path) for path in paths}):
            with _explained(directory, "lock this directory"):
                parent = held.enter_context(_opened(directory))
                try:
                    _wait_for(held.enter_context(_lock_file(parent)), directory, timeout)
                except OSError as exc:
                    if exc.errno not in _UNSUPPORTED:
                        raise
                    _wait_for(held.enter_context(_open(".", _DIRECTORY, parent)), directory, timeout)
        yield


def make_directory(path: str, mode: int) -> bool:
    """Creates the directory at the resolved `path`, with `mode` whatever the umask, and its missing parents, 0755.

    Returns whether it created any. What root creates belongs to the owner of the directory it is created in. What exists is left alone.
    Raises StoreError.
    """
    with _explained(path, "create this directory"):
        return _make(path, mode)


def mode_of(path: str) -> int:
    """The mode of what is at `path`. Raises StoreError."""
    with _explained(path, "read the mode"):
        return stat.S_IMODE(os.stat(path or ".").st_mode)


def check_writable(path: str) -> None:
    """Raises StoreError if a file at the resolved `path` could not be replaced or created, as far as one can tell without trying."""
    directory = _nearest(os.path.dirname(path))
    # in an append-only directory others can be made, but nothing can be renamed
    own = directory == os.path.dirname(path)
    for place, forbidding in ((path, _IMMUTABLE | _APPEND_ONLY), (directory, _IMMUTABLE | _APPEND_ONLY if own else _IMMUTABLE)):
        flags = _flags(place) & forbidding
        if flags:
            word, letter = ("immutable", "i") if flags & _IMMUTABLE else ("append-only", "a")
            raise StoreError(f"{path}: cannot write: {os.strerror(errno.EPERM)}. {place} is {word}: find out who made it so, or end that with "
                             f"`chattr -{letter} {place}`. The file is unchanged.")
    with _explained(path, "write", " The file is unchanged."):
        if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            reason = errno.EROFS if os.statvfs(directory).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(reason, os.strerror(reason))
        if _is_mount_point(path):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


class Room(NamedTuple):
    """What a change of the file at a resolved path needs on its file system while old and new files are there: new files of these sizes."""

    path: str
    sizes: Sequence[int]


def check_room(*changes: Room) -> None:
    """Raises StoreError if the file systems have no room for all changes at once, as far as they say.

    What a quota leaves is not known: NFS, Lustre and GPFS, where homes mostly are, each keep it in another way, and Linux only tells that of
    local disks. A file system that counts no blocks or files (sshfs, btrfs, vfat) is taken to have room.
    """
    blocks: Dict[int, int] = {}
    files: Dict[int, int] = {}
    seen = set()
    for change in changes:
        with _explained(change.path, "write", " The file is unchanged."):
            directory = os.path.dirname(change.path)
            existing = _nearest(directory)
            disk, device = os.statvfs(existing), os.stat(existing).st_dev
            missing = directory[len(existing):].strip("/")
            made = 0 if directory in seen else (missing.count("/") + 1 if missing else 0) + (not os.path.lexists(os.path.join(directory, LOCK_FILE)))
            seen.add(directory)
            files[device] = files.get(device, 0) + made + len(change.sizes)
            blocks[device] = blocks.get(device, 0) + sum(-(-size // disk.f_frsize) for size in change.sizes)
            free = disk.f_bavail if os.geteuid() else disk.f_bfree
            if (disk.f_blocks and blocks[device] > free) or (disk.f_files and files[device] > disk.f_ffree):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _nearest(directory: str) -> str:
    """The directory, or its nearest existing parent."""
    while not os.path.exists(directory):
        directory = os.path.dirname(directory)
    return directory


def _flags(path: str) -> int:
    """What chattr set; nothing for a missing file, on file systems that have none, and where nobody may ask."""
    with contextlib.suppress(OSError), _open(path, os.O_RDONLY | os.O_NONBLOCK) as fd:
        return int.from_bytes(fcntl.ioctl(fd, _GET_FLAGS, bytes(8))[:4], sys.byteorder)
    return 0


def _is_mount_point(path: str) -> bool:
    """Whether something is mounted on this very file, as in a container: then it cannot be replaced."""
    with contextlib.suppress(OSError), open(_MOUNTS, "rb") as mounts:
        escaped = b"".join(b"\\%03o" % letter if letter in b" \t\n\\" else bytes([letter]) for letter in os.fsencode(path))
        return any(line.split(b" ", 5)[4] == escaped for line in mounts)
    return False


class Replacement(NamedTuple):
    """New content for the file at a resolved path, its mode, and a uid and gid that it would not get by itself; see replace().

    If `path` is that of a symbolic link which the new file is to replace (link_at), `link` is what it says and `source` its resolved target.
    """

    path: str
    data: bytes
    prepare: Callable[[str], object]
    before: Optional[FileState] = None
    backup: str = ""
    mode: int = 0o600
    owner: Tuple[int, int] = (-1, -1)
    source: str = ""
    link: str = ""


def replace(*changes: Replacement) -> None:
    """Puts new files at the paths of `changes`: whoever looks, at any instant, sees the old or the new file, whole.

    Unless `owner` names another, the owner is kept, or it fails. So is the group; if that is not permitted, it fails only where the old
    mode gave the group rights of its own. A new file that root creates belongs to the owner of its directory. ACLs and other extended
    attributes are not kept: Apptainer's chmod 0600 disables an ACL on a user's file, and everybody may read the global one.
    `prepare` gets the path of the temporary file, in the same directory, to set its security context and nothing else: others may
    replace that file meanwhile.

    With `before`, as read when the change was planned, it fails if the file has changed since: Apptainer itself takes no locks.
    With `backup`, the name of a file that does not exist yet, the old content stays in the same directory under that name. The backup is
    prepared as the new file, but nobody gets more rights than the old one gave: neither mode lets others read a secret in it.

    All temporary files are on disk before the first file is replaced, so that a full disk keeps all as they were.

    Raises StoreError, and whatever `prepare` raises; the old files are then untouched and the temporary ones gone. A kill may leave
    those behind (`.NAME.ansible-*`), with their secrets: a later call removes them when they are an hour old.
    """
    with contextlib.ExitStack() as stack:
        ready = [_prepare(stack, change) for change in changes]
        for change in changes:
            is_another = change.link and _link_text(change.path) != change.link
            if is_another or (change.before is not None and read(change.source or change.path) != change.before):
                raise ConflictError(f"{change.path}: was changed by someone else while this task ran, so it is left as it is now. Run again.")
        for number, (change, parent, temporary) in enumerate(ready):
            replaced = ", ".join(other.path for other in changes[:number])
            with _explained(change.path, "write", f" The file is unchanged{replaced and f', but not {replaced}'}."):
                _rename_into_place(change, parent, temporary)
        for change, parent, temporary in ready:
            with _explained(change.path, "flush its directory to disk", " The new file is in place, but a power failure may undo that."):
                _sync_directory(parent, f"{temporary.rpartition('-')[0]}-")


def _link_text(path: str) -> str:
    """What a symbolic link says; empty if there is none."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _prepare(stack: contextlib.ExitStack, change: Replacement) -> Tuple[Replacement, int, str]:
    """Creates the temporary files of a change; returns them with the descriptor of their directory. They are removed with the stack."""
    directory, name = os.path.split(change.path)
    temporary = f".{name}.ansible-{os.urandom(8).hex()}"
    with _explained(change.path, "write", " The file is unchanged."):
        parent = stack.enter_context(_opened(directory))
        stack.callback(_discard, parent, temporary)
        _fill(parent, change, temporary, change.data)
        if change.backup and change.before is not None and change.before.data is not None:
            stack.callback(_discard, parent, f"{temporary}~")
            _fill(parent, change._replace(mode=change.mode & (change.before.mode or 0)), f"{temporary}~", change.before.data)
    return change, parent, temporary


def _rename_into_place(change: Replacement, parent: int, temporary: str) -> None:
    if change.backup and change.before is not None and change.before.data is not None:
        os.link(f"{temporary}~", change.backup, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    os.replace(temporary, os.path.basename(change.path), src_dir_fd=parent, dst_dir_fd=parent)


def _discard(parent: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=parent)


def owner_of(path: str) -> int:
    """The uid of the owner of `path`, which is no link, or for a missing one of its nearest existing parent. Raises StoreError."""
    with _explained(path, "find the owner"):
        status = _status(path)
    return owner_of(os.path.dirname(path)) if status is None else status.st_uid


def of_root_in_a_home(directory: str) -> Optional[int]:
    """The uid of the owner of a home in which Apptainer's directory belongs to root, as it does after a `sudo apptainer`; else None."""
    with contextlib.suppress(OSError):
        owner = os.stat(os.path.dirname(directory)).st_uid
        if os.path.basename(directory) in _OF_USERS and owner and not os.stat(directory).st_uid:
            return owner
    return None


def _advice_on_home(path: str) -> str:
    """What to do about a user's home that does not exist, or in which root has made Apptainer's directory; nothing, if it is something else."""
    directory = path if os.path.basename(path) in _OF_USERS else os.path.dirname(path)
    home = os.path.dirname(directory)
    if os.path.basename(directory) in _OF_USERS and not os.path.lexists(home):
        return f"The home {home} does not exist on this node. Create it, or run the task where it is."
    owner = of_root_in_a_home(directory)
    return "" if owner is None else f"{directory} belongs to root, perhaps after a sudo. Give it back as root: chown -R {owner} {directory}"


@contextlib.contextmanager
def _explained(path: str, action: str, outcome: str = "") -> Iterator[None]:
    """Turns what the system says into a StoreError."""
    try:
        yield
    except OSError as exc:
        advice = _ADVICE.get(exc.errno or 0, "Retry; if it persists, see the kernel logs of the node and of the file server.")
        if isinstance(exc, PermissionError):
            advice = _advice_on_home(path) or (_NOT_PERMITTED if os.geteuid() else _NOT_EVEN_ROOT)
        raise StoreError(f"{path}: cannot {action}: {exc.strerror or exc}. {advice}{outcome}") from exc


def _real(directory: str, path: str, links: List[str], is_file: bool, root: str = "/") -> str:
    """`path`, seen from a real directory, without links; `links` collects those that were met. Nothing leads out of the real `root`."""
    real = root if path.startswith("/") else directory
    names = path.split("/")
    for index, name in enumerate(names, 1):
        if name == "..":
            real = real if real == root else os.path.dirname(real)
        elif name not in ("", "."):
            real = _behind(os.path.join(real, name), links, is_file and index == len(names), root)
    return real


def _behind(path: str, links: List[str], is_file: bool, root: str) -> str:
    """`path` itself, or where it leads if it is a link that may be followed. Its directory is real."""
    status = _status(path)
    if status is None or not stat.S_ISLNK(status.st_mode):
        return path
    links.append(path)
    if len(links) > 40:  # as in Linux
        raise StoreError(f"{links[0]}: its symbolic links form a loop. Remove one of them.")
    directory = os.path.dirname(path)
    target = _real(directory, os.readlink(path), links, is_file, root)
    trusted = not is_file and status.st_uid in (0, os.geteuid())
    inside = f"{os.path.dirname(target)}/".startswith(f"{directory.rstrip('/')}/") and not os.stat(directory).st_mode & stat.S_ISVTX
    owner = owner_of(target)
    if trusted or inside or owner == status.st_uid:
        return target
    raise StoreError(
        f"{path}: is a symbolic link that belongs to {_user(status.st_uid)}, but {target} belongs to {_user(owner)}, so it is not followed. "
        "Give both the same owner (chown -h), or name the target as the file to manage."
    )


def _status(path: str, parent: Optional[int] = None) -> Optional[os.stat_result]:
    try:
        return os.stat(path, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except ValueError as exc:  # a null byte, or a letter that Python 3.6 cannot encode in the C locale
        raise StoreError(f"{path!r}: is not a possible path on this node ({exc}). Correct it, or set a UTF-8 locale.") from exc


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@contextlib.contextmanager
def _open(name: str, flags: int, parent: Optional[int] = None) -> Iterator[int]:
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _opened(directory: str) -> Iterator[int]:
    """A descriptor of a resolved directory, reached name by name without following a link: whoever exchanges one now is noticed."""
    with contextlib.ExitStack() as way:
        fd = way.enter_context(_open("/", os.O_PATH | os.O_DIRECTORY))
        for name in filter(None, os.path.join(os.getcwd(), directory).split("/")):
            fd = way.enter_context(_open(name, os.O_PATH | os.O_DIRECTORY, fd))
        yield fd


@contextlib.contextmanager
def _lock_file(parent: int) -> Iterator[int]:
    """Open for writing, without which NFS grants no exclusive lock. A new one belongs to the directory's owner, who needs it as well."""
    with contextlib.suppress(FileExistsError), _open(LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL, parent) as fd, contextlib.suppress(OSError):
        _give_to_owner_of(parent, fd)
    with _open(LOCK_FILE, os.O_RDWR, parent) as fd:
        yield fd


def _wait_for(fd: int, directory: str, timeout: float) -> None:
    deadline, pause = time.monotonic() + timeout, 0.01
    while True:
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.monotonic() >= deadline:
            raise StoreError(
                f"{directory}: another task has kept this directory locked for {timeout:g} seconds. Wait for it, or find it with "
                f"`fuser -v {os.path.join(directory, LOCK_FILE)}`, and run again."
            )
        time.sleep(pause)
        pause = min(2 * pause, 0.25)


def _make(path: str, mode: int) -> bool:
    with contextlib.suppress(FileNotFoundError), _opened(path):
        return False
    directory, name = os.path.split(path)
    _make(directory, 0o755)
    with _opened(directory) as parent:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:  # another task was faster
            return False
        with _open(name, _DIRECTORY, parent) as fd:
            if os.listdir(fd):  # else root could be tricked into giving away a directory that was renamed to this name
                raise StoreError(f"{path}: was replaced while it was being created. Find out what replaces it, and run again.")
            _give_to_owner_of(parent, fd)
            os.fchmod(fd, mode)
    return True


def _give_to_owner_of(parent: int, fd: int) -> None:
    """Root creates files for others: what is in a user's directory must belong to the user. Others create their own."""
    if os.geteuid() == 0:
        status = os.fstat(parent)
        os.fchown(fd, status.st_uid, status.st_gid)


def _fill(parent: int, change: Replacement, temporary: str, data: bytes) -> None:
    """Creates the temporary file: whole, prepared, on disk."""
    directory, name = os.path.split(change.path)
    old = None if change.link else _status(name, parent)
    with _open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, parent) as fd:
        with os.fdopen(fd, "wb", closefd=False) as stream:
            stream.write(data)
        if old is None:
            _give_to_owner_of(parent, fd)
        else:
            _keep_owner(change.path, fd, old)
        status = os.fstat(fd)  # what is right already is left alone: some file systems refuse to do even nothing
        if any(wanted not in (-1, now) for wanted, now in zip(change.owner, (status.st_uid, status.st_gid))):
            os.fchown(fd, *change.owner)
        if stat.S_IMODE(status.st_mode) != change.mode:
            os.fchmod(fd, change.mode)
        change.prepare(os.path.join(directory, temporary))
        os.fsync(fd)


def _keep_owner(path: str, fd: int, old: os.stat_result) -> None:
    """Fails for another owner, and for a group whose rights differ from everybody's: 0600 and 0644 say nothing about the group."""
    try:
        os.fchown(fd, old.st_uid, old.st_gid)
    except PermissionError as exc:
        if old.st_uid != os.fstat(fd).st_uid or (old.st_mode >> 3) & 7 != old.st_mode & 7:
            raise StoreError(
                f"{path}: belongs to {_user(old.st_uid)} and group {old.st_gid}, which {_user(os.geteuid())} may not give to a new file. "
                "Run the task as root or as the owner (become_user); the file is unchanged."
            ) from exc


def _sync_directory(parent: int, prefix: str) -> None:
    """Makes the rename durable, where the file system can, and removes what killed runs left long ago."""
    try:
        with _open(".", _DIRECTORY, parent) as fd:
            os.fsync(fd)
            for name in os.listdir(fd):
                if name.startswith(prefix) and os.lstat(name, dir_fd=fd).st_mtime < time.time() - 3600:
                    os.unlink(name, dir_fd=fd)
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, *_UNSUPPORTED):
            raise
