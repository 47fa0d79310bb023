#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_fleet_report
short_description: Report which hosts drifted and what differs
description:
  - Reports whether each host is in state, drifted, failed or unreachable. The report is made from the results that the role
    P(hpc.apptainer.apptainer_fleet#role) registered for each host in an earlier play.
  - Writes the report as JSON, as a page for a browser, and as metrics for Prometheus.
  - Differences that are the same on many hosts are reported once.
  - The module runs on the controller and reports on all hosts. One host should run it, as in the playbook C(hpc.apptainer.drift).
    With C(run_once) in a play on many hosts, the exit status under ansible-core 2.16 is 2 instead of 4.
  - The exit status of C(ansible-playbook) is 0 if all hosts are in state, and 2 if some drifted. It is 4 if the state of some hosts is unknown
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
      - Files are written in check mode too, because a drift report is made from a run in check mode.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: none
options:
  hosts:
    description:
      - The names of the hosts to report on. By default all hosts of the play with this task, including failed ones.
    type: list
    elements: str
  applied:
    description:
      - Whether the play changed the hosts, as the playbook C(hpc.apptainer.rollout) does, and did not only compare them.
      - With V(true), differences are reported as changed, or in check mode as to be changed.
      - With V(true), the task fails if a host failed or was unreachable. This stops a play with C(serial) before its next batch. The message
        lists the hosts of the play that were not touched.
    type: bool
    default: false
  title:
    description: The headline of the report.
    type: str
    default: Apptainer drift
  json:
    description:
      - The path of the JSON file. See the notes for its content. Its mode is V(0640).
      - A relative path starts from the directory in which C(ansible-playbook) was started, as for the other files. The directory of the file
        must exist.
    type: path
  html:
    description: The path of the HTML page. The page is one file and loads nothing from elsewhere. Its mode is V(0640).
    type: path
  prometheus:
    description:
      - The path of the metrics file, in the format of the textfile collector of Prometheus' node exporter. The collector only reads files
        whose name ends in C(.prom). Its mode is V(0644).
    type: path
notes:
  - The content of all files is complete before the first one is written, and each file is replaced atomically. A symbolic link is followed
    only if it belongs to root or to the user who runs C(ansible-playbook).
  - The files contain no passwords or tokens, because the results of the modules contain none.
  - The JSON object has the keys C(schema) (1, and a new number whenever the meaning of a key changes), C(title), C(generated) (the time, in
    UTC), C(status) (as RV(status)), C(summary) (as RV(counts)), and five lists.
  - The list C(groups) has one entry for each difference, with C(id), C(title), C(sentences) (the whole difference in words), C(subject),
    C(file), and C(diff). In the diff, C(-) is the content on the first of the hosts, and C(+) the declared content.
  - The lists C(failures) and C(unreachable) have one entry for each C(reason). C({host}) and C({address}) stand for the name and the address
    of each host.
  - The list C(findings) has one entry for each C(finding) and C(severity), with a list C(places) of C(host), C(user), C(path) and C(message).
  - The entries of these four lists have C(count) (the number of hosts), C(hosts) (their names), and C(nodes) (their names, folded, for example
    V(node[1-3])).
  - The list C(hosts) has one entry for each host, with C(name), C(state), C(reason), and C(groups) (the C(id) of each of its differences).
  - The metrics are C(apptainer_fleet_hosts) by C(state), C(apptainer_fleet_host_state) by C(host) and C(state), with a series only for hosts
    that are not in state, C(apptainer_fleet_drift_groups), C(apptainer_fleet_user_findings) by C(finding) and C(severity), and
    C(apptainer_fleet_report_timestamp_seconds), for an alert on a report that is too old.
  - Findings of the audit of users' files affect neither the state of a host nor the exit status of C(ansible-playbook).
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
    - name: Report what differs, and set the exit status
      hpc.apptainer.apptainer_fleet_report:
        hosts: "{{ groups['all'] }}"
        html: /var/www/html/drift.html
        prometheus: /var/lib/prometheus/node-exporter/apptainer-drift.prom
"""

RETURN = r"""
status:
  description: V(0) if all hosts are in state, V(2) if some drifted, V(4) if the state of some is unknown.
  returned: when O(applied=false)
  type: int
  sample: 2
counts:
  description: The number of hosts in each state, the number of groups of equal differences, and the number of findings.
  returned: when O(applied=false)
  type: dict
  sample: {hosts: 2000, in_state: 190, drifted: 1800, failed: 6, unreachable: 4, groups: 20, findings: 3}
summary:
  description: The report in a few lines of text, with the most important line first.
  returned: always
  type: list
  elements: str
  sample:
    - "2000 hosts: 1800 drifted, 200 in state"
    - "Drift on 1800 hosts (node[0001-1800]): global: remote.yaml: endpoint site: exclusive is false, should be true"
files:
  description: The paths of the files that were to be written, by option.
  returned: always
  type: dict
  sample: {html: /var/www/html/drift.html}
"""
