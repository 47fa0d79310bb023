# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's page in a real browser: fast with 2,000 hosts, usable by keyboard, and nothing in it runs or fetches what it should not."""

import datetime
import json
import shutil
import time

import pytest
from ansible_collections.hpc.apptainer.plugins.plugin_utils._health import Limits, health_of
from ansible_collections.hpc.apptainer.plugins.plugin_utils._origin import Origin
from ansible_collections.hpc.apptainer.plugins.plugin_utils._outcomes import IGNORED, Difference, HostResult, UserFinding
from ansible_collections.hpc.apptainer.plugins.plugin_utils._page import begun_page, page
from ansible_collections.hpc.apptainer.plugins.plugin_utils._report import HEALTH, build_report
from ansible_collections.hpc.apptainer.plugins.plugin_utils._text import printable

webdriver = pytest.importorskip("selenium.webdriver")
PROGRAMS = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
pytestmark = [
    pytest.mark.skipif(not all(PROGRAMS.values()), reason=f"needs {' and '.join(name for name, path in PROGRAMS.items() if not path)}"),
    pytest.mark.xdist_group("browser"),
]

HOSTILE = "</script><img src=x onerror=alert(1)>&\u2028'\"`{{7*7}}${1}\u202e\x00\x1b[2J\ud800"
FILE = "/etc/apptainer/remote.yaml"


def drifted(name, sentence="endpoint site: exclusive is false, should be true"):
    return HostResult(name, "drifted", "", (Difference("global: remote.yaml", FILE, (sentence,), "Exclusive: false\n", "Exclusive: true\n"),))


def fleet():
    """2,000 hosts: the same drift on 1,800, one of its own on 100, and some of everything else."""
    names = [f"node{number:04}" for number in range(1, 2001)]
    finding = UserFinding("stale-copy", "warning", "alice", "endpoint old is a copy", "/home/alice/.apptainer/remote.yaml")
    return [
        *map(drifted, names[:1800]),
        *(drifted(name, f"endpoint site: URI is lib-{name}, should be library.example.org") for name in names[1800:1900]),
        *(HostResult(name, "failed", "the file is bad", (), (finding,)) for name in names[1900:1910]),
        *(HostResult(name, "unreachable", "Connection refused") for name in names[1910:1930]),
        *(HostResult(name, "undeclared") for name in names[1930:1935]),
        *(HostResult(name, "in_state") for name in names[1935:]),
    ]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = PROGRAMS["chromium"]
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update", "no-first-run",
                 "force-prefers-reduced-motion", f"user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(PROGRAMS["chromedriver"]))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, tmp_path):
    """Open the page of these outcomes; at the end, nothing was fetched but the page, and the console is empty."""

    def show(outcomes, javascript=True, text="", **report):
        file = tmp_path / "report.html"
        report = {"title": "Drift", "generated": "2026-11-23T18:00:00Z", **report}
        file.write_text(text or page(build_report(results=outcomes, **report)), encoding="utf-8")
        browser.get_log("performance")
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not javascript})
        browser.get(file.as_uri())
        return browser

    yield show
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    own = ("chrome://", "data:")  # icons of the browser
    assert {url for url in requests if not url.startswith(own)} <= {(tmp_path / "report.html").as_uri()}
    assert browser.get_log("browser") == []
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def shown(browser):
    """The names in the list of hosts, and what it says of their number."""
    names = browser.execute_script("return [...document.querySelectorAll('#rows td:first-child')].map((cell) => cell.textContent.toWellFormed())")
    return names, browser.execute_script("return document.getElementById('shown').textContent")


def find(browser, selector):
    return browser.find_element("css selector", selector)


