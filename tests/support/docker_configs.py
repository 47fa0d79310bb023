# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Contents of a docker-config.json: made by hand, and of every kind for Hypothesis."""

from __future__ import annotations

import base64
import itertools

from ansible_collections.hpc.apptainer.plugins.module_utils._formats.docker_json import _ENTRY_KEYS
from ansible_collections.hpc.apptainer.plugins.module_utils._rules.registries import encode_login
from ansible_collections.hpc.apptainer.plugins.module_utils._values.docker_config import DockerConfig
from hypothesis import strategies as st


def config(auths=None, **others):
    return DockerConfig({"auths": auths or {}, **others}, True)


# Secrets in all places, each of which has "hunter2" in it
FULL = DockerConfig({
    "credsStore": "s", "credHelpers": {"https://u:hunter2@h": "x"}, "HttpHeaders": {"Authorization": "hunter2"}, "proxies": "hunter2",
    "auths": {
        "https://u:hunter2@h/": {"auth": base64.b64encode(b"alice:hunter2").decode(), "email": "e"},
        "i": {"username": "u", "password": "hunter2", "identitytoken": "hunter2i", "registrytoken": "hunter2r", "odd": "hunter2o", "n": ["hunter2"]},
        "j": None, "k": {"auth": "", "serveraddress": "https://hunter2"},
    },
}, True)  # fmt: skip

TEXT = st.text(max_size=8)
SAFE_KEYS = TEXT.filter(lambda key: key.casefold() not in ("auths", "credhelpers", "credsstore", *_ENTRY_KEYS))
VALUES = st.recursive(st.none() | st.booleans() | TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8)
NAMES = st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), min_size=1, max_size=6)
PASSWORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(lambda text: text == text.strip("\0"))
AUTHS = st.builds(encode_login, NAMES, PASSWORDS)
ENTRIES = st.builds(lambda known, unknown: {**known, **unknown},
                    st.fixed_dictionaries({}, optional={"auth": AUTHS, **dict.fromkeys(("username", "password", "identitytoken", "email"), TEXT)}),
                    st.dictionaries(SAFE_KEYS, VALUES, max_size=2))
_HOSTS = ["reg.example", "reg.example:5000", "[::1]:5000", "docker.io", "index.docker.io", "registry-1.docker.io", "ä.example"]
HOSTS = st.sampled_from(_HOSTS)
KEYS = TEXT | st.sampled_from([prefix + host + suffix for prefix, host, suffix in itertools.product(
    ["", "http://", "https://", "HTTPS://u:p@"], [*_HOSTS, *map(str.upper, _HOSTS)], ["", "/", "/v1", "/v1/", "/v2/", "/V2", "/org", "/org/v1/"])])
CONFIGS = st.builds(lambda auths, others: DockerConfig({"auths": auths, **others}, True),
                    st.dictionaries(KEYS, ENTRIES | st.none(), max_size=4), st.dictionaries(SAFE_KEYS, VALUES, max_size=3))
# The same with few kinds of entries and of other keys, for rules that do not look into them
LOGINS = st.builds(
    lambda auths, others: DockerConfig({"auths": auths, **others}, True),
    st.dictionaries(KEYS, st.sampled_from([
        {"auth": "b2xkOm9sZA=="}, {"username": "u", "password": "p", "email": "e"}, {"identitytoken": "t", "more": [1]}, {}, None]), max_size=4),
    st.sampled_from([{}, {"x": 1}, {"HttpHeaders": {"a": "b"}, "proxies": None}]))
