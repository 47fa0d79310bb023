# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No secret leaves in any form by any way: output, the system's log, command lines, environments; also where servers repeat it."""

import base64
import contextlib
import json
import re
import secrets

import pytest
import yaml
from support import leaks, pages, processes
from support.servers.python import Answer, serve
from support.servers.recorded import account


class Watched:
    """All that came out, by the way it took."""

    def __init__(self):
        self.ways = {"output": []}

    def leaks(self, pairs):
        """The ways by which the secrets of pairs of user name and secret came out."""
        forms = set().union(*(leaks.forms(*secret) for secret in pairs))
        return {way: found for way, texts in self.ways.items() if (found := leaks.leaked(texts, forms))}


@pytest.fixture
def watched(request):
    """Watch what happens in a block: `with watched() as seen`. Without the system's log where that cannot be read."""
    try:
        syslog = request.getfixturevalue("syslog")
    except pytest.skip.Exception:
        syslog = None

    @contextlib.contextmanager
    def watch():
        seen = Watched()
        with leaks.watched_processes(interval=0.02) as shown:
            yield seen
        seen.ways["processes"] = list(shown)
        if syslog is not None:
            seen.ways["syslog"] = syslog.texts()

    return watch


@pytest.fixture
def run(run_module, tmp_path):
    """Run a module in check mode and for real, and note what it says. As a new process, which has its arguments and environment in /proc."""

    def run(seen, module, args, **options):
        for check in (True, False):
            done = run_module(module, {"sysconfdir": str(tmp_path / "etc"), **args}, check=check, diff=True, fresh=True, **options)
            assert done.result is not None, "it crashed"
            seen.ways["output"] += [done.stdout, done.stderr]
        return done

    return run


@pytest.fixture
def old():
    """Secrets on disk, by where they are."""
    places = ("token", "bearer", "basic", "auth", "identity", "plain", "key", "header")
    return {place: account().token if place in ("token", "bearer", "identity") else account().password for place in places}


@pytest.fixture
def user(tmp_path, old):
    """The two files of a user, full of secrets."""
    directory = tmp_path / "home" / ".apptainer"
    directory.mkdir(parents=True)

    def encoded(place):
        return base64.b64encode(f"alice:{old[place]}".encode()).decode()

    docker = {
        "auths": {"auth.example.org": {"auth": encoded("auth")}, "identity.example.org": {"auth": "YTpi", "identitytoken": old["identity"]},
                  "plain.example.org": {"username": "alice", "password": old["plain"]}, f"https://alice:{old['key']}@key.example.org/v1/": {}},
        "HttpHeaders": {"Authorization": old["header"]},
    }
    remotes = {
        "Active": "mine",
        "Remotes": {"mine": {"URI": "h.example.org", "Token": old["token"]}},
        "Credentials": [{"URI": "https://bearer.example.org", "Auth": "Bearer " + old["bearer"]},
                        {"URI": "https://basic.example.org", "Auth": "Basic " + encoded("basic")}],
    }
    (directory / "docker-config.json").write_text(json.dumps(docker))
    (directory / "remote.yaml").write_text(yaml.safe_dump(remotes))
    return directory


def pairs(old):
    return [("alice", secret) for secret in old.values()]


def test_what_is_planted_is_found_on_each_way(watched, run):
    """A user name is no secret: it is shown, logged, and here also exported."""
    planted = account().password
    with watched() as seen:
        run(seen, "apptainer_registry_login", {"uri": "docker://h", "username": planted.replace(":", ""), "password": "some-pa55word",
                                               "verify": "never"}, env={"PLANTED": planted.replace(":", "")})
    assert seen.leaks([("alice", planted.replace(":", ""))]).keys() == seen.ways.keys() >= {"output", "processes"}


# Secrets in parameters and on disk

