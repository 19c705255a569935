"""Receivers with manners of their own: greylisting, Exim's ten messages, and
the pace of large ones (provider.py), as docs/deliverability.md has it."""

import os
import signal
import ssl
import threading

import pytest

import certs
from dkimjudge import Keys
from dnsserver import DnsServer
from harness import Clock, until
from peer import Peer
from provider import Gmail, Outlook, StrictGmail, Yahoo
from scene import CHUNKING, PLAIN, at, name_server, scenes, verbs

SPEED = 60  # a minute is a second
BOTH = pytest.mark.parametrize("extensions", [PLAIN, CHUNKING],
                               ids=["DATA", "BDAT"])


@pytest.fixture(scope="module")
def dns():
    with name_server() as d:
        yield d


@pytest.fixture
def scene(mta, dns):
    yield from scenes(mta, dns)


@pytest.fixture
def fast():
    with Clock(SPEED) as c:
        yield c


# --- greylisting --------------------------------------------------------------

def greylisting(times, text="450 4.7.1 Greylisted, see http://postgrey.test"):
    """The first so many RCPT of each message are refused."""
    seen = {}

    def rcpt(_session, line):
        seen[line] = seen.get(line, 0) + 1
        return text if seen[line] <= times else "250 2.1.5 ok"
    return {"RCPT": rcpt}


def test_greylisted_mail_comes_again_after_5_and_10_minutes(scene, fast):
    """Whatever retry_min is, and other mail is not slower for it."""
    s = scene(env=fast.env, send__retry_min="6h", send__retry_max="1d",
              send__queue_lifetime="30d")
    s.host.answers.update(at("RCPT", greylisting(2)["RCPT"], lambda n: n == 0))
    s.fill(range(4))
    s.until_taken("others", [1, 2, 3])
    s.until_taken("in the end", [0])
    offers = [t for (what, n), t in zip(s.host.seen, s.host.when)
              if (what, n) == ("offered", 0)]
    minutes = [(b - a) * SPEED / 60 for a, b in zip(offers, offers[1:])]
    assert len(minutes) == 2
    # A minute is a second, and the machine may take its time, but no hour.
    assert 5 <= minutes[0] < 30 and 10 <= minutes[1] < 40
    assert s.host.seen.index(("taken", 3)) < s.host.seen.index(("taken", 0))
    until("settled", lambda: not s.waiting())
    assert len(s.m.events("send.deferred")) == 2
    assert not s.m.events("send.unreachable")


def test_a_time_that_the_reply_names(scene):
    s = scene(greylisting(1, "451 4.7.1 Greylisting in action, please come "
                             "back in 00:00:02"), send__retry_min="6h",
              send__retry_max="1d")
    s.fill([0])
    s.until_taken("after two seconds", [0])
    offers = [t for (what, n), t in zip(s.host.seen, s.host.when)
              if what == "offered"]
    assert offers[1] - offers[0] >= 2


