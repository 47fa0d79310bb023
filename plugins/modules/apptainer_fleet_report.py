#!/usr/bin/python

# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: apptainer_fleet_report
short_description: Report which hosts drifted and what differs
version_added: 1.0.0
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
extends_documentation_fragment:
  - hpc.apptainer._attributes
  - hpc.apptainer._attributes.action
attributes:
  check_mode:
    support: none
    details:
      - Files are written in check mode too, because a drift report is made from a run in check mode.
  diff_mode:
    support: none
options:
  entry_point:
    description:
      - Takes options that are not set here from the variables of this entry point of the role P(hpc.apptainer.apptainer_fleet#role), as the playbook of
        the same name does. With V(drift), for example, O(json) is C(apptainer_fleet_report_json).
      - A variable counts as this task sees it. If it is not set there, that of the first host of C(apptainer_fleet_hosts) counts.
    type: str
    choices: [rollout, drift, health, report_from]
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
      - With O(reports), a pattern for the hosts that must have a report. By default all hosts of the inventory.
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
  batches:
    description:
      - With O(pattern), the batches of hosts after the canaries, as for C(serial).
    type: list
    elements: str
    default: ["10%", "100%"]
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
  reports:
    description:
      - A directory with the reports of nodes that pull, one file C(NAME.json) for each node (entry point C(pull) of the role). The report is then on
        these, and not on the results of this run. O(hosts), O(applied) and O(health) are not used.
      - If the inventory has hosts, the report is on those that match O(pattern), and each of them must have a file. Otherwise, it is on all files.
      - A node is C(unreachable), which the report calls unknown, if it has no file, or if its file is too old, is not what a node writes, or names
        another node. Only regular files are read.
      - A node is C(failed) if its last pull failed before the role ran.
    type: path
  reports_max_age:
    description: After how many hours one of O(reports) says nothing about its node any more.
    type: float
    default: 3
  health:
    description:
      - The registered result of M(hpc.apptainer.apptainer_fleet_health). The report then says how the servers and logins are, in a section of its own and
        with a status of its own (RV(health)), and not in the state of any host. If there is an error, RV(errors) says so.
      - If O(hosts) is an empty list, the report is on nothing else.
    type: dict
  certificate_warning_days:
    description: How many days before the certificate of a server expires this is a warning.
    type: float
    default: 21
  certificate_error_days:
    description: How many days before the certificate of a server expires this is an error.
    type: float
    default: 7
  findings_fail:
    description:
      - For which findings of the audit of users' files a host is to blame. V(error) is for those that are errors, and V(warning) also for warnings.
    type: str
    choices: [never, error, warning]
    default: never
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
  - The file C(docs/report.schema.json) of the collection is a JSON Schema (draft 7) for the JSON report, which describes each of its keys. Where the
    collection is installed, it is in C(ansible_collections/hpc/apptainer/docs).
  - With O(reports), nodes that change themselves are reported as changed, which is no problem. If some nodes only compare, those that have changed
    themselves are in state.
  - The metrics are C(apptainer_fleet_hosts) by C(state) (V(changed) in place of V(drifted) if hosts were changed),
    C(apptainer_fleet_host_state) by C(host) and C(state), with a series only for hosts
    that are not in state, C(apptainer_fleet_unreadable_files), C(apptainer_fleet_drift_groups), C(apptainer_fleet_user_findings) by C(finding) and
    C(severity), C(apptainer_fleet_locked_out_users) by C(remote), and C(apptainer_fleet_report_timestamp_seconds), for an alert on a report that
    is too old.
  - With O(health), there are also C(apptainer_fleet_service_up) by C(kind) (V(endpoint), V(service), V(keyserver) or V(registry)), C(uri) and
    C(service) (V(library), V(token) and so on, for a service of an endpoint); C(apptainer_fleet_login_valid) by C(kind) (V(token), V(keyserver) or
    V(registry)), C(uri) and C(user); C(apptainer_fleet_certificate_expires_seconds) by C(server), the time until which the certificate is valid, in
    seconds since 1970; C(apptainer_fleet_health_errors), the number of reasons for which something could not be asked at all; and
    C(apptainer_fleet_health_timestamp_seconds). What is not known has no series.
  - Findings of the audit of users' files do not affect the state of a host. They affect RV(status) and RV(problems) only with O(findings_fail).
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
    - V(0) if there is nothing to do, V(2) if hosts drifted, failed or (with O(findings_fail)) have findings that count, and V(4) if hosts are
      unreachable. These are the exit statuses of C(ansible-playbook).
    - V(2) also if there is no host, or if nothing is declared for any host.
  returned: when O(state=finished)
  type: int
  sample: 2
health:
  description: The C(state) of servers and logins (V(ok), V(warning) or V(error)), and the exit C(status) that this asks for (V(0) or V(2)).
  returned: with O(health)
  type: dict
  sample: {state: warning, status: 0}
problems:
  description:
    - The names of the hosts that failed, are unreachable, or (with O(applied=false)) drifted, in natural order.
    - With O(findings_fail), also those with such findings.
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
