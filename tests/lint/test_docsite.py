# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The web site of the documentation can be made without a warning, and has a page for everything."""

from support import docsite, envs, pages


def test_docsite(tmp_path):
    html = docsite.build(tmp_path / "site")
    modules = [path.stem for path in (envs.ROOT / "plugins" / "modules").glob("apptainer_*.py")]
    guides = [f"docsite/{name}.html" for name in pages.names()]
    reference = [*(f"{name}_module.html" for name in modules), "apptainer_fleet_role.html", "fleet_callback.html", "changelog.html"]
    index = (html / "index.html").read_text()
    for page in [*guides, *reference]:
        assert (html / page).is_file()
        assert f'href="{page}"' in index
