# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every recorded rewriting of a file by one command: our bytes are those of Apptainer 1.3 to 1.5, but for the deviations named here.

Apptainer's main branch and SingularityCE 4.5 write the same but for the quotes of some scalars: the same content, so a file is not rewritten
for it.
"""

from __future__ import annotations

import re

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import FormatError
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_reader import decode
from ansible_collections.hpc.apptainer.plugins.module_utils._formats.remote_yaml_writer import encode
from ansible_collections.hpc.apptainer.plugins.module_utils._values.remote_config import Remote
from support.golden import PROGRAMS, V4, all_cases, cases, check_all, flavor_of, versions, without_quotes

SAME_BYTES = ("1.3", "1.4", "1.5")

MERGE = "1.3 and 1.4 write << without quotes, which makes a name unreadable; we quote it as 1.5 does"
LOST = "1.3 and 1.4 drop a line break that begins a text; we keep it, as 1.5 does"
UNREADABLE = "no version can read the block that it writes for a text with a leading space inside a list; we quote it"

DEVIATIONS = {
    "format-1.4.5-0000": MERGE,
    "format-1.4.5-0042": MERGE,
    "format-1.4.5-0007": LOST,
    "format-1.4.5-0057": LOST,
    "format-1.5.3-0246": UNREADABLE,
    "format-1.5.3-0290": UNREADABLE,
    "format-1.6.0-0000": UNREADABLE,
    "format-1.6.0-0068": UNREADABLE,
}


def effect(argv, config, version):
    """What the commands of this recording do: remote add, remove and use, in one file."""
    options, words = argv[2:argv.index("--")], argv[argv.index("--") + 1:]
    is_global = "--global" in options or "--exclusive" in options
    remotes, name, active = dict(config.remotes), words[0], config.active
    if argv[1] == "add":
        remotes[name] = Remote(words[1].replace("https://", ""), system=is_global)
        active = name if version >= "1.3" else active
    elif argv[1] == "remove":
        del remotes[name]
        active = "" if active == name else active
    else:
        if "--exclusive" in options and active in remotes:
            remotes[active] = remotes[active]._replace(exclusive=False)
        remotes[name] = remotes[name]._replace(exclusive="--exclusive" in options)
        active = name
    return config._replace(active=active, remotes=remotes)


def recorded(case):
    """The file's bytes before and after, and the command."""
    (step,) = case["steps"]
    (kind,) = (kind for kind in ("system", "user") if case["before"][kind] is not None)
    before = case["before"][kind]
    return before.encode(), step["after"].get(kind, before).encode(), step


@versions(all_cases("format"))
def test_same_files(version):
    check_all(check_same_file, {case["id"]: case for case in all_cases("format") if case["version"] == version})


def check_same_file(case):
    before, after, step = recorded(case)
    flavor = flavor_of(case)
    if step["exit"]:
        assert after == before
        if "while parsing remote config data" in step["stderr_last"]:
            with pytest.raises(FormatError):
                decode(before, "remote.yaml", flavor)
        return
    config = effect(step["argv"], decode(before, "remote.yaml", flavor).config, case["version"])
    ours = encode(config)
    assert decode(ours, "remote.yaml").config == config
    if case["id"] in DEVIATIONS:
        assert ours != after
    elif case["version"].startswith(SAME_BYTES):
        assert ours == after
    elif case["version"].startswith(V4):
        assert without_quotes(ours.decode()) == without_quotes(after.decode())
        assert decode(after, "remote.yaml", flavor).config == config
    else:
        assert decode(after, "remote.yaml").config == config


def test_deviations_are_real():
    """What is named LOST and UNREADABLE: Apptainer's own file is another one, or none, when it is read back."""
    by_id = {case["id"]: case for case in all_cases("format")}
    for name, reason in DEVIATIONS.items():
        before, after, step = recorded(by_id[name])
        config = effect(step["argv"], decode(before, "remote.yaml").config, by_id[name]["version"])
        try:
            read_back = decode(after, "remote.yaml").config
        except FormatError:
            read_back = None
        assert (read_back == config) == (name == "format-1.4.5-0042"), reason  # there << is a secret, which can be read all the same


# What they write in single quotes, and we as Apptainer 1.3 to 1.5 do in double ones. All versions read either.
IN_SINGLE_QUOTES = r"y|Y|yes|Yes|YES|on|On|ON|n|N|no|No|NO|off|Off|OFF|<<|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"


@pytest.mark.parametrize("program", PROGRAMS)
def test_quotes_differ_only_where_it_is_known(program):
    found = set()
    for case in cases("format", program):
        before, after, step = recorded(case)
        if not step["exit"] and case["id"] not in DEVIATIONS:
            ours = encode(effect(step["argv"], decode(before, "remote.yaml", PROGRAMS[program]).config, case["version"]))
            lines = zip(ours.decode().split("\n"), after.decode().split("\n"), strict=True)
            found |= {re.search(r"'(.*)'", theirs).group(1) for own, theirs in lines if own != theirs}
    assert len(found) >= 10
    assert [text for text in found if not re.fullmatch(IN_SINGLE_QUOTES, text)] == []
