# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real servers on loopback, for tests: OCI registries, an HKP keyserver, and what speaks as a Library API service does.

Each is a context manager that gives a value with what a test needs. `tests/conftest.py` makes fixtures of them: one set per test process,
started when the first test wants it. All ports are free ones; all files are in a directory of their own below /tmp, gone at the end.
"""
