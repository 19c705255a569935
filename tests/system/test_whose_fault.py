"""Whose fault is it?  A test a row of that table (docs/send.md), with scripted
hosts: what a failure costs the message in hand, other mail, and the lane.

Cost is what the queue says: an attempt was offered, a round only waited."""

import signal
import socket
import time

import pytest

from harness import Clock, until
from scene import (CHUNKING, PLAIN, FailingServer, at, name_server, scenes,
                   silent, verbs)
from test_send_delivery import rot

NONSENSE = "\x1b[2J what?"
CAME = {"4xx": "450 4.3.0 not now", "5xx": "554 5.3.2 no",
        "421": "421 4.3.0 shutting down", "drop": None,
        "nonsense": NONSENSE, "silence": silent}
MANY = range(8)
OTHERS = range(1, 8)
SPEED = 60  # a minute is a second


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


both_ways = pytest.mark.parametrize("extensions", [PLAIN, CHUNKING],
                                    ids=["DATA", "BDAT"])


def first(n):
    return n == 0


def none_was_offered(s, numbers):
    """All wait, each did a round, and the log has one line for them all."""
    until("rounds", lambda: sorted(s.counts()) == list(numbers) and
          all(a == 0 and r >= 1 for a, r in s.counts().values()))
    until("the line", lambda: s.m.events("send.deferred"))
    assert len(s.m.events("send.deferred")) == 1
    assert not s.m.events("send.bounced")


def one_paid(s, n=0, others=OTHERS, sessions=None):
    """That message was offered once in vain; all others went at once."""
    s.until_taken("others", others)
    s.until_counts("one attempt", {n: (1, 0)})
    until("logged", lambda: s.m.events("send.deferred"))
    assert s.losses("send.deferred") == [n]
    assert not s.m.events("send.bounced")
    if sessions is not None:
        assert len(s.host.sessions) == sessions


# --- the host ---------------------------------------------------------------

@pytest.mark.parametrize("domain", ["addresses.test", "far.test"],
                         ids=["next address", "next MX"])
def test_connect_refused_is_the_address_and_the_next_one_is_tried(
        scene, domain):
    s = scene(domain=domain, second={})
    s.fill(MANY)
    s.until_taken("by the other", MANY, s.hosts[1])
    assert not s.m.events("send.deferred")
    s.recover(MANY)


def test_connect_timeout_is_the_address(scene, fast):
    """A listener whose queue is full: SYN goes unanswered."""
    s = scene(domain="far.test", second={}, env=fast.env)
    with socket.socket() as full, socket.socket() as a, socket.socket() as b:
        full.bind(("127.0.0.9", s.host.port))
        full.listen(0)
        for c in (a, b):
            c.setblocking(False)
            c.connect_ex(("127.0.0.9", s.host.port))
        s.fill(MANY)
        s.until_taken("by the other", MANY, s.hosts[1])
        assert not s.m.events("send.deferred")


@pytest.mark.parametrize("what", CAME)
@pytest.mark.parametrize("where", ["GREETING", "EHLO"])
class TestGreetingOrEhlo:
    """4xx, 5xx, 421, drop, silence, nonsense there are the host's."""

    @staticmethod
    def answers(where, what):
        refused = {where: CAME[what]}
        if where == "EHLO":
            refused["HELO"] = CAME[what]
        return refused

    def test_next_mx(self, scene, where, what, request):
        env = request.getfixturevalue("fast").env if what == "silence" \
            else None
        s = scene(self.answers(where, what), env=env, domain="two.test",
                  second={})
        s.fill(MANY)
        s.until_taken("by the second", MANY, s.hosts[1])
        assert not s.m.events("send.deferred")
        s.recover(MANY)


# --- limits of sessions and transactions ------------------------------------

LIMIT = 5


def enough(answer):
    """After that many messages of a session."""
    def mail(session, _line):
        return answer if session.messages >= LIMIT else "250 2.1.0 ok"
    return at("MAIL", mail)


def test_session_messages_is_a_limit_of_our_own(scene):
    numbers = range(20)
    s = scene(send__session_messages=3)
    s.fill(numbers)
    s.until_taken("all", numbers)
    assert all(x.messages <= 3 for x in s.host.sessions)
    assert not s.m.events("send.deferred")
    s.recover(numbers)


# --- the message, the recipient ---------------------------------------------

@both_ways
def test_mail_4xx_first_of_the_session_is_the_message(scene, extensions):
    s = scene(at("MAIL", "451 4.3.0 later", first), extensions)
    s.fill(MANY)
    one_paid(s, sessions=1)
    s.recover(MANY)


@both_ways
def test_mail_4xx_after_others_is_the_message_if_it_is_refused_first_too(
        scene, extensions):
    s = scene(at("MAIL", "451 4.3.0 later", lambda n: n == 4), extensions)
    s.fill(MANY)
    one_paid(s, 4, [n for n in MANY if n != 4])
    assert len(s.host.sessions) <= 3
    s.submit(range(20, 40))  # no limit was learned
    s.until_taken("more", range(20, 40))
    assert len(s.host.sessions) <= 4
    s.recover([*MANY, *range(20, 40)])