def test_secrets_on_disk_stay_there(watched, run, user, old):
    new = account()
    password = {"username": "alice", "password": new.password, "verify": "never"}
    with watched() as seen:
        for host in ("auth", "identity", "plain", "key", "new"):
            run(seen, "apptainer_registry_login", {"uri": f"docker://{host}.example.org", **password})
        for place in ("bearer", "basic"):
            run(seen, "apptainer_keyserver_login", {"uri": f"https://{place}.example.org", **password})
        run(seen, "apptainer_remote_info", {})
        for uri in (f"docker://alice:{new.password}@h", f"docker://h/{new.password}@", f"ftp://alice:{new.password}@h:x"):
            assert run(seen, "apptainer_registry_login", {**password, "uri": uri}).rc != 0
        run(seen, "apptainer_logins", {"verify": "never", "remotes": [{"name": "mine", "token": new.token}]})
        run(seen, "apptainer_logins", {"prune": True, "registries": [{"uri": "docker://new.example.org", "state": "absent"}]})
    assert not seen.leaks([*pairs(old), ("alice", new.password), ("alice", new.token)])
    assert json.loads((user / "docker-config.json").read_text())["auths"] == {}


# Where they do not belong

MISPLACED = {  # module, options, with SECRET in them: where Ansible itself would show it
    "a uri of state absent": ("apptainer_remote", {"name": "x", "uri": "https://u:SECRET@h", "state": "absent"}),
    "a uri beside an unknown option": ("apptainer_remote", {"name": "x", "uri": "https://u:SECRET@h", "stat": "absent"}),
    "a uri beside a wrong choice": ("apptainer_remote", {"name": "x", "uri": "https://u:SECRET@h", "state": "gone"}),
    "a uri beside a wrong type": ("apptainer_remote", {"name": "x", "uri": "//u:SECRET@h", "default": "perhaps"}),
    "a uri as another type": ("apptainer_remote", {"name": "x", "uri": {"a": ["https://u:SECRET@h"]}}),
    "a uri under another name": ("apptainer_remote", {"name": "x", "link": "u:SECRET@h"}),
    "a uri as a name": ("apptainer_remote", {"name": "https://u:SECRET@h", "force": "https://u:SECRET@h"}),
    "a uri in a list": ("apptainer_remote", {"name": "x", "keyservers": [{"uri": "https://u:SECRET@h", "more": 1}]}),
    "a uri in a list in a list": ("apptainer_remote", {"name": "x", "keyservers": [[{"uri": "https://u:SECRET@h"}]]}),
    "a uri in a text of JSON": ("apptainer_remote", {"name": "x", "keyservers": '[{"uri": "https://u:SECRET@h", "more": 1}]'}),
    "a user name alone": ("apptainer_remote", {"name": "x", "uri": "https://SECRET@h"}),
    "a user name with no password": ("apptainer_remotes", {"remotes": [{"name": "x", "uri": "https://SECRET:@h", "state": "absent"}]}),
    "a query": ("apptainer_remotes", {"scope": "global", "remotes": [{"name": "x", "uri": "https://h/?token=SECRET"}]}),
    "a query with an @": ("apptainer_remotes", {"remotes": [{"name": "x", "uri": "https://h/?user=u@h&token=SECRET"}]}),
    "a query of a keyserver": ("apptainer_remotes", {"scope": "global", "remotes": [{"name": "x", "uri": "https://h", "keyservers": [
        {"uri": "https://keys.example.org?token=SECRET"}]}]}),
    "a fragment": ("apptainer_keyserver_login", {"uri": "https://h/#SECRET", "password": "p", "verify": "never"}),
    "a built-in keyserver": ("apptainer_keyserver", {"uri": "https://h", "builtin_uri": "u:SECRET@h", "order": "1"}),
    "a keyserver of state absent": ("apptainer_keyserver", {"uri": "https://u:SECRET@h", "state": "absent"}),
    "no password": ("apptainer_registry_login", {"uri": "docker://u:SECRET@h", "username": "u"}),
    "a registry of state absent": ("apptainer_logins", {"registries": [{"uri": "docker://u:SECRET@h", "state": "absent"}]}),
    "a wrong choice in one of several": ("apptainer_logins", {"keyservers": [
        {"uri": "https://h?SECRET", "state": "absent"}, {"uri": "h", "state": "no"}]}),
    "info": ("apptainer_remote_info", {"uri": "https://u:SECRET@h"}),
    "users": ("apptainer_users_info", {"users": ["https://u:SECRET@h"]}),
    "verify": ("apptainer_verify", {"declarations": [{"remotes": [{"name": "x", "uri": "https://u:SECRET@h", "state": "absent"}], "logins": {
        "registries": [{"uri": "docker://u:SECRET@h", "username": "u"}]}}]}),
    "verify, absent": ("apptainer_verify", {"declarations": [{"remotes": [{"name": "x", "uri": "https://u:SECRET@h", "state": "absent"}]}]}),
    # options that have no_log, where Ansible does not find them
    "a misspelt password": ("apptainer_registry_login", {"uri": "docker://h", "username": "u", "pasword": "SECRET"}),
    "a misspelt token": ("apptainer_remotes", {"remotes": [{"name": "x", "Token": "SECRET"}]}),
    "a password in a list in a list": ("apptainer_logins", {"registries": [[{"uri": "docker://h", "username": "u", "password": "SECRET"}]]}),
    "a list of passwords": ("apptainer_logins", {"registries": [{"uri": "docker://h", "username": "u", "password": ["SECRET"]}]}),
    "a password in a mapping": ("apptainer_logins", {"registries": {"h": {"username": "u", "password": "SECRET"}}}),
    "a password of another module": ("apptainer_remote_info", {"password": "SECRET"}),
    "pairs of name and value": ("apptainer_logins", {"registries": ["uri=docker://h username=u password=SECRET state=no"]}),
}


