# Copyright (c) 2026, the hpc.apptainer contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which proxy Go would use."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.apptainer.plugins.module_utils._errors import NetworkError
from ansible_collections.hpc.apptainer.plugins.module_utils._network.proxies import proxy_for
from support.tables import table

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(("url", "environ", "proxy"), table([
    ("none", "https://x.example", {}, None),
    ("https", "https://x.example", {"HTTPS_PROXY": PROXY}, PROXY),
    ("in lower case", "https://x.example", {"https_proxy": PROXY}, PROXY),
    ("upper case first", "https://x.example", {"HTTPS_PROXY": PROXY, "https_proxy": "http://other"}, PROXY),
    ("of another scheme", "https://x.example", {"HTTP_PROXY": PROXY}, None),
    ("http", "http://x.example", {"HTTP_PROXY": PROXY}, PROXY),
    ("empty", "http://x.example", {"HTTP_PROXY": "", "http_proxy": PROXY}, PROXY),
    ("for all", "http://x.example", {"ALL_PROXY": PROXY, "all_proxy": PROXY}, None),
    ("without a scheme", "http://x.example", {"HTTP_PROXY": "proxy.example:3128"}, PROXY),
    ("a login without a scheme", "http://x.example", {"HTTP_PROXY": "joe:pw@proxy.example:3128"}, "http://joe:pw@proxy.example:3128"),
    ("by TLS", "http://x.example", {"HTTP_PROXY": "https://proxy.example"}, "https://proxy.example"),
    ("this machine", "http://localhost:80", {"HTTP_PROXY": PROXY}, None),
    ("a loopback address", "http://127.1.2.3:80", {"HTTP_PROXY": PROXY}, None),
    ("a loopback address of IPv6", "http://[::1]:80", {"HTTP_PROXY": PROXY}, None),
    ("not for an empty list", "http://x.example", {"HTTP_PROXY": PROXY, "no_proxy": " , "}, PROXY),
    ("and yet below localhost", "http://x.localhost", {"HTTP_PROXY": PROXY}, PROXY),
]))
def test_proxy_for(url, environ, proxy):
    found = proxy_for(url, environ)
    assert (found and found.url) == proxy
    assert not found or "pw" not in repr(found)
    assert not found or found.has_login == ("@" in proxy)


@pytest.mark.parametrize(("no_proxy", "url", "asked"), [
    ("*", "http://x.example", False),
    ("x.example", "http://x.example", False),
    ("X.Example", "http://x.example:81", False),
    ("y.example, x.example", "http://x.example", False),
    ("example", "http://x.example", False),
    (".x.example", "http://x.example", True),
    (".x.example", "http://a.x.example", False),
    ("*.x.example", "http://a.x.example", False),
    ("*.x.example", "http://x.example", True),
    ("x.example", "http://a.x.example", False),
    ("x.example", "http://ax.example", True),
    ("x.example:80", "http://x.example", False),
    ("x.example:81", "http://x.example", True),
    ("x.example:" + "8" * 5000, "http://x.example", True),
    ("x.example:", "http://x.example", False),
    (":80", "http://x.example", True),
    ("10.0.0.0/8", "http://10.1.2.3", False),
    ("10.0.0.0/8", "http://11.1.2.3", True),
    ("10.0.0.0/8", "http://x.example", True),
    ("10.0.0.0/x", "http://x.example", True),
    ("10.1.2.3", "http://10.1.2.3", False),
    ("10.1.2.3:80", "http://10.1.2.3", False),
    ("10.1.2.3:81", "http://10.1.2.3", True),
    ("10.1.2.3", "http://x.example", True),
    ("2001:db8::1", "http://[2001:DB8:0::1]", False),
    ("[2001:db8::1]:80", "http://[2001:db8::1]", False),
    ("fd00::/8", "http://[fd00::1]", False),
])
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_no_proxy(no_proxy, url, asked, variable):
    assert (proxy_for(url, {"http_proxy": PROXY, variable: no_proxy}) is not None) is asked


@pytest.mark.parametrize(("value", "words"), [
    ("socks5://proxy.example:1080", "is a SOCKS proxy, which is not used here; set an http proxy, or ask from a node that needs none"),
    ("ftp://proxy.example", "is not valid; write it like http://host.example.org:3128"),
    ("http://", "is not valid; write it like http://host.example.org:3128"),
    ("http://[x", "is not valid; write it like http://host.example.org:3128"),
])
def test_a_proxy_that_cannot_be_used(value, words):
    with pytest.raises(NetworkError) as caught:
        proxy_for("http://x.example", {"http_proxy": value})
    assert str(caught.value) == f"http://x.example was not asked: the proxy set for it in the environment {words}"
