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


def recipients(m):
    return {r["address"]: r for q in m.queued() for r in q["recipients"]}


# --- a login that is missing ------------------------------------------------------

@pytest.mark.parametrize("verb,reply", [
    ("MAIL", "530 5.7.0 Authentication required"),
    ("RCPT", "535 5.7.8 Authentication credentials invalid")])
def test_a_login_is_asked_for(mta, verb, reply):
    """Reported once for all of them; nothing is counted or returned."""
    with Peer(answers={verb: reply}) as p:
        m = mta(settings={"send.relay_host": "[127.0.0.1]:%d" % p.port})
        for i in range(3):
            submit(m, ["u%d@x.test" % i], sender="joe@here.test")
        until("reported", lambda: m.events("send.next_hop", status="4.3.5"))
        until("in the slots", lambda: len(
            [r for r in recipients(m).values()
             if "asks for a login: " + reply[:3] in r["reply"]]) == 3)
        assert all((r["attempts"], r["rounds"]) == (0, 0)
                   for r in recipients(m).values())
        assert len(m.events("send.next_hop")) == 1 and not m.copies("joe", 0)
        assert reply[10:] in m.events("send.next_hop")[0]["error"]
        p.answers.clear()
        until("delivered", lambda: len(p.messages) == 3)


# --- held -----------------------------------------------------------------------

SOON = {"send.relay_host": "hub.test", "send.retry_min": "1s",
        "send.queue_lifetime": "3s"}


def is_held(m, address):
    r = recipients(m).get(address)
    return r is not None and r["state"] == "held" and r


def test_held_after_the_lifetime(mta, peer):
    """Neither tried nor returned; SIGUSR1 brings it back."""
    with DnsServer({"hub.test": ""}) as d:
        m = mta(settings=dict(SOON, **{"dns.servers": [d.address],
                                       "send.port": peer.port,
                                       "send.routes": ["y.test=[127.0.0.1]"]}))
        submit(m, ["u@x.test", "v@x.test", "w@y.test"], sender="joe@here.test")
        until("the other is delivered", lambda: peer.messages)
        r = until("held", lambda: is_held(m, "u@x.test"))
        assert r["held_by"] == "sender" and r["status"] == "4.3.5"
        assert "hub.test" in r["reply"] and not r["next_attempt"]
        assert (r["attempts"], r["rounds"]) == (0, 0)
        assert "w@y.test" not in recipients(m) or \
            recipients(m)["w@y.test"]["state"] == "delivered"
        said = until("logged", lambda: m.events("queue.held"))
        assert sum(int(e["nrcpt"]) for e in said) == 2 and len(said) == 1
        assert "hub.test" in said[0]["error"]
        text = m.tool("queue", "list").stdout.decode()
        assert "u@x.test  held until the fault here is repaired" in text, text
        assert not m.copies("joe", 0)
        d.update({"hub.test": "@ A 127.0.0.1"})
        m.kill(signal.SIGUSR1)
        until("delivered", lambda: len(peer.messages) == 2)
        until("empty", lambda: not m.queued())


def test_a_start_brings_back_what_is_held(mta, peer):
    with DnsServer({"hub.test": ""}) as d:
        m = mta(settings=dict(SOON, **{"dns.servers": [d.address],
                                       "send.port": peer.port}))
        submit(m, ["u@x.test"])
        until("held", lambda: is_held(m, "u@x.test"))
        m.stop()
        assert is_held(m, "u@x.test")
        m.start()
        until("pending", lambda: not is_held(m, "u@x.test"))
        until("held again", lambda: is_held(m, "u@x.test"))
        d.update({"hub.test": "@ A 127.0.0.1"})
        m.kill(signal.SIGHUP)  # though no setting is another
        until("delivered", lambda: peer.messages)
        until("empty", lambda: not m.queued())


def test_held_mail_is_mail_that_remains(mta, peer):
    """A drain ends when nothing but it is left."""
    with DnsServer({"hub.test": ""}) as d:
        m = mta("serve", settings=dict(SOON, **{"dns.servers": [d.address],
                                                "send.port": peer.port}))
        submit(m, ["u@x.test"])
        done = m.tool("send", "--drain", "--timeout", "30s", check=False)
        assert done.returncode == 75 and is_held(m, "u@x.test")
        assert m.events("send.stop")[-1]["held"] == "1"
        assert m.tool("send", "--once", check=False).returncode == 75
        assert recipients(m)["u@x.test"]["state"] == "pending"
        d.update({"hub.test": "@ A 127.0.0.1"})
        assert m.tool("send", "--drain", "--timeout", "30s").returncode == 0
        assert len(peer.messages) == 1


def test_a_wait_for_settings_is_no_age(mta):
    """When the setting is right, all of the lifetime is left."""
    with DnsServer({"hub.test": ""}) as d, Peer(
            answers={"RCPT": "450 4.2.0 later"}) as p:
        m = mta(settings=dict(SOON, **{"dns.servers": [d.address],
                                       "send.port": p.port,
                                       "send.queue_lifetime": "6s"}))
        submit(m, ["u@x.test"], sender="joe@here.test")
        until("it waits", lambda: m.events("send.next_hop"))
        until("held", lambda: is_held(m, "u@x.test"))
        d.update({"hub.test": "@ A 127.0.0.1"})
        m.kill(signal.SIGUSR1)
        until("deferred", lambda: len(m.events("send.deferred")) > 1)
        assert not m.copies("joe", 0)


def test_the_sender_gets_a_notice_of_the_wait(mta):
    with DnsServer({"hub.test": ""}) as d:
        m = mta(settings=dict(SOON, **{"dns.servers": [d.address],
                                       "send.warn_after": "1s"}))
        submit(m, ["u@x.test"], sender="joe@here.test")
        text = until("notice", lambda: m.mailbox("joe"))[0].decode()
        words = " ".join(text.split())
        assert "keeps it until its operator has repaired what is wrong" in words
        assert "Action: delayed" in text and "Status: 4.3.5" in text
        assert "Will-Retry-Until" not in text
        until("held", lambda: is_held(m, "u@x.test"))
        m.copies("joe")
