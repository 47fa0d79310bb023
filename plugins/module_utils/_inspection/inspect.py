# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reading a node's files without changing them, and saying what Apptainer makes of them."""

import functools
import os
import pwd
from typing import Any, Callable, Collection, Dict, Optional, Sequence, Tuple

from .._apptainer.effective import effective, exclusives, sync, tears_table
from .._errors import ApptainerError
from .._files.config_file import link_at, mode_of, of_root_in_a_home, owner_of, read, real_path
from .._files.locations import cached_discoveries, docker_fallback
from .._formats.docker_json import decode as decode_docker_config
from .._formats.remote_yaml_reader import decode
from .._redaction import without_login
from .._rules.stored_secrets import stored_secrets
from .._values.claims import EndpointToken, Secret
from .._values.docker_config import DOCKER_CONFIG, DockerConfig, login_hosts
from .._values.flavors import FLAVORS, in_words_of
from .._values.remote_config import RemoteConfig
from .._values.results import config_result, login_result
from .answers import answer_findings
from .findings import ReadFile, by_severity, findings, root_owned, service_findings
from .program import ProgramAnswer, Question
from .tables import config_lines, login_lines

AskServers = Callable[[RemoteConfig, Sequence[Secret]], Dict[str, Any]]
AskProgram = Callable[[Question], Optional[ProgramAnswer]]


def read_file(
    path: str,
    expected_uid: int,
    reader: Callable[[bytes, str], Any] = decode,
    root: str = "/",
    opens_links: bool = True,
) -> ReadFile:
    """Read one file, below `root`. What is wrong with it is in the result; nothing is raised. `opens_links`: whether its program does so."""
    try:
        real = real_path(path, root)
        unopened_link = not opens_links and link_at(path, root) is not None
        state = read(real)
        directory_mode = None if state.data is None else mode_of(os.path.dirname(real))
    except ApptainerError as error:
        return ReadFile(path, exists=True, error=str(error), expected_uid=expected_uid)
    if state.data is None:
        return ReadFile(path, unopened_link=unopened_link)
    file = ReadFile(
        path, exists=True, mode=state.mode, uid=state.uid, expected_uid=expected_uid, directory=os.path.dirname(real), directory_mode=directory_mode,
        unopened_link=unopened_link)
    try:
        return file._replace(document=reader(state.data, path))
    except ApptainerError as error:
        return file._replace(error=str(error))


def inspect(
    global_path: str,
    user_path: Optional[str],
    flavor: str = "apptainer",
    auth_path: Optional[str] = None,
    ask_servers: Optional[AskServers] = None,
    root: str = "/",
    ask_program: Optional[AskProgram] = None,
    include: Sequence[str] = (),
    names: Collection[str] = (),
) -> Dict[str, Any]:
    """Everything about the files: what Apptainer computes from them, as data and as a table, and findings.

    `include` may add what each file holds (`files`), and how to declare it (`declared`): the user's file, or the global one without
    `user_path`, which is then about a user without files. `auth_path` is by default the file that Apptainer would use. `ask_servers` may
    add what servers say: it gets the configuration that Apptainer works with and the stored logins. `ask_program` may add what the
    installed program says: it gets the content of the user's file. All files are below `root`, and so are the targets of their links.
    If there are `names`, only these endpoints are shown and asked about; findings and `declared` are about all.
    """
    system_file, user_file, auth_file = _read_files(global_path, user_path, auth_path, flavor, root)
    system, user = system_file.held, user_file.held
    program = ask_program(_question(user_file, system)) if ask_program and not system_file.error and not user_file.error else None
    docker: DockerConfig = auth_file.document or DockerConfig()
    result = effective(user_file.config, system_file.config, flavor)
    if user_file.unopened_link and user_file.exists:
        result = result._replace(problem=f"this user's {user_file.path} is a symbolic link: too many levels of symbolic links")
    exclusive = exclusives(result.config.remotes)
    config = _only(result.config, names)
    stored = [item for item in stored_secrets(user, docker, system) if not names or not isinstance(item, EndpointToken) or item.name in names]
    answers = ask_servers(config, stored) if ask_servers else {}
    directory = os.path.dirname(user_file.path)
    found = findings(system_file, user_file, cached_discoveries(directory, root) if directory else (), flavor, auth_file, program)
    found += service_findings(system_file.path, user_file.path or system_file.path, result.config, answers.get("services", ()))
    found += root_owned(directory, of_root_in_a_home(directory)) if root == "/" else []
    logins = [dict(login_result(login), **{name: answer[name] for name in ("verified", "reason") if name in answer})
              for login, answer in zip(stored, answers.get("logins", [{}] * len(stored)))]
    found += answer_findings(answers, result.config, system_file.path, user_file.path, auth_file.path)
    tables = [config_lines(config, flavor), login_lines(logins)]
    extra: Dict[str, Any] = {}
    if "declared" in include:
        extra = _declaration(system_file if user_path is None else user_file, None if user_path is None else system_file, flavor)
    return dict({
        "table": [line for table in tables if table for line in ["", *table]][1:],
        "global": dict(config_result(_only(system, names)) if "files" in include else {}, **_file_result(system_file)),
        "user": dict(config_result(_only(user, names)) if "files" in include else {}, **_file_result(user_file)),
        "auth_file": dict(_file_result(auth_file), registries=login_hosts(docker)),
        "effective": dict(config_result(config), source=result.source, problem=result.problem, exclusive=exclusive[0] if exclusive else None),
        "findings": [dict(finding._asdict(), refused_by=list(finding.refused_by)) for finding in by_severity(found)],
        "program": _program_result(program, names) if program else None,
    }, **dict(answers, logins=logins, **extra))


