# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts that may stand where a URI is expected: with a password in any place, and of every kind for Hypothesis."""

from hypothesis import strategies as st

PASSWORDS = [  # "hun" and "ter2" are the two halves of it
    "https://user:hunter2@h.example/a?x#y",
    "https://user:hunter2@",
    "https://user:hunter2@h.example:port",
    "https://user:hunter2@h.example/a b",
    "https://user:hun/ter2@h.example",
    "https://user:hun?ter2@h.example",
    "https://user:hun#ter2@h.example",
    "https://user:hun ter2@h.example",
    "https://user:hun%zzter2@h.example",
    "https://user:hun@ter2@h.example",
    "https://user:hun[ter2@h.example",
    "https://[user:hun]ter2@h.example",
    "https:user:hunter2@h.example",
    "ftp://user:hunter2@h.example",
    "http://user:hunter2@h.example",
    "user:hunter2@h.example",
    "user:hun/ter2@h.example",
    "user:hun//ter2@h.example",
    "user:hun\x01ter2@h.example",
]

PIECES = [
    "https://", "http://", "ftp://", "https:", "//", "/", ":", "@", "?", "#", "[", "]", "[::1]", "::", ":8443", ":x", "..", ".", "a", "Z9",
    "h.example", "_", "-", "*", "%41", "%2F", "%25", "%3f", "%zz", "%", "%C3%A9", "%ff", "é", " ", "\t", "\x01", "\u2028", "\\", '"', "<", "{",
]  # fmt: skip
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.text(max_size=12))
