"""Next hops that are settings: the hosts file, and what leads nowhere."""

import os
import signal
import subprocess

import pytest

from dnsserver import DnsServer
from harness import MTA, UNDER_VALGRIND, connect, until
from peer import Peer

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
AS_IT_IS = pytest.mark.skipif(UNDER_VALGRIND, reason="looks at the process")


def submit(m, rcpts, sender="a@src.test", body=b"Subject: x\r\n\r\nhi\r\n"):
    with m.smtp() as s:
        return s.sendmail(sender, rcpts, body)


@pytest.fixture
def dns():
    with DnsServer({"hub.test": ""}) as d:
        yield d


@pytest.fixture
def peer():
    with Peer() as p:
        yield p


# --- the hosts file -----------------------------------------------------------

def start_with_hosts(m, text):
    """The whole of m sees a hosts file of its own; returns its path."""
    path = m.dir + "/hosts"
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    m.write_conf()
    with open(m.stderr, "wb") as err:
        m.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", "mount --bind %s /etc/hosts && "
             "exec %s %s -c %s" % (path, MTA, m.command, m.conf)],
            stdin=subprocess.DEVNULL, stderr=err)
    connect("127.0.0.1", m.port).close()
    return path


@AS_ROOT
@AS_IT_IS
@pytest.mark.parametrize("hop", ["mailhub", "[mailhub]", "MAIL.Hub.Test",
                                 "b\u00fccher.hub.test"])
def test_hosts_file_before_the_dns(mta, dns, peer, hop):
    """All of these are NXDOMAIN in the DNS."""
    m = mta("run", {"dns.servers": [dns.address],
                    "send.relay_host": "%s:%d" % (hop, peer.port)},
            start=False)
    start_with_hosts(m, "# of a container\n192.0.2.256 mailhub\n"
                     "127.0.0.1\tother mailhub mail.hub.test\n"
                     "127.0.0.1 xn--bcher-kva.hub.test # with U-labels\n")
    submit(m, ["u@x.test"])
    until("delivered", lambda: peer.messages)
    sent = until("log", lambda: m.events("send.delivered", to="u@x.test"))[0]
    assert sent["mx"] == (hop.strip("[]").lower() if hop.isascii()
                          else "xn--bcher-kva.hub.test")
    assert not m.events("send.next_hop")


@AS_ROOT
@AS_IT_IS
def test_a_name_comes_into_the_hosts_file(mta, dns, peer):
    """Read while it runs, as the other files are."""
    m = mta("run", {"dns.servers": [dns.address], "send.port": peer.port,
                    "send.relay_host": "mailhub"}, start=False)
    path = start_with_hosts(m, "127.0.0.1 other\n")
    submit(m, ["u@x.test"])
    until("reported", lambda: m.events("send.next_hop", status="4.3.5"))
    with open(path, "w", encoding="utf-8") as f:  # the mount is of this file
        f.write("127.0.0.1 other\n127.0.0.1 mailhub\n")
    until("delivered", lambda: m.kill(signal.SIGUSR1) or peer.messages)
    assert len(m.events("send.start")) == 1


@AS_ROOT
@AS_IT_IS
def test_the_hosts_file_is_for_settings_alone(mta, peer):
    with DnsServer({"x.test": "@ A 127.0.0.1"}) as d:
        m = mta("run", {"dns.servers": [d.address], "send.port": peer.port,
                        "send.routes": ["y.test=[elsewhere]"]}, start=False)
        start_with_hosts(m, "127.0.0.9 x.test\n")
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)


@AS_ROOT
@AS_IT_IS
def test_a_loop_by_the_hosts_file_waits(mta, dns):
    m = mta("run", {"dns.servers": [dns.address]}, start=False)
    m.settings["send.relay_host"] = "mailhub:%d" % m.port
    start_with_hosts(m, "127.0.0.1 mailhub\n")
    submit(m, ["u@x.test"])
    said = until("reported", lambda: m.events("send.next_hop"))[0]
    assert said["error"] == "the next hop loops back to this system"
    until("logged", lambda: m.events("serve.accepted"))
    assert len(m.queued()) == 1  # not once more by ourselves


# --- settings that lead nowhere -----------------------------------------------

ZONES = {
    "hub.test": """
null MX 0 .
loop MX 10 mx.here.test.
ring CNAME gnir
gnir CNAME ring
class A 240.0.0.1
class MX 10 class
""",
    "here.test": "mx A 127.0.0.8",
}


@pytest.mark.parametrize("hop,root,error", [
    ("gone.hub.test", True,
     "no such name in the DNS: gone.hub.test (MX, from %s)"),
    ("[gone.hub.test]", True,
     "no address records for gone.hub.test (from %s)"),
    ("null.hub.test", True,
     "the domain takes no mail (null MX): null.hub.test (from %s)"),
    ("loop.hub.test", True, "the next hop loops back to this system"),
    ("class.hub.test", True, "the next hop has no usable address"),
    ("ring.hub.test", True,
     "too many CNAME records from %s for ring.hub.test MX"),
    ("elsewhere.test", False, "REFUSED from %s for elsewhere.test MX"),
])
def test_our_settings_are_at_fault(mta, hop, root, error):
    """Nothing is counted; said once, with question, server and answer."""
    with DnsServer(ZONES, root=root) as d:
        m = mta("run", {"dns.servers": [d.address], "send.relay_host": hop},
                start=False)
        m.settings["send.port"] = m.port
        m.write_conf()
        m.start()
        submit(m, ["u@x.test"])
        said = until("reported", lambda: m.events("send.next_hop"))
        if "%s" in error:
            error %= d.address
        assert said[0]["error"] == error and said[0]["status"] == "4.3.5"
        waits = until("in the slot", lambda: [
            r for q in m.queued() for r in q["recipients"] if r["status"]])[0]
        assert waits["status"] == "4.3.5" and waits["reply"] == error
        assert (waits["attempts"], waits["rounds"]) == (0, 0)
        assert waits["state"] == "pending"
        assert len(m.events("send.next_hop")) == 1
        assert not m.events("send.deferred")


def test_a_name_server_that_is_down_is_a_round(mta, peer):
    with DnsServer({"hub.test": "@ A 127.0.0.1"}) as d:
        d.stop()
        m = mta(settings={"dns.servers": [d.address], "send.port": peer.port,
                          "send.relay_host": "hub.test"})
        submit(m, ["u@x.test"])
        until("deferred", lambda: m.events("send.deferred", status="4.4.3"))
        assert not m.events("send.next_hop")
        d.start()
        m.kill(signal.SIGUSR1)
        until("delivered", lambda: peer.messages)
