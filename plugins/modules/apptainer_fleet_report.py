#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_fleet_report
short_description: Report what differs on which hosts
description:
  - Says of each host whether it is in state, drifted, failed or unreachable, from what the role P(hpc.apptainer.apptainer_fleet#role) left in
    its variables in an earlier play, and writes that as JSON, as a page for a browser, and as metrics.
  - What is the same on many hosts is said once.
  - Works on the controller, for all hosts, so one host should run it, as in the playbook C(hpc.apptainer.drift). With C(run_once) in a play on many
    hosts, ansible-core 2.16 ends with 2 instead of 4.
  - It makes C(ansible-playbook) end with 0 if all hosts are in state, with 2 if some drifted, and with 4 if the state of some is unknown
    because they failed or were unreachable, if there is no host at all, or if a file could not be written.
author:
  - The hpc.apptainer contributors (@hpc-apptainer)
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: none
    details:
      - Files are written in check mode, too. A report about a run in check mode is what this is for.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: none
options:
  hosts:
    description:
      - The names of the hosts to report on. By default all of the play with this task, failed ones included.
    type: list
    elements: str
  applied:
    description:
      - Whether the play did change the hosts, as in the playbook C(hpc.apptainer.rollout), and did not only compare them.
      - What differed has been changed then, or is to be changed in check mode. The task fails, and so stops a play with C(serial) before its next
        batch, if a host failed or was unreachable, and says which hosts of the play were not touched.
    type: bool
    default: false
  title:
    description: What the report is about, for its headline.
    type: str
    default: Apptainer drift
  json:
    description:
      - Where to write the report as JSON, see the notes. Mode C(0640).
      - As for the other files, a relative path is below the directory in which C(ansible-playbook) was started. The directory must exist.
    type: path
  html:
    description: Where to write the page. It is one file and fetches nothing. Mode C(0640).
    type: path
  prometheus:
    description:
      - Where to write the metrics, in the format of the textfile collector of Prometheus' node exporter, which wants a name that ends
        in C(.prom). Mode C(0644).
    type: path
notes:
  - All files are complete before the first one is written, and each is replaced in one step. A symbolic link is followed, unless it is another
    user's than root's and the one who runs C(ansible-playbook).
  - Passwords and tokens are in none of them, as they are in no result of the modules.
  - The JSON object has C(schema) (1, and another number when a key gets another meaning), C(title), C(generated) (the time, in UTC),
    C(status) (as RV(status)), C(summary) (as RV(counts)), and five lists.
  - Its C(groups) has one entry for each difference, with C(id), C(title), all C(sentences) of it, C(subject), C(file), and C(diff), where C(-)
    is what is on the first of the hosts and C(+) what is declared.
  - Its C(failures) and C(unreachable) have one entry for each C(reason). C({host}) and C({address}) stand for those of each host.
  - Its C(findings) has one entry for each C(finding) and C(severity), with C(places), which are C(host), C(user), C(path) and C(message).
  - Entries of these four have the hosts they are about as C(count), C(hosts), and C(nodes), which is folded, like V(node[1-3]).
  - Its C(hosts) has C(name), C(state), C(reason), and C(groups), which are the C(id) of the host's differences.
  - The metrics are C(apptainer_fleet_hosts) by C(state), C(apptainer_fleet_host_state), with a series only for each C(host) that is not in
    state, C(apptainer_fleet_drift_groups), C(apptainer_fleet_user_findings) by C(finding) and C(severity), and
    C(apptainer_fleet_report_timestamp_seconds), to alert on a report that is no longer made.
  - What the audit found in users' files does not change the state of a host, nor how C(ansible-playbook) ends.
"""

EXAMPLES = r"""
- name: Compare the fleet with what is declared
  hosts: all
  gather_facts: false
  check_mode: true
  diff: true
  ignore_unreachable: true
  tasks:
    - name: Compare the files
      ansible.builtin.import_role:
        name: hpc.apptainer.apptainer_fleet

- name: Report
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Say what differs where, and end with 2 or 4 if not all is well
      hpc.apptainer.apptainer_fleet_report:
        hosts: "{{ groups['all'] }}"
        html: /var/www/html/drift.html
        prometheus: /var/lib/prometheus/node-exporter/apptainer-drift.prom
"""

RETURN = r"""
status:
  description: V(0) if all hosts are in state, V(2) if some drifted, V(4) if the state of some is unknown.
  returned: without O(applied)
  type: int
  sample: 2
counts:
  description: How many hosts are in which state, and how many groups of differences and findings there are.
  returned: without O(applied)
  type: dict
  sample: {hosts: 2000, in_state: 190, drifted: 1800, failed: 6, unreachable: 4, groups: 20, findings: 3}
summary:
  description: What is wrong, in lines for a person, the most important first.
  returned: always
  type: list
  elements: str
  sample:
    - "2000 hosts: 1800 drifted, 200 in state"
    - "Drift on 1800 hosts (node[0001-1800]): global: remote.yaml: endpoint site: exclusive is false, should be true"
files:
  description: The paths of the files, by option.
  returned: always
  type: dict
  sample: {html: /var/www/html/drift.html}
"""
