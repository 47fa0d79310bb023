# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation of the collection as a web site, made without a network: its guides, and the reference of all plugins and roles.

Run as a script (`make docs` does), it makes the site below .cache. A warning of antsibull-docs or Sphinx is an error.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "hpc.apptainer"
# Nobody can look up offline what is in Ansible's own documentation, so only references to what this collection has must lead somewhere.
OFFLINE = r"""
intersphinx_mapping = {}
nitpick_ignore_regex = [("std:(ref|envvar)", r"(?!.*hpc\.apptainer).*")]
"""


class DocsiteError(Exception):
    """The site has an error; the message is all that was said about it."""


def build(site: Path) -> Path:
    """Make the site in the directory `site`, and return the directory of its pages."""
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(mode=0o755, parents=True)  # antsibull-docs wants that nobody else can write there
    _run("antsibull-docs", "sphinx-init", "--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", site,
         "--title", "Ansible collection hpc.apptainer", COLLECTION)
    (site / "rst").chmod(0o755)
    with (site / "conf.py").open("a") as conf:
        conf.write(OFFLINE)
    _run("antsibull-docs", "--config-file", site / "antsibull-docs.cfg", "collection", "--cleanup", "everything", "--fail-on-error", "--use-current",
         "--squash-hierarchy", "--dest-dir", site / "rst", COLLECTION)
    _run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "-c", site, site / "rst", site / "html")
    return site / "html"


def _run(program: str, *arguments: str | Path) -> None:
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
                   "ANSIBLE_HOME": str(ROOT / ".cache" / "ansible")}
    done = subprocess.run([programs / program, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise DocsiteError(f"{program}: {done.stdout}")


if __name__ == "__main__":
    try:
        print(f"{build(ROOT / '.cache' / 'docsite') / 'index.html'}")
    except DocsiteError as exc:
        sys.exit(f"make docs: {exc}")