@both_ways
@pytest.mark.parametrize("where", ["MAIL", "RCPT", "DATA", "dot"])
def test_5xx_is_a_bounce_and_others_go_on(scene, where, extensions):
    answers = at(where, "550 5.7.1 never", first)
    if where == "DATA" and extensions is CHUNKING:
        pytest.skip("no DATA")
    s = scene(answers, extensions)
    s.fill(MANY)
    s.until_taken("others", OTHERS)
    notice = until("bounce", lambda: s.m.mailbox("s0"))[0]
    assert b"smtp; 550 5.7.1 never" in notice
    until("nothing is left", lambda: not s.waiting())
    assert len(s.host.sessions) == 1
    assert not s.m.events("send.deferred")
    assert s.losses("send.bounced") == [0]


@both_ways
@pytest.mark.parametrize("where", ["DATA", "dot"])
def test_data_or_dot_4xx_is_an_attempt_and_others_go_on(
        scene, where, extensions):
    if where == "DATA" and extensions is CHUNKING:
        pytest.skip("no DATA")
    s = scene(at(where, "451 4.3.0 later", first), extensions)
    s.fill(MANY)
    one_paid(s, sessions=1)
    s.recover(MANY)


@both_ways
def test_rcpt_4xx_is_the_recipient_and_others_go_on(scene, extensions):
    s = scene(at("RCPT", "450 4.2.0 later", first), extensions)
    s.fill(MANY)
    one_paid(s, sessions=1)
    s.recover(MANY)


def test_rcpt_4xx_whose_next_mx_is_away_is_the_first_answer(scene):
    s = scene(at("RCPT", "450 4.2.0 one", first), domain="two.test")
    s.fill(MANY)
    one_paid(s)
    assert "one" in s.waiting()[0][0]["reply"]
    s.recover(MANY)


# --- the host's pace --------------------------------------------------------

RATES = ["450 4.7.28 slow down", "550 4.7.28 too many",
         "421 4.7.0 try again later", "451 4.7.500 server busy",
         "451 4.7.699 not so many", "450 4.3.2 not so fast"]


def test_greylisting_is_no_rate_code(scene):
    s = scene(at("RCPT", "451 4.7.1 greylisted", first))
    s.fill(MANY)
    one_paid(s, sessions=1)


# --- name servers, settings, our own queue ----------------------------------

@pytest.mark.parametrize("what", ["SERVFAIL", "REFUSED", "silence", "bogus"])
def test_dns_that_fails_is_a_round(scene, what):
    with FailingServer(what) as server:
        s = scene(dns__servers=[server.address], dns__timeout="1s")
        s.fill(MANY)
        until("rounds", lambda: sorted(s.counts()) == list(MANY) and
              all(a == 0 and r >= 1 for a, r in s.counts().values()))
        assert {r["status"] for rs in s.waiting().values()
                for r in rs} == {"4.4.3"}
        assert not s.host.sessions and not s.m.events("send.bounced")


@pytest.mark.parametrize("zone", ["", "@ MX 0 ."],
                         ids=["NXDOMAIN", "null MX"])
@pytest.mark.parametrize("setting", ["relay_host", "routes"])
def test_dns_nxdomain_of_a_next_hop_is_our_settings(
        scene, dns, setting, zone):
    hop = "no.hub.test" if zone == "" else "null.test"
    s = scene(**{"send__" + setting: hop if setting == "relay_host"
                 else [".test=" + hop]}, send__queue_lifetime="2s",
              send__retry_min="1s", send__retry_max="1s")
    s.fill(MANY)
    until("reported", lambda: s.m.events("send.next_hop", status="4.3.5"))
    past = time.monotonic() + 4
    until("longer than the lifetime", lambda: time.monotonic() > past)
    assert not s.m.events("send.bounced")
    assert len(s.m.events("send.next_hop")) == 1  # a minute
    s.until_counts("neither counted nor returned",
                   {n: (0, 0) for n in MANY})


@both_ways
def test_damage_in_our_queue_is_ours_and_others_go_on(scene, extensions):
    """Cut before the last octet: the host never has it whole."""
    s = scene(extensions=extensions)
    s.submit(MANY)
    s.m.stop()
    rot(s.m.queue, b"Subject: n4")
    s.m.command = "run"
    s.m.start()
    s.until_taken("others", [n for n in MANY if n != 4])
    until("reported", lambda: s.m.events("send.unreadable",
                                         error="message damaged on disk"))
    until("4.3.5", lambda: [r["status"] for r in
                            s.waiting().get(4, [])] == ["4.3.5"])
    assert sorted(s.host.taken()) == [n for n in MANY if n != 4]
    assert not s.m.events("send.bounced") and s.host.most == 1
