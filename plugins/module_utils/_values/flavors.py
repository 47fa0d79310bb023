# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The two programs that have these files, and all in which they differ, as one table; and messages in the words of either.

Sources: the code of Apptainer 1.0 to 1.5 and its main branch, and of SingularityCE 3.8 to 4.5; recorded runs (tests/golden).
"""

import re
from typing import Mapping, NamedTuple, Tuple


class Flavor(NamedTuple):
    """One program.

    `newest` is its newest minor version that is released: a file that this one refuses has no effect. `versions` are its minor versions
    that read and write as a minor version of Apptainer does, by that: `1.0` had the first form of the structs, `1.1` and `1.2` have yaml v2,
    `1.3` and `1.4` yaml v3, `1.5` an early and `1.6` a later v4. `follows_links`: whether it opens a remote.yaml that is a symbolic link
    (SingularityCE from 4.5.0 with O_NOFOLLOW, `pkg/syfs`). `same_name_is_fatal`: whether a user's endpoint with the name of a global one makes
    commands fail (`SyncFrom` in remote.go; Apptainer since 1.1.6 takes the user's). `has_fixed_services`: whether it knows the keyserver
    of `cloud.apptainer.org` without asking (`endpoint/service.go`). `has_docker_fallback`: whether it looks for logins to registries in
    docker's own file if there is no docker-config.json (SearchDockerConf in `pkg/syfs/syfs.go`, Apptainer since 1.4). `only_newest_counts`:
    whether a file is readable if the newest version reads it, not only if all do since the structs have their present form. `words` are
    said instead of those about Apptainer.
    """

    program: str
    newest: str
    versions: Mapping[str, Tuple[str, ...]]
    follows_links: bool = True
    same_name_is_fatal: bool = False
    has_fixed_services: bool = True
    has_docker_fallback: bool = True
    only_newest_counts: bool = False
    words: Tuple[Tuple[str, str], ...] = ()


_APPTAINER_VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6")
FLAVORS: Mapping[str, Flavor] = {
    "apptainer": Flavor("Apptainer", "1.5", {version: (version,) for version in _APPTAINER_VERSIONS}),
    "singularity": Flavor(
        "SingularityCE", "4.5",
        {"1.0": ("3.8",), "1.2": ("3.9", "3.10", "3.11"), "1.3": ("4.0", "4.1", "4.2", "4.3", "4.4"), "1.6": ("4.5",)},
        follows_links=False, same_name_is_fatal=True, has_fixed_services=False, has_docker_fallback=False, only_newest_counts=True,
        words=(
            # The longer ones first. Where the first version that does it is not known, none is named.
            (r"Apptainer 1\.0 cannot use the uri (.*), which 1\.1 and newer need for a port; upgrade nodes that still have 1\.0",
             r"SingularityCE 3.8 cannot use the uri \1, which 3.9 and newer need for a port; upgrade nodes that still have 3.8"),
            (r"Apptainer 1\.1 and newer", "SingularityCE 3.9 and newer"),
            (r"Apptainer before 1\.5", "SingularityCE before 4.5"),
            (r"Apptainer [0-9.]+ and newer do not", "SingularityCE does not"),
            (r"Apptainer(?: from)? [0-9]+[.][0-9]+(?: on| and newer| to [0-9]+[.][0-9]+)?", "SingularityCE"),
            (r"(?<![\w/.@:-])Apptainer(?![\w/-])", "SingularityCE"),
            (r"(?<![\w/.@:-])apptainer(?= (?:remote|keyserver|registry|command)\b)", "singularity"),
        )),
}
_IN_QUOTES = re.compile(r'("(?:[^"\\]|\\.)*")')


def refusing_versions(refused_by: Tuple[str, ...], flavor: str) -> Tuple[str, ...]:
    """The minor versions of a program that refuse what the minor versions `refused_by` of Apptainer refuse."""
    return tuple(own for version, same in FLAVORS[flavor].versions.items() if version in refused_by for own in same)


def in_words_of(flavor: str, message: str) -> str:
    """A message that was written for Apptainer in the words of this program. What is in double quotes stays, and so do paths and URIs."""
    parts = _IN_QUOTES.split(message)
    for pattern, words in FLAVORS[flavor].words:
        parts[::2] = [re.sub(pattern, words, part) for part in parts[::2]]
    return "".join(parts)