def test_two_thousand_hosts_are_listed_a_hundred_at_a_time(opened):
    """What a filter costs is what is laid out: a hundred rows of however many, until all are wanted. Figures are printed, not judged."""
    browser = opened(fleet())
    loaded = browser.execute_script("const n = performance.getEntriesByType('navigation')[0]; return n.loadEventEnd - n.startTime")
    filtered = browser.execute_script("""
        const search = document.getElementById("search"), found = [];
        for (const text of ["n", "node18", "lib-node1850", "nothing", ""]) {
            const start = performance.now();
            search.value = text;
            search.dispatchEvent(new Event("input"));
            document.body.offsetHeight;
            found.push([document.querySelectorAll("#rows tr").length, performance.now() - start]);
        }
        const start = performance.now();
        document.getElementById("all").click();
        document.body.offsetHeight;
        return [...found, [document.querySelectorAll("#rows tr").length, performance.now() - start]];
    """)
    print(f"2,000 hosts: loaded in {loaded:.0f} ms; rows and milliseconds of five filters and of all: {filtered}")
    assert max(rows for rows, _time in filtered[:-1]) == 100
    assert filtered[-1][0] == 2000
    assert len(shown(browser)[0]) == 2000
    assert len(browser.page_source) < 3_000_000


def test_size(tmp_path):
    assert len(page(build_report("Drift", "2026-11-23T18:00:00Z", fleet()))) < 500_000


@pytest.mark.parametrize(("text", "number", "first"), [
    ("", "2,000 hosts", "node0001"),
    ("lib-node1850", "1 of 2,000 hosts", "node1850"),
    ("UNREACHABLE node19", "20 of 2,000 hosts", "node1911"),
    ("bad file", "10 of 2,000 hosts", "node1901"),
    ("nothing", "0 of 2,000 hosts", None),
])
def test_search(opened, text, number, first):
    browser = opened(fleet())
    find(browser, "#search").send_keys(text)
    names, said = shown(browser)
    assert (said, names[:1]) == (number, [first] if first else [])


def test_states_and_sort(opened):
    browser = opened(fleet())
    find(browser, "[data-state=failed]").click()
    assert shown(browser)[1] == "10 of 2,000 hosts"
    assert find(browser, "[data-state=failed]").get_attribute("aria-pressed") == "true"
    find(browser, "[data-state=unreachable]").click()
    find(browser, "[data-sort='0']").click()
    assert shown(browser)[0][0] == "node1930"
    assert find(browser, "th").get_attribute("aria-sort") == "descending"
    find(browser, "[data-sort='1']").click()
    assert shown(browser)[0][0] == "node1901"
    find(browser, "#reset").click()
    assert shown(browser)[1] == "2,000 hosts"


def test_keyboard(opened):
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    browser = opened(fleet())
    body = find(browser, "body")
    body.send_keys("/")
    focused = browser.switch_to.active_element
    assert focused.get_attribute("id") == "search"
    focused.send_keys("node1950/")
    assert shown(browser)[1] == "0 of 2,000 hosts"
    focused.send_keys(keys.ESCAPE)
    assert (focused.get_property("value"), shown(browser)[1]) == ("", "2,000 hosts")
    browser.refresh()
    seen = []
    for _press in range(60):
        webdriver.ActionChains(browser).send_keys(keys.TAB).perform()
        active = browser.switch_to.active_element
        seen.append(active.tag_name + (active.get_attribute("data-state") or active.get_attribute("id") or ""))
        assert browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
        if seen[-1] == "buttonall":
            break
    assert {"summary", "inputsearch", "buttondrifted", "buttoncopy", "buttonall"} <= set(seen)


def test_hosts_of_a_difference(opened):
    browser = opened(fleet())
    find(browser, "#drift summary").click()
    assert "node[0001-1800]" in find(browser, "#drift .nodes").text
    find(browser, "#drift [data-show]").click()
    assert shown(browser)[1] == "1,800 of 2,000 hosts with: endpoint site: exclusive is false, should be true"
    browser.execute_script("Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.copied = text; }}})")
    find(browser, "#drift [data-copy]").click()
    time.sleep(0.1)
    assert browser.execute_script("return window.copied").split(",") == [f"node{number:04}" for number in range(1, 1801)]
    assert find(browser, "#drift [data-copy]").text == "Copied 1,800"