def with_secret(value, secret):
    """The options, with the secret in the place of its word."""
    if isinstance(value, dict):
        return {key: with_secret(item, secret) for key, item in value.items()}
    if isinstance(value, list):
        return [with_secret(item, secret) for item in value]
    return value.replace("SECRET", secret) if isinstance(value, str) else value


def test_what_is_misplaced_is_hidden_first_of_all(watched, run_module, tmp_path, node_python):
    secret = secrets.token_hex(12)
    with watched() as seen:
        for case, (module, args) in MISPLACED.items():
            done = run_module(module, with_secret(args, secret), check=True, diff=True, python=node_python)
            assert done.result is not None, case
            assert not leaks.leaked([done.stdout, done.stderr], leaks.forms("u", secret)), case
    assert not seen.leaks([("u", secret)])


@pytest.mark.parametrize(("module", "args"), [
    ("apptainer_remote", {"name": "a", "uri": "https://h.example", "token_file": "FILE"}),
    ("apptainer_remotes", {"remotes": [{"name": "a", "uri": "https://h.example", "token_file": "FILE"}]}),
    ("apptainer_logins", {"remotes": [{"name": "mine", "token_file": "FILE"}]}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_the_token_of_a_file_is_hidden_wherever_it_is(watched, run, user, tmp_path, module, args):
    """Nobody but the module knows it; here it has got into the user's file in place of a name and an address, by a slip."""
    token = account().token
    (tmp_path / "token").write_text(f"{token}\n")
    (tmp_path / "token").chmod(0o600)
    remotes = yaml.safe_load((user / "remote.yaml").read_text())
    remotes["Remotes"][token] = {"URI": f"{token}.example.org", "Token": "x", "Keyservers": [{"URI": f"http://{token}.example.org"}]}
    (user / "remote.yaml").write_text(yaml.safe_dump({**remotes, "Active": token}))
    with watched() as seen:
        done = run(seen, module, json.loads(json.dumps({**args, "verify": "never"}).replace("FILE", str(tmp_path / "token"))))
        assert done.result.get("changed"), done.stdout
    assert not seen.leaks([("alice", token)])
    assert token in (user / "remote.yaml").read_text()


@pytest.mark.parametrize("secret", [
    "hunt/er22?pw99", "hunt#er22@pw99", "hunt er22 pw99", "hunt%40er22pw99", "hunt,er22'pw99", 'hunt"er22<pw99', "\u00fchunt\u00dfpw99"])
def test_passwords_that_break_a_uri_are_hidden_as_a_whole(run_module, secret):
    for args in ({"state": "absent"}, {"unknown": 1}, {"keyservers": [{"uri": f"https://u:{secret}@keys"}]}):
        done = run_module("apptainer_remote", {"name": "x", "uri": f"https://alice:{secret}@h.example", **args}, check=True, diff=True)
        assert done.result is not None
        assert not re.search("hunt|er22|pw99", done.stdout), done.stdout


BROKEN = {
    "behind": lambda text: text + "}",
    "cut off": lambda text: text[:-30],
    "twice": lambda text: text.replace('{"auths"', '{"auths": {}, "auths"'),
    "not text": lambda text: text.replace('"auth": ', '"auth": 5, "x": '),
    "not Base64": lambda text: text.replace('"auth": "', '"auth": "!'),
    "bare": lambda text: text.replace('"auth": "', '"auth": '),
    "not UTF-8": lambda text: text.replace("{", "{\udcff"),
}


def test_files_that_are_refused_are_not_quoted(watched, run, user, old):
    docker, remotes = user / "docker-config.json", user / "remote.yaml"
    good, password = docker.read_text(), account().password
    args = {"uri": "docker://h.example.org", "username": "alice", "password": password, "verify": "never"}
    with watched() as seen:
        for case, broken in BROKEN.items():
            docker.write_text(broken(good), errors="surrogateescape")
            assert str(docker) in run(seen, "apptainer_registry_login", args).result["msg"], case
        docker.write_text(good)
        remotes.write_text(remotes.read_text().replace("Token: ", "Token: [") + "]")
        assert str(remotes) in run(seen, "apptainer_registry_login", args).result["msg"]
        run(seen, "apptainer_remote_info", {})
    assert not seen.leaks([*pairs(old), ("alice", password)])


# Servers that repeat what they get

def repeat(asked):
    """What a server got, as it came and in clear."""
    clear = base64.b64decode(asked.authorization[6:]).decode() if asked.scheme == "Basic" else asked.authorization
    return f"{asked.authorization} {clear}"


def quoted(asked):
    return repeat(asked).replace('"', "'").encode().decode("latin-1")


def demand(challenge):
    return Answer.json({}, 401, {"WWW-Authenticate": challenge})


REPEATING = {
    "body": lambda asked, url: Answer(403, repeat(asked).encode(), {"Content-Type": "text/plain"}),
    "reason": lambda asked, url: Answer(401, b"", {}, quoted(asked)),
    "500": lambda asked, url: Answer(500, repeat(asked).encode(), {}, quoted(asked)),
    "406": lambda asked, url: Answer.json({"message": repeat(asked)}, 406),
    "web page": lambda asked, url: Answer(200, repeat(asked).encode(), {"Content-Type": "text/html"}),
    "type": lambda asked, url: Answer(200, b"x" * (2 << 20), {"Content-Type": quoted(asked)}),
    "encoding": lambda asked, url: Answer(200, b"", {"Content-Encoding": quoted(asked)}),
    "challenge": lambda asked, url: demand(f'Basic realm="{quoted(asked)}"'),
    "location": lambda asked, url: Answer(302, b"", {"Location": f"{url}/{quoted(asked).replace(' ', '/')}"}),
    "host": lambda asked, url: Answer(302, b"", {"Location": f"https://{asked.authorization[6:].rstrip('=')}.example.org/"}),
    "user": lambda asked, url: Answer(302, b"", {"Location": f"https://{asked.authorization[6:].rstrip('=')}@example.org/"}),
    "rubbish": lambda asked, url: Answer(302, b"", {"Location": "ftp:" + quoted(asked)}),
}


@pytest.fixture
def repeating(certificates):
    """Sites that repeat a credential in their way. Those with `token` ask for one, and `realm` does so with what it got."""
    repeated = {}
    ports = {}

    def answer(asked):
        way, _plus, by_token = asked.site.partition("+")
        url = f"https://localhost:{ports[asked.site]}"
        if not asked.authorization:
            return demand(f'Bearer realm="{url}/token",service="s"' if by_token else "Basic")
        repeated[asked.site] = asked.authorization
        return REPEATING[way](asked, url)

    sites = {f"{way}{suffix}": certificates.server for way in REPEATING for suffix in ("", "+token")}
    with serve(sites, answer, lambda *seen: None) as served:
        ports.update(served)
        yield ports, repeated


def test_what_servers_repeat_is_not_told(watched, run, user, old, repeating, library):
    ports, repeated = repeating
    scenarios = ("401", "403", "406", "500", "reason", "redirect-elsewhere", "redirect-http", "html")
    remotes = {f"e{number}": {"URI": "//" + library.uri(f"token-{name}"), "System": False} for number, name in enumerate(scenarios)}
    (user / "remote.yaml").write_text(yaml.safe_dump({"Active": "e0", "Remotes": remotes}))
    registry, keyserver, endpoint = account(), account(), account()
    args = {
        "ca_path": str(library.ca),
        "remotes": [{"name": name, "token": endpoint.token} for name in remotes],
        "keyservers": [{"uri": f"https://localhost:{port}", "username": "alice", "password": keyserver.password} for port in ports.values()],
        "registries": [{"uri": f"docker://localhost:{port}", "username": "alice", "password": registry.password} for port in ports.values()],
    }
    info = {"check": ["tokens", "keyservers", "registries"], "ca_path": str(library.ca)}
    with watched() as seen:
        refused = run(seen, "apptainer_logins", args)
        assert refused.result["verified"] is False
        assert len(refused.result["verification"]) == len(remotes) + 2 * len(ports)
        assert repeated.keys() == ports.keys()
        assert all(any(request.scheme for request in library.of(f"token-{name}")) for name in scenarios)
        run(seen, "apptainer_logins", {**args, "verify": "never"})
        repeated.clear()
        assert run(seen, "apptainer_remote_info", info).rc == 0
        assert repeated.keys() == ports.keys()
    found = [("alice", one) for one in (registry.password, keyserver.password, endpoint.token)]
    assert not seen.leaks([*found, *pairs(old)])


# All of it under ansible

def test_ansible_at_its_most_talkative_tells_no_secret(
    watched, verify_node, user, old, tmp_path, registry_basic, registry_token, keyserver, library
):
    wrong = account()
    variables = {
        "ca": str(library.ca), "sysconfdir": str(tmp_path / "etc"), "wrong": wrong.password, "wrong_token": wrong.token,
        "basic": registry_basic.account.password, "bearer": registry_token.account.password, "keys": keyserver.account.password,
        "keys_token": keyserver.account.token, "token": library.account.token,
    }
    (tmp_path / "secrets.yml").write_text(yaml.safe_dump(variables))

    def var(name):
        return "{{ " + name + " }}"

    def registry(server, password, scheme="docker"):
        return {"uri": f"{scheme}://{server.host}", "username": "alice", "password": var(password)}

    def logins(*passwords, **options):
        basic, bearer, keys, keys_token, token = passwords
        return {"registries": [registry(registry_basic, basic), registry(registry_token, bearer), registry(registry_token, bearer, "oras")],
                "keyservers": [{"uri": keyserver.protected, "username": "alice", "password": var(keys)},
                               {"uri": keyserver.bearer, "password": var(keys_token)}],
                "remotes": [{"name": "mine", "token": var(token)}], **options}

    remotes = yaml.safe_load((user / "remote.yaml").read_text())
    remotes["Remotes"]["mine"]["URI"] = "//" + library.uri("good")
    (user / "remote.yaml").write_text(yaml.safe_dump(remotes))
    wrongs = ("wrong", "wrong", "wrong", "wrong_token", "wrong_token")
    runs = [
        ("apptainer_registry_login", registry(registry_basic, "wrong")),
        ("apptainer_registry_login", registry(registry_token, "bearer")),
        ("apptainer_registry_login", {**registry(registry_basic, "basic"), "uri": "docker://alice:{{ basic }}@h.example.org"}),
        ("apptainer_logins", logins(*wrongs, keep_verified=True)),
        ("apptainer_logins", logins("basic", "bearer", "keys", "keys_token", "token", prune=True)),
        ("apptainer_remote_info", {"check": ["services", "tokens", "keyservers", "registries"]}),
        ("apptainer_registry_login", {"uri": f"docker://{registry_basic.host}", "state": "absent"}),
        ("apptainer_remote", {"name": "x", "uri": "https://alice:{{ wrong }}@h.example.org?token={{ wrong_token }}", "state": "absent"}),
        ("apptainer_remote", {"name": "x", "uri": "https://alice:{{ wrong }}@h.example.org?token={{ wrong_token }}", "stat": "absent"}),
        ("apptainer_logins", {"registries": [[registry(registry_basic, "wrong")]], "pasword": "{{ wrong }}"}),
    ]
    refused = 2  # by Ansible, which logs nothing of them
    tasks = [{f"hpc.apptainer.{module}": {"sysconfdir": "{{ sysconfdir }}", "ca_path": "{{ ca }}", **arguments}, "ignore_errors": True}
             for module, arguments in runs]
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    env = processes.clean_env(tmp_path / "home", {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INJECT_INVOCATION": "true"})
    with watched() as seen:
        done = processes.run(
            verify_node.core / "bin" / "ansible-playbook", "-i", "localhost,", "-c", "local", "-e", f"@{tmp_path / 'secrets.yml'}", "-vvvv", "--diff",
            "-e", f"ansible_python_interpreter={verify_node.python}", tmp_path / "play.yml", env=env)
        seen.ways["output"] += [done.stdout, done.stderr]
    assert "ignored=5" in done.stdout and "changed=3" in done.stdout and done.returncode == 0, done.stdout + done.stderr
    if "syslog" in seen.ways:
        assert sum("Invoked with" in text and str(tmp_path) in text for text in seen.ways["syslog"]) == len(runs) - refused
    used = [server.account for server in (registry_basic, registry_token, keyserver, library)]
    found = [(one.username, secret) for one in (*used, wrong) for secret in (one.password, one.token)]
    assert not seen.leaks([*found, *pairs(old)])


# What the guide says of Ansible itself

LOGIN_TASK = "hpc.apptainer.apptainer_registry_login"


def guide_rows():
    """The rows of the guide's table, by what is in their first cell."""
    return {row[0].replace("``", "`"): " ".join(row) for row in pages.table(pages.guide("guide_logins"), "where the secret is")}


def plays(secret_of):
    """What shows a secret, and what shows none, by the rows: pairs of lists of plays. `secret_of(row, shown)` makes a secret of its own for each."""
    rows = {
        "the items of a `loop`": (
            lambda secret: [{LOGIN_TASK: login("{{ item.password }}"), "loop": [{"password": secret}]},
                            {LOGIN_TASK: login("{{ item.password }}"), "loop": [{"password": secret}], "loop_control": {"label": "x"}}],
            lambda secret: [{LOGIN_TASK: login("{{ item.password }}"), "loop": [{"password": secret}], "no_log": True},
                            {"hpc.apptainer.apptainer_logins": {"registries": [{"uri": "docker://h", "username": "u", "password": secret}],
                                                                "verify": "never"}}]),
        "`environment`, as in a proxy's URL": (
            lambda secret: [{LOGIN_TASK: login("password"), "environment": {"HTTPS_PROXY": f"http://u:{secret}@127.0.0.1:1"}, "no_log": True}],
            lambda _secret: []),
        "an unknown option": (
            lambda secret: [{LOGIN_TASK: {**login("password"), "magic_word": secret}}],
            lambda secret: [{LOGIN_TASK: {**login("password"), "pasword": secret, "Token": secret}}]),
        "`set_fact`, `include_vars`": (
            lambda secret: [{"ansible.builtin.set_fact": {"x": secret}}],
            lambda secret: [{"ansible.builtin.set_fact": {"x": secret}, "no_log": True}]),
        "the name of a task, `fail_msg`, `debug`": (
            lambda secret: [{"name": "{{ '" + secret + "' }}", LOGIN_TASK: login("password")}],
            lambda _secret: []),
        "a user name": (
            lambda secret: [{LOGIN_TASK: {**login("password"), "username": secret}}],
            lambda _secret: []),
    }
    return {row: [make(secret_of(row, shown)) for shown, make in ((True, shows), (False, hides))] for row, (shows, hides) in rows.items()}


def login(password):
    return {"uri": "docker://h", "username": "u", "password": password, "verify": "never"}


def test_what_the_guide_says_of_ansible(node_python, tmp_path, quick_python):
    """Each row with secrets of its own, in a run that is as talkative as it can be; the values come from variables, as from a vault."""
    made, variables, python = {}, {}, quick_python(*node_python)

    def secret_of(row, shown):
        variables[f"v{len(variables)}"] = made[row, shown] = secrets.token_hex(12)
        return made[row, shown] if row.startswith("the name") else f"{{{{ v{len(variables) - 1} }}}}"

    tasks = [{**task, "ignore_errors": True} for both in plays(secret_of).values() for group in both for task in group]
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], sort_keys=False))
    (tmp_path / "vars.yml").write_text(yaml.safe_dump(variables))
    in_clear, kept, given = (secrets.token_hex(12) for _count in range(3))
    (tmp_path / "clear.yml").write_text(
        f"- hosts: localhost\n  gather_facts: false\n  tasks:\n    - {LOGIN_TASK}: {{uri: 'docker://h/x', username: u, password: {in_clear}}}\n"
        "      ignore_errors: true\n"
        f"    - {LOGIN_TASK}: {{uri: 'docker://h/x', username: u, password: '{{{{ kept }}}}'}}\n")
    (tmp_path / "kept.yml").write_text(f"kept: {kept}\n")

    def run(play, *arguments, **more):
        env = processes.clean_env(tmp_path / "home", {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INJECT_INVOCATION": "true",
                                                      "ANSIBLE_PIPELINING": "false", **more})
        done = processes.run(node_python.core / "bin" / "ansible-playbook", "-i", "localhost,", "-c", "local", "-vvvv", "--diff",
                             "-e", f"ansible_python_interpreter={python}", *arguments, tmp_path / play, env=env)
        return done.stdout + done.stderr

    output = run("play.yml", "-e", f"@{tmp_path / 'vars.yml'}")
    assert "failed=0" in output, output
    assert {key for key, secret in made.items() if key[1] and secret not in output} == set()
    assert {key for key, secret in made.items() if not key[1] and leaks.leaked([output], leaks.forms("u", secret))} == set()
    output = run("clear.yml", "-e", f"@{tmp_path / 'kept.yml'}", "-e", f"given={given}", ANSIBLE_DISPLAY_ARGS_TO_STDOUT="true",
                 ANSIBLE_KEEP_REMOTE_FILES="true")
    assert in_clear in output
    assert given in output
    assert not leaks.leaked([output], leaks.forms("u", kept))
    files = [path.read_text(errors="replace") for path in (tmp_path / "home" / ".ansible" / "tmp").rglob("*") if path.is_file()]
    assert any(kept in text for text in files)
    assert kept in run("clear.yml", "-e", f"@{tmp_path / 'kept.yml'}", ANSIBLE_DEBUG="true")
    tested = {row for row, _shown in made} | {
        "a task, in clear text", "the command line, as `-e password=...`", "a run with `ANSIBLE_KEEP_REMOTE_FILES=1`", "a run with `ANSIBLE_DEBUG=1`"}
    assert guide_rows().keys() - tested == {"`ansible-inventory --list`, the playbook debugger", "`log_path`, callback plugins that keep results"}
