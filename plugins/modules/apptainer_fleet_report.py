#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_fleet_report
short_description: Report which hosts drifted and what differs
description:
  - Reports whether each host is in state, undeclared, drifted, failed or unreachable. The report is made from the variable
    C(apptainer_fleet_result) that the role P(hpc.apptainer.apptainer_fleet#role) registered for each host in an earlier task or play.
  - Prints the report in a few lines, and writes it as JSON, as a page for a browser, and as metrics for Prometheus.
  - Differences that are the same on many hosts are reported once.
  - The module runs on the controller and reports on all hosts, so only one host should run it (C(run_once)).
  - The task does not fail for what happened on hosts or to files. It returns the hosts to blame (RV(problems)) and what is wrong with the report
    itself (RV(errors)), and the playbooks C(hpc.apptainer.drift) and C(hpc.apptainer.rollout) let exactly these hosts, or localhost, fail.
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
  state:
    description:
      - V(finished) makes the report.
      - V(begun) is for the start of a run. The JSON file and the page of an earlier run are replaced by ones that say that a run has begun and has
        not finished, so that they cannot be taken for the report on this run if it never ends. The metrics stay, because they contain the time at
        which they were made.
    type: str
    choices: [begun, finished]
    default: finished
  hosts:
    description:
      - The names of the hosts to report on. By default all hosts of the play with this task, including failed ones.
      - With O(applied=true), the hosts of the batch.
    type: list
    elements: str
  pattern:
    description:
      - With O(state=begun), a pattern for all hosts of a run in several batches or plays. By default they are all hosts of the play with the task
        that makes the report.
      - If no host matches, the report says so at once, because no later task will run.
      - A host of the run that has no results and is not in O(hosts) was not touched yet.
    type: str
  canaries:
    description:
      - With O(pattern), patterns for the hosts of the run that come first. They must match a host of the inventory, which C(--limit) may exclude.
    type: list
    elements: str
    default: []
  applied:
    description:
      - Whether the play changed the hosts, as the playbook C(hpc.apptainer.rollout) does, and did not only compare them.
      - With V(true), differences are reported as changed, or in check mode as to be changed. They are no problem, but a global file that
        cannot be read is a failure.
      - With V(true), the lines are about the batch (O(hosts)). All other return values, and the files, are about all hosts that were begun so far.
    type: bool
    default: false
  max_unreachable:
    description:
      - How many hosts may be unreachable without RV(stop). Only used with O(applied=true), or with O(pattern).
      - A number of hosts (V(3)), or a percentage of all hosts of the run (V(10%)), which is rounded up to a whole host.
    type: str
    default: 10%
  max_age:
    description:
      - After how many hours a report is stale, unless there is a newer one. The page then says so by itself. V(0) means never.
      - The default is for a report that is made every day and takes up to two hours.
    type: float
    default: 26
  title:
    description: The headline of the report.
    type: str
    default: Apptainer drift
  json:
    description:
      - The path of the JSON file. See the notes for its content. Its mode is V(0640).
      - A relative path starts from the directory in which C(ansible-playbook) was started, as for the other files. The directory of the file
        must exist. An empty path means no file.
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
  - A host is C(in_state); or C(undeclared) if nothing is declared for it, so that nothing was compared; or C(drifted); or C(failed) or
    C(unreachable), so that its state is unknown. What was found on a host before it failed is in the report.
  - A global file that cannot be read is drift, and the first in every list, because Apptainer silently ignores it. The exclusive and the default
    endpoint then no longer apply to anyone.
  - The JSON object has the keys C(schema) (2, and a new number whenever the meaning of a key changes), C(title), C(state) (C(finished), or C(begun)
    while there is no report yet; then there are only C(begun), the time, and C(status), which is null), C(generated) (the time, in UTC), C(due)
    (the time at which the report becomes stale, or empty), C(status) (as RV(status)), C(summary) (as RV(counts)), C(limit) (as RV(limit)), and
    six lists.
  - The list C(groups) has one entry for each difference, with C(id), C(title), C(sentences) (the whole difference in words), C(subject),
    C(file), C(unreadable) (whether the file is a global one that cannot be read), and C(diff). In the diff, C(-) is the content on the first of the
    hosts, and C(+) the declared content.
  - The lists C(failures) and C(unreachable) have one entry for each C(reason). If it contains a path or an address that differs between hosts, it
    is the one of the first of the hosts.
  - The list C(findings) has one entry for each C(finding) and C(severity), with a list C(places) of C(host), C(user), C(path) and C(message).
  - The list C(locked_out) has one entry for each endpoint (C(remote)), with the C(users) who would be locked out if it were removed now.
  - The entries of these five lists have C(count) (the number of hosts), C(hosts) (their names), and C(nodes) (their names, folded, for example
    V(node[1-3])).
  - The list C(hosts) has one entry for each host, with C(name), C(state), C(reason), and C(groups) (the C(id) of each of its differences).
  - The metrics are C(apptainer_fleet_hosts) by C(state), C(apptainer_fleet_host_state) by C(host) and C(state), with a series only for hosts
    that are not in state, C(apptainer_fleet_unreadable_files), C(apptainer_fleet_drift_groups), C(apptainer_fleet_user_findings) by C(finding) and
    C(severity), C(apptainer_fleet_locked_out_users) by C(remote), and C(apptainer_fleet_report_timestamp_seconds), for an alert on a report that
    is too old.
  - Findings of the audit of users' files affect neither the state of a host nor RV(status).
"""

EXAMPLES = r"""
- name: Compare the fleet with what is declared
  hosts: all
  gather_facts: false
  check_mode: true
  diff: true
  ignore_unreachable: true
  vars:
    apptainer_fleet_remotes:
      - name: site
        uri: https://library.example.org
  tasks:
    - name: Compare the files
      ansible.builtin.import_role:
        name: hpc.apptainer.apptainer_fleet

- name: Report
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Report what differs
      hpc.apptainer.apptainer_fleet_report:
        hosts: "{{ groups['all'] }}"
        html: /var/www/html/drift.html
        prometheus: /var/lib/prometheus/node-exporter/apptainer-drift.prom
      register: report

    - name: Fail if there is something to do
      ansible.builtin.assert:
        that: report.status == 0 and report.errors | length == 0
        fail_msg: "{{ report.msg }}"
"""

RETURN = r"""
status:
  description:
    - V(0) if there is nothing to do, V(2) if hosts drifted or failed, and V(4) if hosts are unreachable. These are the exit statuses of
      C(ansible-playbook).
    - V(2) also if there is no host, or if nothing is declared for any host.
  returned: when O(state=finished)
  type: int
  sample: 2
problems:
  description: The names of the hosts that failed, are unreachable, or (with O(applied=false)) drifted, in natural order.
  returned: when O(state=finished)
  type: list
  elements: str
  sample: [node1, node2, node10]
reasons:
  description: For each of RV(problems), what is wrong, in one line.
  returned: when O(state=finished)
  type: dict
  sample: {node10: "global: remote.yaml: endpoint site: exclusive is false, should be true"}
reached:
  description: How many of O(hosts) are not unreachable.
  returned: when O(state=finished)
  type: int
  sample: 1996
stop:
  description: Whether there must be no further batch, because a host failed or too many are unreachable. With O(applied=false), always V(false).
  returned: when O(state=finished)
  type: bool
  sample: false
untouched:
  description: The hosts of the run that it has not come to yet.
  returned: when O(state=finished)
  type: list
  elements: str
  sample: []
limit:
  description: The hosts that failed or are unreachable, as a pattern for C(--limit). Empty if there are none.
  returned: when O(state=finished)
  type: str
  sample: node2,node10
errors:
  description: What is wrong with the report itself, or with the run as a whole. Empty if all is well.
  returned: always
  type: list
  elements: str
  sample: []
counts:
  description: The number of hosts in each state, of hosts with a global file that cannot be read, of groups of equal differences, of findings, and
    of users who would be locked out.
  returned: when O(state=finished)
  type: dict
  sample: {hosts: 2000, in_state: 190, undeclared: 0, drifted: 1800, failed: 6, unreachable: 4, unreadable: 1, groups: 20, findings: 3, locked_out: 0}
summary:
  description: The report in a few lines of text, with the most important line first, as they are printed.
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
