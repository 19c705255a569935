"""The resolver against a real DNS server, through build/tools/dnsask."""

import collections
import json
import os
import subprocess

import pytest

from dnsserver import DnsServer
from harness import DEADLINE, ROOT

TOOLS = os.environ.get("TOOLS", os.path.join(ROOT, "build", "tools"))
DNSASK = os.path.join(TOOLS, "dnsask")

LONG = "a-host-name-that-takes-its-room-%02d"
ZONES = {
    "one.test": """
@ MX 10 mx
mx A 127.0.0.1
mx AAAA ::1
www A 127.0.0.2
empty TXT "no mail here"
only4 A 127.0.0.4
only6 AAAA ::6
""",
    "order.test": """
@ MX 30 last
@ MX 10 first
@ MX 20 b1
@ MX 20 b2
@ MX 20 b3
@ MX 20 b4
@ MX 40 first
first A 127.0.1.1
b1 A 127.0.2.1
b2 A 127.0.2.2
b3 A 127.0.2.3
b4 A 127.0.2.4
last A 127.0.3.1
""",
    "null.test": "@ MX 0 .",
    "notquitenull.test": "@ MX 0 .\n@ MX 5 mx\nmx A 127.0.0.1",
    "implicit.test": "@ A 127.0.0.9",
    "nothing.test": "",
    "nohost.test": "@ MX 5 gone\n@ MX 10 away.nothing.test.",
    "onehost.test": "@ MX 5 gone\n@ MX 10 mx.one.test.",
    "alias.test": """
@ MX 5 cname
@ MX 9 outside
cname CNAME real
real A 127.0.4.1
outside CNAME mx.one.test.
domain CNAME one.test.
ring CNAME gnir
gnir CNAME ring
away CNAME c1.chain.test.
nowhere CNAME gone.nothing.test.
""",
    "chain.test": "\n".join("c%d CNAME c%d" % (i, i + 1)
                            for i in range(1, 12)) + "\nc12 A 127.0.0.1",
    "chain5.test": "\n".join("c%d CNAME c%d" % (i, i + 1)
                             for i in range(1, 6)) + "\nc6 A 127.0.5.6",
    "big.test": "\n".join("@ MX 10 " + LONG % i for i in range(40)) + "\n" +
                "\n".join((LONG + " A 127.0.6.%d") % (i, i)
                          for i in range(40)) + "\n" +
                "\n".join("many A 127.0.7.%d" % i for i in range(1, 201)),
    "xn--bcher-kva.test": "@ MX 10 mx.one.test.",
    "127.in-addr.arpa": """
1.0.0 PTR mx.one.test.
2.0.0 PTR liar.test.
3.0.0 PTR mx.one.test.
4.0.0 PTR liar.test.
4.0.0 PTR only4.one.test.
5.0.0 PTR b\\(a\\)d.test.
6.0.0 CNAME 6.sub
6.sub PTR six.rev.test.
""",
    "rev.test": "six A 127.0.0.6",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa":
        "1 PTR mx.one.test.\n6 PTR only6.one.test.\n7 PTR mx.one.test.",
}


@pytest.fixture(scope="module")
def server():
    with DnsServer(ZONES) as s:
        yield s