def test_hostile_names_and_messages_are_text(opened):
    finding = UserFinding(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    difference = Difference(HOSTILE, HOSTILE, (HOSTILE, HOSTILE), HOSTILE, HOSTILE + "x")
    browser = opened([HostResult(HOSTILE, "drifted", "", (difference,), (finding,)), HostResult("b" + HOSTILE, "failed", HOSTILE),
                      HostResult("c", "unreachable", HOSTILE)])
    names, _said = shown(browser)
    assert names[0] == HOSTILE.replace("\ud800", "\ufffd")  # as WebDriver says it; in the page it is half a character
    assert printable(HOSTILE) in find(browser, "#drift .what").get_property("textContent")
    assert printable(HOSTILE) in find(browser, "#rows td:last-child").get_property("textContent")
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    browser.execute_script("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert "{{7*7}}" in find(browser, "#drift .diff").text


def test_without_javascript(opened):
    browser = opened(fleet(), javascript=False)
    text = find(browser, "body").text
    assert "1,900 of 2,000 hosts drifted, 30 could not be checked" in text
    assert "endpoint site: exclusive is false, should be true" in text
    assert "node[0001-1800]" in text
    assert "All hosts" not in text
    find(browser, "#drift summary").click()
    assert "node[0001-1800]" in find(browser, "#drift .nodes").text


def ago(hours):
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(("made", "due", "stale"), [
    (25.5, -0.5, None), (27.5, 1.5, "27 hours"), (100, 74, "4 days"), (100, None, None),
], ids=["fresh", "stale", "long stale", "never stale"])
def test_an_old_page_says_that_it_is_stale(opened, made, due, stale):
    browser = opened([HostResult("n1", "in_state")], generated=ago(made), due="" if due is None else ago(due))
    shown = [element.text for element in browser.find_elements("css selector", "#stale") if element.is_displayed()]
    said = f"This report is stale: it is {stale} old, and no newer one was made. Look at the log of the job that makes it."
    assert shown == ([said] if stale else [])
    assert ("The next report is due by" in find(browser, ".when").text) is (due is not None)


def test_a_page_that_stays_open_becomes_stale(opened):
    browser = opened([], generated=ago(1), due=ago(-1))
    assert not find(browser, "#stale").is_displayed()
    browser.execute_script("document.getElementById('due').dateTime = arguments[0]; dispatchEvent(new Event('focus'))", ago(0.5))
    assert find(browser, "#stale").is_displayed()


def test_while_a_run_has_not_finished(opened):
    browser = opened([], text=begun_page(HOSTILE, "2026-11-23T18:00:00Z", Origin()))
    assert find(browser, ".verdict").text == "A run began on 2026-11-23 18:00:00 UTC and has not finished"
    assert printable(HOSTILE) in find(browser, "h1").get_property("textContent")


def test_states_that_are_no_drift(opened):
    """What a global file that cannot be read costs is the first row; hosts for which nothing is declared have a section of their own."""
    ignored = Difference("global: remote.yaml", FILE, (IGNORED, f"{FILE}, line 3: bad"), ignored="bad")
    copy = UserFinding("unreleased-copy", "warning", "alice<b>", "m", "/home/alice/r", "old")
    browser = opened([drifted("n1"), drifted("n2"), HostResult("n3", "drifted", "", (ignored,)), HostResult("n4", "undeclared", "", (), (copy,))])
    assert find(browser, "#drift .row .title").text == f"{IGNORED}; {FILE}, line 3: bad"
    assert find(browser, ".cards .undeclared").text.split() == ["1", "undeclared"]
    find(browser, ".cards .undeclared a").click()
    find(browser, "#undeclared summary").click()
    assert find(browser, "#undeclared .nodes").text == "n4"
    assert find(browser, ".alarm").text == "1 user would be locked out if the endpoint old were removed now: alice<b>"
    find(browser, "[data-state=undeclared]").click()
    assert shown(browser)[0] == ["n4"]


@pytest.mark.parametrize("differed", ["changed", "to be changed"])
def test_the_page_of_a_rollout_does_not_call_a_change_drift(opened, differed):
    browser = opened([drifted("n1"), HostResult("n2", "in_state")], differed=differed)
    assert find(browser, ".verdict").text == f"1 of 2 hosts {differed}"
    assert "drift" not in find(browser, "body").text.lower().replace("hpc.apptainer.drift", "").replace("drift\n", "", 1)


def test_print_opens_everything_and_closes_it_again(opened):
    browser = opened(fleet()[1890:1990])
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") == 0
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script("return document.querySelectorAll('details[open]').length") == 0


@pytest.mark.parametrize(("outcomes", "said"), [
    ([], "No host was checked"),
    ([HostResult("n1", "in_state")], "All hosts are in state"),
    ([HostResult("n1", "undeclared"), HostResult("n2", "in_state")], "All hosts that have something declared are in state (1 of 2)"),
    ([HostResult("n1", "undeclared")], "Nothing is declared for any host"),
    ([HostResult("n1", "unreachable", "x"), HostResult("n2", "unreachable", "x")], "No host could be checked"),
    ([HostResult("n1", "failed", "x"), HostResult("n2", "in_state")], "1 of 2 hosts could not be checked"),
    ([drifted("n1")], "The only host drifted"),
    ([drifted("n1"), drifted("n2")], "All 2 hosts drifted"),
])
def test_verdict(opened, outcomes, said):
    assert said in find(opened(outcomes), ".verdict").text


def test_the_first_screen_says_what_and_where(opened):
    browser = opened(fleet())
    said = browser.execute_script("""
        return [...document.querySelectorAll(".verdict, .cards li, #drift summary .title, #drift summary .at")].filter((one) => {
            const box = one.getBoundingClientRect();
            return box.height && box.bottom < 600;
        }).map((one) => one.innerText).join("|");
    """)
    for words in ("1,900 of 2,000 hosts drifted, 30 could not be checked", "endpoint site: exclusive is false, should be true", "node[0001-1800]"):
        assert words in said
    find(browser, ".cards .unreachable a").click()
    assert -1 < browser.execute_script("return document.getElementById('unreachable').getBoundingClientRect().top") < 800


def test_paper_has_the_tail_as_a_list(opened):
    browser = opened(fleet())
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script("return document.querySelector('.more').open && !document.querySelector('.more .row[open]')")
    assert browser.execute_script("return document.querySelectorAll('#drift > .row[open]').length") == 10
    browser.execute_script("dispatchEvent(new Event('afterprint'))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(opened, scheme):
    """WCAG 2.2, level AA: 4.5 for text, 3 for the signs, the bar and the edges of what can be operated."""
    browser = opened(fleet())
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    names = ["paper", "card", "ink", "soft", "edge", "focus", "sign", "del", "ins", "line", "in_state", "drifted", "failed", "unreachable",
             "undeclared", "users"]
    light = dict(zip(names, map(luminance, browser.execute_script(
        "return arguments[0].map((name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim())", names)), strict=True))
    sign = "return getComputedStyle(document.querySelector('.mark.' + arguments[0])).getPropertyValue('--sign').trim()"
    signs = {state: luminance(browser.execute_script(sign, state)) for state in names[-6:]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    text = [("ink", on) for on in ("paper", "card", "del", "ins")] + [("soft", on) for on in ("paper", "card", "line")] + [("failed", "card")]
    edges = [(name, on) for name in ("edge", "focus", *names[-6:]) for on in ("paper", "card")]
    low = {pair: round(contrast(*(light[name] for name in pair)), 2) for pairs, least in ((text, 4.5), (edges, 3)) for pair in pairs
           if contrast(*(light[name] for name in pair)) < least}
    low.update({("sign", state): contrast(light[state], sign) for state, sign in signs.items() if contrast(light[state], sign) < 4.5})
    assert low == {}


def luminance(colour):
    """Of `#rgb` or `#rrggbb`, as WCAG defines it."""
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[start:start + 2], 16) / 255 for start in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


@pytest.mark.parametrize("width", [360, 1280])
def test_a_screen_reader_hears_a_table(opened, width):
    browser = opened(fleet()[1900:1903])
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500})
    nodes = [node for node in browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"] if not node["ignored"]]
    roles = [node["role"]["value"] for node in nodes]
    assert (roles.count("table"), roles.count("row"), roles.count("columnheader"), roles.count("rowheader"), roles.count("cell")) == (1, 4, 3, 3, 6)
    unnamed = [node["role"]["value"] for node in nodes
               if node["role"]["value"] in ("button", "searchbox", "link", "table") and not node["name"]["value"].strip()]
    assert unnamed == []
    boxes = browser.execute_script("return [...document.querySelectorAll('th button')].map((button) => button.getBoundingClientRect().height)")
    assert min(boxes) >= 24
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(opened, width):
    browser = opened(fleet())
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500})
    browser.execute_script("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def healthy_and_not():
    """Servers and logins in every state, with names that are as long as they get."""
    service = {"kind": "endpoint", "name": 'endpoint "site" at https://library.' + "x" * 60 + ".example.org:8443", "uri": "https://x", "service": "",
               "version": "v1.0.0", "up": True, "reason": "it answers", "warning": ""}
    login = {"kind": "token", "name": "registry registry.example.org as user ci", "uri": "r", "user": "ci", "valid": False, "reason": "401 " * 30,
             "warning": ""}
    certificate = {"server": "https://library.example.org", "expires": "2026-11-30T00:00:00Z", "trusted": True, "reason": ""}
    result = {"from": "admin", "refused": [], "undeclared": [], "errors": [HOSTILE], "logins": [login, {**login, "valid": True}],
              "services": [service, {**service, "up": False, "reason": HOSTILE}, {**service, "up": None}],
              "certificates": [certificate, {**certificate, "expires": "2026-12-12T00:00:00Z"}, {**certificate, "expires": "2027-12-12T00:00:00Z"},
                               {**certificate, "expires": None, "trusted": None, "reason": "it refuses the connection"}]}
    return health_of(result, datetime.datetime(2026, 11, 23, 18, tzinfo=datetime.UTC), Limits(), hosts_are_reported=True)


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("outcomes", [[], [HostResult("n1", "in_state")]], ids=["alone", "with hosts"])
def test_servers_and_logins(opened, outcomes, width):
    """In words beside the signs, also for a screen reader, and no wider than the screen; what is well is below and folded."""
    browser = opened(outcomes, differed="drifted" if outcomes else HEALTH, health=healthy_and_not())
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500})
    seen = find(browser, "#health").text
    for word in ("down", "not known", "rejected", "6 days", "18 days", "it refuses the connection"):
        assert word in seen, word
    assert "accepted" in find(browser, "#health").get_property("textContent")
    states = browser.execute_script("return [...document.querySelectorAll('#health td:nth-child(2)')].map((cell) => [cell.className, cell.textContent])")
    assert ["drifted", "18 days"] in states
    assert ["failed", "6 days"] in states
    browser.execute_script("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    nodes = [node for node in browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"] if not node["ignored"]]
    roles = [node["role"]["value"] for node in nodes]
    assert roles.count("rowheader") == 9 + len(outcomes)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_paper_shows_what_repairs_each_difference(opened):
    browser = opened([drifted("n1")], origin=Origin(inventory=("/srv/inventory",)))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert find(browser, ".repair").text == "To repair\nansible-playbook -i /srv/inventory hpc.apptainer.rollout --limit n1"
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
