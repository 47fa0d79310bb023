# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What a remote.yaml holds, between bytes and values; and what to say of a global one that Apptainer ignores."""

import contextlib
import errno
import os
import stat
from typing import Iterator, Optional

from .._errors import ApptainerError, FormatError, StoreError, UnreadableError
from .._files.config_file import MAX_BYTES
from .._formats.remote_yaml_reader import decode
from .._formats.remote_yaml_writer import encode
from .._redaction import redacted
from .._values.flavors import FLAVORS, in_words_of
from .._values.remote_config import RemoteConfig

_IS_IGNORED = "Until then, Apptainer ignores it for everyone: no endpoint is exclusive, and its default does not count."
_WAY_OUT = " With unreadable: replace, a new file takes its place, and a copy of it is kept."


class RemoteYaml:
    """What a remote.yaml holds; a content class. `value` is what plans work on; without `has_data` there is nothing in it.

    `refusal` says why the newest version of the program refuses the file, so that it has to be written anew, whatever is in it.
    """

    max_bytes = MAX_BYTES  # that are read of a file
    follows_links = False  # not every program does

    def __init__(self, data: bytes, path: str, flavor: str) -> None:
        document = decode(data, path, flavor)
        self.refusal = f"refused by {FLAVORS[flavor].program} {FLAVORS[flavor].newest}: {document.refused.message}" if document.refused else ""
        self.value = document.config
        self.has_data = document.has_data
        self._header = document.header

    def bytes_of(self, value: RemoteConfig) -> bytes:
        """The bytes to write."""
        return encode(value, self._header)

    @staticmethod
    def has_secrets(value: RemoteConfig) -> bool:
        """Whether there is a token or login in it."""
        return any(remote.token for remote in value.remotes.values()) or bool(value.credentials)

    @staticmethod
    def redacted_text(value: RemoteConfig, before: Optional[RemoteConfig] = None) -> str:
        """What a diff shows: no secrets, but whether they changed."""
        return encode(redacted(value, before)).decode("utf-8")


class UnreadableYaml(RemoteYaml):
    """What stands in place of the content of a remote.yaml that cannot be parsed and is to be replaced: nothing. `problem` says why."""

    def __init__(self, error: FormatError, path: str, flavor: str) -> None:
        super().__init__(b"", path, flavor)
        self.problem = in_words_of(flavor, error.problem)
        self.refusal = f"cannot be read as YAML: {self.problem}"
        self.has_data = False


def ignored_file(error: ApptainerError, can_be_replaced: bool = False) -> UnreadableError:
    """The error about a global file that Apptainer ignores because of `error`."""
    return UnreadableError(f"{error} {_IS_IGNORED}{_WAY_OUT if can_be_replaced else ''}")


@contextlib.contextmanager
def file_expected(path: str, is_global: bool) -> Iterator[None]:
    """Raises UnreadableError if something that is no file is in place of the global file: a directory, or a link that leads nowhere."""
    try:
        yield
    except StoreError as error:
        if not is_global or _is_file(path):
            raise
        raise ignored_file(error) from error


def _is_file(path: str) -> bool:
    """Whether there is a file, as far as can be told; links are followed as the system does it."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        return error.errno not in (errno.ELOOP, errno.ENOTDIR)
