"""TLS that begins before the greeting, at port 465 (RFC 8314 3.3): a smarthost
that has no other port."""

import os

import pytest

from auth import PASSWORD, USER, AuthPeer
from dnsserver import DnsServer
from harness import until
from peer import Peer
from pki import Authority

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="binds port 465")



def address(name):
    """Of this process, for others run these tests beside it."""
    return "127.46.%d.%d" % (os.getpid() % 250 + 1, ord(name))


ZONES = {"wrap.test": "\n".join("%s A %s" % (x, address(x)) for x in "abcde")}
IN_CLEAR = ("STARTTLS", "EHLO", "MAIL", "AUTH")


@pytest.fixture(scope="module")
def dns():
    with DnsServer(ZONES) as d:
        yield d


@pytest.fixture(scope="module")
def ca():
    with Authority() as a:
        yield a


def hop(name):
    return "[%s.wrap.test]:465" % name


def system(mta, dns, ca, name, **more):
    settings = {"dns.servers": [dns.address], "send.tls_ca": ca.path,
                "send.relay_host": [hop(name)]}
    settings.update((k.replace("__", "."), v) for k, v in more.items())
    return mta("run", settings)


def submit(m, to="u@x.test"):
    with m.smtp() as s:
        s.sendmail("a@src.test", [to], b"Subject: x\r\n\r\nhi\r\n")


def test_a_login(mta, dns, ca):
    with AuthPeer("PLAIN", host=address("a"), port=465, tls_first=True,
                  tls=ca.context("a.wrap.test")) as peer:
        m = system(mta, dns, ca, "a", send__relay_user=USER,
                   send__relay_password=PASSWORD)
        submit(m)
        until("delivered", lambda: peer.messages)
        (session,) = peer.sessions
        assert session.tls.sni == "a.wrap.test"
        assert [x.split()[0] for x in session.lines[:3]] == [
            "EHLO", "AUTH", "MAIL"]  # no STARTTLS, and EHLO once
        event = until("logged", lambda: m.events("send.delivered"))[0]
        assert event["tls"].startswith("TLSv1.3/")
        assert event["verified"] == "yes"
        found = m.tool("check", check=False).stdout.decode()
        assert "a.wrap.test:465 takes our login as %s (PLAIN" % USER in found
        assert b"at once, by the port" in m.tool("route", "u@x.test").stdout


@pytest.mark.parametrize("level", ["none", "may", "encrypt"])
def test_each_level(mta, dns, ca, level):
    """There is no clear text at this port, also for mail that would take it;
    none of these levels looks at the certificate."""
    with Peer(address("b"), 465, tls_first=True,
              tls=ca.context("elsewhere.test")) as peer:
        m = system(mta, dns, ca, "b", send__tls=level)
        submit(m)
        until("delivered", lambda: peer.messages)
        assert peer.sessions[0].tls is not None


def test_a_certificate_that_does_not_fit(mta, dns, ca):
    with Peer(address("c"), 465, tls_first=True,
              tls=ca.context("elsewhere.test")) as peer:
        m = system(mta, dns, ca, "c", send__tls="verify")
        submit(m)
        until("refused", lambda: any(
            r["status"] == "4.7.5" for q in m.queued()
            for r in q["recipients"]))
        assert not any(x.startswith(("MAIL", "AUTH"))
                       for lines in peer.lines() for x in lines)


@pytest.mark.parametrize("what", ["clear", "drop"])
def test_a_host_without_it(mta, dns, ca, what):
    """The host counts as one that cannot be reached, and nothing is sent to it
    in clear."""
    with Peer(address("d"), 465,
              answers={"GREETING": None} if what == "drop" else None) as peer:
        m = system(mta, dns, ca, "d")
        submit(m)
        (r,) = until("a round", lambda: [
            r for q in m.queued() for r in q["recipients"] if r["rounds"] > 0])
        assert r["attempts"] == 0
        assert "while performing the TLS handshake" in r["reply"]
        assert m.events("send.unreachable")
        assert not any(word in line.upper() for lines in peer.lines()
                       for line in lines for word in IN_CLEAR)


def test_the_next_host_takes_over(mta, dns, ca):
    with Peer(address("e"), 465), Peer(address("e")) as other:
        m = system(mta, dns, ca, "e", send__relay_host=[
            hop("e"), "[%s]:%d" % (other.host, other.port)])
        submit(m)
        until("delivered", lambda: other.messages)