def _read_files(global_path: str, user_path: Optional[str], auth_path: Optional[str], flavor: str, root: str) -> Tuple[ReadFile, ReadFile, ReadFile]:
    """The global file, and the user's remote.yaml and docker-config.json; without `user_path` these have no path."""
    read_remote_yaml = functools.partial(
        read_file, reader=functools.partial(decode, flavor=flavor), root=root, opens_links=FLAVORS[flavor].follows_links)
    global_path = os.path.abspath(global_path)
    system_file = read_remote_yaml(global_path, _global_uid(global_path, root))
    if user_path is None:
        return system_file, ReadFile(""), ReadFile("")
    user_path = os.path.abspath(user_path)
    auth_path = os.path.abspath(auth_path or _auth_path(user_path, flavor, root))
    return (system_file, read_remote_yaml(user_path, _directory_uid(user_path, root)),
            read_file(auth_path, _directory_uid(auth_path, root), decode_docker_config, root))


def _only(config: RemoteConfig, names: Collection[str]) -> RemoteConfig:
    """The configuration with only these endpoints; all of it without names."""
    return config._replace(remotes={name: remote for name, remote in config.remotes.items() if name in names}) if names else config


def _declaration(file: ReadFile, system_file: Optional[ReadFile], flavor: str) -> Dict[str, Any]:
    """How to declare a file; without `system_file` it is the global one. What a run would change nevertheless is among `undeclared`."""
    is_global = system_file is None
    if file.error:
        return {"declared": None, "undeclared": [in_words_of(flavor, file.error)]}
    from .declared import declared  # the rules for writing are not needed for all else

    found = declared(file.held, None if system_file is None else system_file.held, (system_file and system_file.error) or "", flavor)
    usual = 0o644 if is_global else 0o600
    changes = []
    if file.unopened_link and file.exists:
        changes.append(f"{file.path}: it is a symbolic link, and a run puts a file in its place")
    if file.document and file.document.refused:
        changes.append(f"{file.path}: a run writes it anew, because {FLAVORS[flavor].program} refuses it: {file.document.refused.message}")
    if file.mode not in (None, usual):
        changes.append(f"{file.path}: its mode is {file.mode:04o}, and a run sets it to {usual:04o}")
    if file.uid not in (None, file.expected_uid):
        changes.append(f"{file.path}: it belongs to uid {file.uid}, and a run as root gives it to uid {file.expected_uid}")
    options = {"scope": "global" if is_global else "user", "remotes": list(found.remotes), "prune": found.prune}
    return {"declared": options, "undeclared": [in_words_of(flavor, text) for text in changes + list(found.undeclared)]}


def _question(user_file: ReadFile, system: RemoteConfig) -> Question:
    """What the program is asked: about the user's file as it is, also if some version of it does not open or read that."""
    listed = sync(user_file.held, system).remotes
    document = user_file.document
    return Question(
        user=document.config if document and document.has_data else None, is_link=user_file.unopened_link,
        is_torn=any(tears_table(name) or tears_table(remote.uri) for name, remote in listed.items()))


def _global_uid(path: str, root: str) -> int:
    """Who should own the global file: root, except where somebody builds an image without root."""
    directory_uid = _directory_uid(path, root)
    return directory_uid if directory_uid == os.geteuid() or root != "/" else 0


def _auth_path(user_path: str, flavor: str, root: str) -> str:
    """The file in which the program looks for logins to registries."""
    usual, fallback = os.path.join(os.path.dirname(user_path), DOCKER_CONFIG), docker_fallback(user_path, flavor)
    return fallback if fallback and not _exists(usual, root) and _exists(fallback, root) else usual


def _exists(path: str, root: str) -> bool:
    """Whether there is something, even if it is a link to nothing."""
    try:
        directory = os.path.dirname(path) if root == "/" else real_path(os.path.dirname(path), root, is_file=False)
    except ApptainerError:  # reported when the file is read
        return False
    return os.path.lexists(os.path.join(directory, os.path.basename(path)))


def _directory_uid(path: str, root: str) -> int:
    directory = os.path.dirname(path)
    try:
        return owner_of(os.path.realpath(directory) if root == "/" else real_path(directory, root, is_file=False))
    except ApptainerError:
        return os.geteuid()  # the file cannot be read either, and that is the finding


def _file_result(file: ReadFile) -> Dict[str, Any]:
    return {
        "path": file.path or None,
        "exists": file.exists,
        "error": file.error,
        "mode": None if file.mode is None else f"{file.mode:04o}",
        "owner": None if file.uid is None else _user_name(file.uid),
    }


def _program_result(answer: ProgramAnswer, names: Collection[str]) -> Dict[str, Any]:
    remotes = [{
        "name": remote.name, "uri": without_login(remote.uri), "default": remote.default, "global": remote.is_global,
        "exclusive": remote.exclusive, "insecure": remote.insecure,
    } for remote in answer.remotes if not names or remote.name in names]
    return {"path": answer.path, "error": answer.error, "active": answer.active, "exclusive": next(iter(answer.exclusives), None),
            "remotes": remotes}


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