def ask(*what, servers, flags=()):
    """The answers by name, for KIND, NAME, KIND, NAME ..."""
    cmd = [DNSASK, *flags]
    for s in servers:
        cmd += ["-s", s]
    done = subprocess.run(cmd + list(what), capture_output=True, text=True,
                          timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def one(server, kind, name, **kwargs):
    return ask(kind, name, servers=[server.address], **kwargs)[0]


HOSTS = [
    ("mail host, both families", "hosts", "one.test",
     [[10, "mx.one.test", "::1", "127.0.0.1"]]),
    ("IPv4 only", "hosts4", "one.test", [[10, "mx.one.test", "127.0.0.1"]]),
    ("IPv6 only", "hosts6", "one.test", [[10, "mx.one.test", "::1"]]),
    ("upper case and dot", "hosts", "ONE.Test.",
     [[10, "mx.one.test", "::1", "127.0.0.1"]]),
    ("implicit", "hosts", "implicit.test",
     [[0, "implicit.test", "127.0.0.9"]]),
    ("one host without address", "hosts", "onehost.test",
     [[10, "mx.one.test", "::1", "127.0.0.1"]]),
    ("hosts that are aliases", "hosts", "alias.test",
     [[5, "cname.alias.test", "127.0.4.1"],
      [9, "outside.alias.test", "::1", "127.0.0.1"]]),
    ("domain that is an alias", "hosts", "domain.alias.test",
     [[10, "mx.one.test", "::1", "127.0.0.1"]]),
    ("null MX among others", "hosts", "notquitenull.test",
     [[5, "mx.notquitenull.test", "127.0.0.1"]]),
    ("smarthost", "direct", "mx.one.test",
     [[0, "mx.one.test", "::1", "127.0.0.1"]]),
    ("U-labels", "hosts", "Bücher.test",
     [[10, "mx.one.test", "::1", "127.0.0.1"]]),
]


@pytest.mark.parametrize("kind,name,hosts", [h[1:] for h in HOSTS],
                         ids=[h[0] for h in HOSTS])
def test_hosts(server, kind, name, hosts):
    got = one(server, kind, name)
    assert got["status"] == "ok"
    assert got["hosts"] == hosts
    assert 0 < got["ttl"] <= 60


NONE = [
    ("null MX", "hosts", "null.test", "null"),
    ("unknown domain", "hosts", "unknown.example", "no_domain"),
    ("neither MX nor address", "hosts", "nothing.test", "no_domain"),
    ("name with TXT only", "hosts", "empty.one.test", "no_domain"),
    ("MX without addresses", "hosts", "nohost.test", "no_host"),
    ("MX without IPv6", "hosts6", "implicit.test", "no_domain"),
    ("smarthost with MX only", "direct", "null.test", "no_domain"),
    ("ring of aliases", "hosts", "ring.alias.test", "temp"),
    ("empty label", "hosts", "a..b", "no_domain"),
    ("control character", "hosts", "a\tb.test", "no_domain"),
    ("broken UTF-8 label", "hosts", "xn--\u00fc.test", "no_domain"),
]


@pytest.mark.parametrize("kind,name,status", [n[1:] for n in NONE],
                         ids=[n[0] for n in NONE])
def test_no_hosts(server, kind, name, status):
    got = one(server, kind, name)
    assert got["status"] == status
    assert got["hosts"] == []
    assert got["why"] != ""
    if name in ZONES and status in ("no_domain", "no_host"):
        assert name in got["why"]


def test_order(server):
    seen = collections.Counter()
    for _ in range(30):
        hosts = one(server, "hosts", "order.test")["hosts"]
        names = [h[1].split(".")[0] for h in hosts]
        assert names[0] == "first" and names[-1] == "last"
        assert [h[0] for h in hosts] == [10, 20, 20, 20, 20, 30]
        assert sorted(names[1:5]) == ["b1", "b2", "b3", "b4"]
        seen[names[1]] += 1
    # (3/4)^30 is 1 in 5600 for one of them never to be first; two are enough
    assert len(seen) >= 2, seen


def test_large_answers_come_over_tcp(server):
    got = one(server, "mx", "big.test")
    assert got["status"] == "ok" and len(got["rr"]) == 40
    got = one(server, "a", "many.big.test")
    assert got["status"] == "ok" and len(got["rr"]) == 64
    hosts = one(server, "hosts", "big.test")["hosts"]
    assert len(hosts) == 16
    for _, name, ip in hosts:
        assert ip == "127.0.6.%d" % int(name.split(".")[0][-2:])


CHAINS = [
    ("five", "c1.chain5.test", "ok"),
    ("eleven", "c1.chain.test", "failed"),
    ("eight at the end of it", "c4.chain.test", "ok"),
    ("nine at the end of it", "c3.chain.test", "failed"),
    ("from another zone", "away.alias.test", "failed"),
    ("to no name", "nowhere.alias.test", "nxdomain"),
]


@pytest.mark.parametrize("name,status", [c[1:] for c in CHAINS],
                         ids=[c[0] for c in CHAINS])
def test_chains(server, name, status):
    assert one(server, "a", name)["status"] == status


RDNS = [
    ("confirmed", "127.0.0.1", "ok", "mx.one.test"),
    ("confirmed, IPv6", "::1", "ok", "mx.one.test"),
    ("name unknown", "127.0.0.2", "mismatch", "liar.test"),
    ("name of another", "127.0.0.3", "mismatch", "mx.one.test"),
    ("name of another, IPv6", "::7", "mismatch", "mx.one.test"),
    ("one of two names", "127.0.0.4", "ok", "only4.one.test"),
    ("classless delegation", "127.0.0.6", "ok", "six.rev.test"),
    ("IPv4 in IPv6", "::ffff:127.0.0.1", "ok", "mx.one.test"),
    ("no name of a host", "127.0.0.5", "no_ptr", ""),
    ("no name", "127.0.0.99", "no_ptr", ""),
    ("no zone", "192.0.2.1", "no_ptr", ""),
]


@pytest.mark.parametrize("ip,status,name", [r[1:] for r in RDNS],
                         ids=[r[0] for r in RDNS])
def test_rdns(server, ip, status, name):
    got = one(server, "rdns", ip)
    assert (got["status"], got["found"]) == (status, name)


def test_unknown_zone_is_temporary():
    with DnsServer({"one.test": "@ MX 5 mx.other.test."}, root=False) as s:
        got = one(s, "hosts", "unknown.example")
        assert got["status"] == "temp" and "REFUSED" in got["why"]
        got = one(s, "hosts", "one.test")
        assert got["status"] == "temp" and got["ttl"] == 0
        assert one(s, "rdns", "127.0.0.1")["status"] == "temp"


def test_partial_answer_is_short_lived():
    zones = {"one.test": "$TTL 3600\n@ MX 5 mx.other.test.\n@ MX 9 mx\n"
                         "mx A 127.0.0.1\nmx AAAA ::1"}
    with DnsServer(zones, root=False) as s:
        got = one(s, "hosts", "one.test")
        assert got["status"] == "ok"
        assert got["hosts"] == [[9, "mx.one.test", "::1", "127.0.0.1"]]
        assert got["ttl"] == 60


def test_servers_come_and_go(server):
    flags = ("-t", "100")
    with DnsServer(ZONES) as other:
        pair = [other.address, server.address]
        assert ask("a", "www.one.test", servers=pair)[0]["status"] == "ok"
        other.pause()
        got = ask("a", "www.one.test", servers=pair, flags=flags)[0]
        assert got["status"] == "ok"
        got = ask("hosts", "one.test", servers=pair[:1], flags=flags)[0]
        assert got["status"] == "temp" and "timed out" in got["why"]
        other.resume()
        other.stop()
        got = ask("a", "www.one.test", servers=pair)[0]
        assert got["status"] == "ok"
        got = ask("hosts", "one.test", servers=pair[:1])[0]
        assert got["status"] == "temp" and "refused" in got["why"]
        other.start()
        assert ask("a", "www.one.test", servers=pair[:1])[0]["status"] == "ok"


def test_server_on_ipv6():
    with DnsServer(ZONES, host="::1") as s:
        assert one(s, "hosts", "one.test")["status"] == "ok"
        assert len(one(s, "mx", "big.test")["rr"]) == 40


def test_many_at_once(server):
    """More questions than queries may be open; all are answered."""
    what = []
    for i in range(200):
        what += ["a", "n%d.nothing.test" % i]
    got = ask(*what, servers=[server.address], flags=("-q", "7"))
    assert len(got) == 200
    assert {g["status"] for g in got} == {"nxdomain"}