def server_context(directory, name):
    """Of a host with TLS, whatever its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certs.make(str(directory), name))
    return context


# --- Exim -----------------------------------------------------------------------

@BOTH
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("banner,sizes", [
    ("220 mx.test ESMTP Exim 4.96 Mon, 30 Nov 2026 00:00:00 +0000",
     [10, 10, 5]),
    ("220 exim.test ESMTP Postfix", [25])])
def test_exim_gets_ten_messages_a_session(scene, tmp_path, extensions, banner,
                                          sizes, tls):
    """It would only queue those that follow."""
    s = scene({"GREETING": banner}, extensions,
              tls=server_context(tmp_path, "a.x.test") if tls else None)
    s.fill(range(25))
    s.until_taken("all", range(25))
    s.m.stop()
    assert [verbs(x).count("MAIL") for x in s.host.sessions] == sizes
    assert s.host.most == 1
    assert not s.m.events("send.deferred")
    assert not s.m.events("send.unreachable")


def test_exim_keeps_its_session_while_no_mail_waits(scene):
    s = scene({"GREETING": "220 mx.test ESMTP Exim 4.96"},
              send__session_linger="1m")
    s.fill(range(10))
    s.until_taken("ten", range(10))
    assert len(s.host.sessions) == 1 and len(s.host.open) == 1
    s.submit([10])
    s.until_taken("the eleventh", [10])
    assert len(s.host.sessions) == 2


# --- providers ------------------------------------------------------------------

ADDRESSES = ["127.0.0.%d" % n for n in range(11, 17)]
HOSTED = ["d%d.test" % n for n in range(len(ADDRESSES))]


@pytest.fixture(scope="module")
def world():
    """Domains of each provider, as their zones have them; one of none."""
    zones = {"small.test": "@ A 127.0.0.31",
             "gmail.test": "@ MX 5 gmail-smtp-in.l.google.com.\n"
                           "@ MX 10 alt1.gmail-smtp-in.l.google.com.",
             "l.google.com": "gmail-smtp-in A 127.0.0.11\n"
                             "alt1.gmail-smtp-in A 127.0.0.12",
             "yahoo.test": "@ MX 1 mta5.am0.yahoodns.net.\n"
                           "@ MX 1 mta6.am0.yahoodns.net.",
             "yahoodns.net": "mta5.am0 A 127.0.0.11\nmta6.am0 A 127.0.0.12",
             "protection.outlook.com": "\n".join(
                 "%s.mail A %s" % (d.replace(".", "-"), a)
                 for d, a in zip(HOSTED, ADDRESSES))}
    for d in HOSTED:
        zones[d] = "@ MX 0 %s.mail.protection.outlook.com." % \
            d.replace(".", "-")
    with DnsServer(zones) as d:
        yield d


@pytest.fixture
def make(mta, world):
    """make(site, env=None, **settings): a system whose mail goes there."""
    def system(site, env=None, **settings):
        more = {"dns.servers": [world.address], "send.port": site.port,
                "local.domains": ["here.test", "src.test"],
                "send.retry_min": "5m", "send.retry_max": "4h",
                "send.warn_after": "0", "dns.timeout": "60s",
                "send.session_linger": "5s"}
        more.update({k.replace("__", "."): v for k, v in settings.items()})
        return mta("serve", more, env=env)
    return system


def submit(m, to, n=1, sender="s@src.test", head=b""):
    with m.smtp() as s:
        for i in range(n):
            s.sendmail(sender, [to], head + b"Subject: n%d\r\n\r\nhi\r\n" % i)


def run(m):
    m.stop()
    m.command = "run"
    m.start()


def test_microsoft_has_one_connection_for_all_its_domains(make, fast):
    """Six domains, each with an address of its own: at first a connection to
    each, then as many as it takes, in turns.  No mail is lost, none bounces,
    and S3150 does not follow."""
    with Outlook(ADDRESSES, limit=1) as site:
        m = make(site, fast.env)
        for d in HOSTED:
            submit(m, "u@" + d, 20)
        run(m)
        until("all", lambda: len(site.messages()) == 120)
        assert site.most == 1 and not site.listed
        assert len(site.refused) <= 6
        said = m.events("send.pace")
        assert said[0]["group"] == "microsoft"
        assert said[0]["state"] in ("fewer sessions", "paused")
        assert not m.events("send.bounced")


def test_refused_connections_are_a_limit_while_others_are_open(make):
    """A group of the settings, of hosts by their names; one of them takes no
    connection while the other has one."""
    go_on = threading.Event()

    def wait(_session, _line):
        go_on.wait(30)
        return "250 2.0.0 taken"
    with Peer("127.0.0.31", answers={"DOT": wait}) as small:
        m = make(small, send__providers=[
            "own=small.test", "own=d0-test.mail.protection.outlook.com"])
        submit(m, "u@small.test")
        run(m)
        until("in hand", lambda: small.sessions and "DATA" in verbs(
            small.sessions[0]))
        submit(m, "u@d0.test")
        until("refused", lambda: m.events("send.unreachable"))
        said = until("a sign", lambda: m.events("send.pace"))
        assert [(e["group"], e["state"], e["sessions"]) for e in said] == \
            [("own", "fewer sessions", "1")]
        go_on.set()
        until("taken", lambda: small.messages)


@pytest.mark.slow
def test_microsoft_stops_all_its_domains(make, fast):
    """S3150 for one domain is for all of them, and for none else.  The mail
    waits for an hour, and two if it is still so, with the reply for the
    operator; SIGUSR1 ends it."""
    with Outlook(ADDRESSES, limit=10) as site, \
            Peer("127.0.0.31", site.port) as small:
        site.listed = True
        m = make(site, fast.env)
        submit(m, "u@d0.test")
        run(m)
        until("stopped", lambda: m.events("send.pace"))
        for d in HOSTED:
            submit(m, "v@" + d)
        submit(m, "u@small.test", 10)
        until("the others", lambda: len(small.messages) == 10)
        said = m.events("send.pace")[0]
        assert (said["group"], said["state"]) == ("microsoft", "stopped")
        assert int(said["pause"]) == 3600 and "S3150" in said["reply"]
        assert len(site.refused) == 1 and not m.events("send.bounced")

        def reported():
            rows = [r for q in m.queued() for r in q["recipients"]]
            return len(rows) == 7 and all(
                r.get("shut_until") and "S3150" in r["host_state"] for r in rows)
        until("in the queue", reported)
        first = site.refused[0][0]
        until("the second try", lambda: len(site.refused) == 2, 90)
        assert 3600 <= (site.refused[1][0] - first) * SPEED < 6000
        until("again", lambda: len(m.events("send.pace")) == 2)
        assert int(m.events("send.pace")[1]["pause"]) == 7200
        site.listed = False
        m.kill(signal.SIGUSR1)
        until("all", lambda: len(site.messages()) == 7)


def test_what_was_learned_outlives_a_restart(make):
    with Outlook(ADDRESSES, limit=10) as site:
        site.listed = True
        m = make(site)
        submit(m, "u@d0.test")
        run(m)
        until("stopped", lambda: m.events("send.pace"))
        submit(m, "u@d1.test")
        m.stop()
        path = os.path.join(m.settings["queue_dir"], "run", "pace")
        with open(path, encoding="ascii") as f:
            text = f.read()
        assert text.split("\n")[1].startswith("microsoft 1 ")
        site.listed = False
        m.start()
        submit(m, "v@d1.test")
        until("parked", lambda: sum(
            bool(r.get("shut_until")) for q in m.queued()
            for r in q["recipients"]) == 2)
        assert len(site.refused) == 1 and not site.messages()
        m.stop()
        with open(path, "w", encoding="ascii") as f:
            f.write(text.replace("microsoft 1 ", "microsoft 2 "))
        m.start()  # as one that knows nothing

        def told():  # for what waits for its own next attempt
            m.kill(signal.SIGUSR1)
            return len(site.messages()) == 3
        until("all", told)
        assert "damaged" in m.events("send.pace_file")[0]["error"]


def test_gmail_asks_for_less(make, fast):
    """At most so many messages a minute (here: a second): after the first
    421 4.7.28 half of them, and all of the mail leaves with few more."""
    with Gmail(["127.0.0.11", "127.0.0.12"], messages=60, seconds=1) as site, \
            Peer("127.0.0.31", site.port) as small:
        m = make(site, fast.env)
        submit(m, "u@gmail.test", 200)
        run(m)
        until("slower", lambda: m.events("send.pace"))
        submit(m, "u@small.test", 50)
        until("the others", lambda: len(small.messages) == 50)
        said = m.events("send.pace")[0]
        assert (said["group"], said["state"]) == ("google", "slower")
        assert int(said["pause"]) == 60 and 0 < int(said["rate"]) <= 100
        advice = m.events("send.advice")
        assert [(a["group"], a["status"]) for a in advice] == \
            [("google", "4.7.28")]
        paced = until("paced", lambda: [
            r for q in m.queued() for r in q["recipients"]
            if r.get("paced_until") and "pace of google" in r["host_state"]])
        assert "421 4.7.28 Gmail" in paced[0]["host_state"]
        # A host that ends a session with commands unread resets it, and what
        # it replied before may be lost: such mail comes a second time.
        until("all", lambda: len({x.data for x in site.messages()}) == 200)
        assert len(site.refused) <= 5
        assert not m.events("send.bounced")


def test_gmail_unauthenticated_mail_is_its_own_fault(make):
    """550 5.7.26 returns that message, and slows no other."""
    with Gmail(["127.0.0.11", "127.0.0.12"]) as site:
        m = make(site)
        submit(m, "u@gmail.test", 5)
        submit(m, "u@gmail.test", 1, sender="unsigned@src.test")
        submit(m, "u@gmail.test", 5)
        run(m)
        until("the others", lambda: len(site.messages()) == 10)
        until("returned", lambda: m.events("send.bounced"))
        notice = until("the notice", lambda: m.mailbox("unsigned"))[0]
        assert b"5.7.26" in notice and b"SPF [src.test]" in notice
        assert not m.events("send.pace")


def test_gmail_looks_at_address_and_signature(make, tmp_path):
    """An address whose name leads elsewhere, then mail that is not signed: it
    waits, each time the log says what to do, and other mail is not slowed
    down.  When that is done, the same mail goes, signed."""
    keys = Keys(tmp_path)
    back = {"127.in-addr.arpa": "1.0.0 PTR mx.src.test.",
            "src.test": "mx A 127.0.0.1"}
    with DnsServer(dict(back, **{"src.test": "mx A 127.0.0.99"})) as bad, \
            DnsServer(back) as good, \
            StrictGmail(["127.0.0.11", "127.0.0.12"], bad.address,
                        keys) as site, Peer("127.0.0.31", site.port) as small:
        m = make(site)
        submit(m, "u@gmail.test", 3, head=b"From: s@src.test\r\n")
        run(m)
        submit(m, "u@small.test", 5)
        until("the others", lambda: len(small.messages) == 5)

        def advised(status):
            m.kill(signal.SIGUSR1)
            return m.events("send.advice", status=status)
        until("a word about the address", lambda: advised("4.7.25"))
        site.names = good.address
        until("a word about the signature", lambda: advised("4.7.26"))
        assert not site.messages() and len(m.queued()) == 3
        keys.add("src.test", "s1")
        m.settings["dkim.keys"] = keys.settings
        m.write_conf()
        m.kill(signal.SIGHUP)

        def told():
            m.kill(signal.SIGUSR1)
            return len(site.messages()) == 3
        until("all", told)
        first, second = (m.events("send.advice", status=s)[0]["advice"]
                         for s in ("4.7.25", "4.7.26"))
        assert "PTR record" in first and "dkim.keys" in second
        assert not m.events("send.pace") and not m.events("send.bounced")


def test_gmail_takes_mail_over_tls(make, tmp_path):
    """With the defaults."""
    with Gmail(["127.0.0.11", "127.0.0.12"], in_clear=Gmail.NO_TLS[0],
               tls=server_context(tmp_path, "mx.google.test")) as site:
        m = make(site)
        submit(m, "u@gmail.test", 5)
        run(m)
        until("all", lambda: len(site.messages()) == 5)
        assert not site.refused
        assert {s.tls.version for p in site.peers for s in p.sessions} <= {
            "TLSv1.2", "TLSv1.3"}


@pytest.mark.parametrize("said", Gmail.NO_TLS, ids=["530", "421"])
def test_gmail_takes_nothing_in_clear(make, said):
    """That is no sign of its pace: 530 returns the mail, with 421 it waits,
    and the log says what to do."""
    with Gmail(["127.0.0.11", "127.0.0.12"], in_clear=said) as site:
        m = make(site, send__tls="none")
        submit(m, "u@gmail.test", 3)
        run(m)
        if said.startswith("530"):
            notice = until("returned", lambda: m.mailbox("s"))[0]
            assert b"Must issue a STARTTLS command first" in notice
        else:
            until("put off", lambda: len(m.events("send.deferred")) >= 1)
            advice = until("advice", lambda: m.events("send.advice"))
            assert [(a["group"], a["status"]) for a in advice] == \
                [("google", "4.7.0")]
            assert not m.events("send.bounced")
        assert not m.events("send.pace") and not site.messages()


def test_yahoo_puts_off_at_the_greeting(make, fast):
    """[TSS04] for ten minutes: after 1, 2, 4, 8 minutes another try, whichever
    host it is, and then all of it."""
    with Yahoo(["127.0.0.11", "127.0.0.12"], seconds=10) as site:
        m = make(site, fast.env)
        submit(m, "u@yahoo.test", 30)
        run(m)
        until("all", lambda: len(site.messages()) == 30)
        pauses = [int(e["pause"]) for e in m.events("send.pace")
                  if e["state"] == "slower"]
        assert pauses == [60, 120, 240, 480][:len(pauses)]
        assert 3 <= len(pauses) <= 4 and len(site.refused) <= 2 * len(pauses)
        times = [t for t, _ in site.refused]
        assert all(b - a > 0.9 or b - a < 0.5 for a, b in zip(times, times[1:]))
        assert not m.events("send.bounced")
