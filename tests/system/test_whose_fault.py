"""Whose fault is it?  A test a row of that table (docs/send.md), with scripted
hosts: what a failure costs the message in hand, other mail, and the lane.

Cost is what the queue says: an attempt was offered, a round only waited."""

import signal
import socket
import time

import pytest

from harness import Clock, until
from scene import (CHUNKING, PLAIN, FailingServer, at, name_server, scenes,
                   silent, steps, verbs)
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


def test_connect_refused_by_all_is_a_round(scene):
    s = scene(domain="away.test")
    s.fill(MANY)
    none_was_offered(s, MANY)
    assert len(s.m.events("send.unreachable")) == 1


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

    def test_not_offered_and_others_too(self, scene, where, what, request):
        env = request.getfixturevalue("fast").env if what == "silence" \
            else None
        retry = "1d" if env else "1h"
        s = scene(self.answers(where, what), env=env,
                  send__retry_min=retry, send__retry_max=retry,
                  send__queue_lifetime="30d")
        s.fill(MANY)
        none_was_offered(s, MANY)
        if env is None:  # within the first minute
            assert len(s.host.sessions) <= 1 + (what == "drop")
        s.recover(MANY)

    def test_next_mx(self, scene, where, what, request):
        env = request.getfixturevalue("fast").env if what == "silence" \
            else None
        s = scene(self.answers(where, what), env=env, domain="two.test",
                  second={})
        s.fill(MANY)
        s.until_taken("by the second", MANY, s.hosts[1])
        assert not s.m.events("send.deferred")
        s.recover(MANY)


def test_greeting_with_our_own_name_is_us(scene):
    s = scene({"GREETING": "220 MX.here.test ESMTP"})
    s.fill([0])
    notice = until("bounce", lambda: s.m.mailbox("s0"))[0]
    assert b"\nStatus: 5.4.6\n" in notice
    assert not s.host.offered()
    assert not s.waiting()


def test_greeting_with_our_own_name_drops_equal_and_worse_mx(scene):
    s = scene({"GREETING": "220 mx.here.test"}, domain="two.test", second={})
    s.fill([0])
    notice = until("bounce", lambda: s.m.mailbox("s0"))[0]
    assert b"\nStatus: 5.4.6\n" in notice
    assert not s.hosts[1].sessions


def test_greeting_with_our_own_name_is_another_program_on_loopback(scene):
    """If a setting says that mail goes there."""
    s = scene({"GREETING": "220 mx.here.test"}, send__relay_host="[127.0.0.1]")
    s.fill(MANY)
    s.until_taken("all", MANY)


def test_mail_two_different_messages_refused_in_a_row_is_the_host(scene):
    s = scene(at("MAIL", "451 4.3.0 later"))
    s.fill(MANY)
    until("rounds", lambda: sorted(s.counts()) == list(MANY) and
          all(a + r >= 1 for a, r in s.counts().values()))
    assert sorted(a for a, _ in s.counts().values()) == [0] * 6 + [1] * 2
    assert len(set(s.host.offered())) == 2
    assert len(s.host.sessions) == 1
    s.recover(MANY)


@both_ways
@pytest.mark.parametrize("what", ["drop", "421", "nonsense"])
def test_three_different_messages_that_lose_sessions_are_the_host(
        scene, what, extensions):
    s = scene(at("RCPT", CAME[what]), extensions)
    s.fill(MANY)
    until("rounds", lambda: sorted(s.counts()) == list(MANY) and
          all(a + r >= 1 for a, r in s.counts().values()))
    assert sorted(a for a, _ in s.counts().values()) == [0] * 5 + [1] * 3
    assert len(s.host.sessions) == 3
    gaps = [b - a for a, b in zip(s.host.connected, s.host.connected[1:])]
    assert gaps[1] > 0.9  # the first at once, then paced
    s.recover(MANY)


def test_a_shut_lane_opens_after_1_2_and_4_minutes(scene, fast):
    """With one message on trial; the first success wakes all."""
    s = scene({"GREETING": "554 5.3.2 no"}, env=fast.env,
              send__retry_min="5m", send__retry_max="4h",
              send__queue_lifetime="5d")
    s.fill(MANY)
    until("three openings", lambda: len(s.host.connected) >= 4)
    s.host.recover()
    s.until_taken("all", MANY)
    gaps = [b - a for a, b in zip(s.host.connected, s.host.connected[1:])]
    for gap, minutes in zip(gaps, (1, 2, 4)):
        assert 0.8 * minutes < gap * 60 / SPEED < 1.3 * minutes + 2, gaps
    assert all(a == 0 for a, _ in s.counts().values())


# --- limits of sessions and transactions ------------------------------------

LIMIT = 5


def enough(answer):
    """After that many messages of a session."""
    def mail(session, _line):
        return answer if session.messages >= LIMIT else "250 2.1.0 ok"
    return at("MAIL", mail)


@both_ways
@pytest.mark.parametrize("answer", [
    "421 4.3.0 too many messages", "452 4.0.0 too many messages",
    "451 4.5.3 too many messages", None], ids=["421", "452", "451", "close"])
def test_mail_refused_after_n_messages_is_a_session_limit(
        scene, answer, extensions):
    numbers = range(60)
    s = scene(enough(answer), extensions)
    s.fill(numbers)
    s.until_taken("all", numbers)
    assert not s.m.events("send.deferred")
    assert len(s.host.sessions) <= 60 / LIMIT + 2
    learned = [verbs(x) for x in s.host.sessions[3:-1]]
    assert all(v.count("MAIL") == LIMIT and v[-1] == "QUIT" for v in learned)
    s.recover(numbers)


def test_session_messages_is_a_limit_of_our_own(scene):
    numbers = range(20)
    s = scene(send__session_messages=3)
    s.fill(numbers)
    s.until_taken("all", numbers)
    assert all(x.messages <= 3 for x in s.host.sessions)
    assert not s.m.events("send.deferred")
    s.recover(numbers)


@both_ways
@pytest.mark.parametrize("answer", [
    "452 4.5.3 too many recipients", "452 too many", "552 too many",
    "450 4.5.3 too many"])
def test_rcpt_refused_after_some_were_taken_is_a_limit(
        scene, answer, extensions):
    def rcpt(session, _line):
        return answer if len(session.rcpts) >= LIMIT else "250 2.1.5 ok"
    s = scene(at("RCPT", rcpt), extensions)
    s.fill([0], rcpts=23)
    until("all", lambda: sum(len(x.rcpts) for x in s.host.messages) == 23)
    before = len([x for v in s.host.lines() for x in v])
    s.submit([1], rcpts=23)
    until("all", lambda: sum(len(x.rcpts) for x in s.host.messages) == 46)
    lines = [x for v in s.host.lines() for x in v][before:]
    assert sum(x.startswith("RCPT") for x in lines) == 23  # learned
    assert all(len(x.rcpts) <= LIMIT for x in s.host.messages)
    assert not s.m.events("send.deferred")
    until("nothing is left", lambda: not s.waiting())


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


@steps("MAIL", "RCPT", "DATA", "dot")
def test_5xx_is_a_bounce_and_others_go_on(scene, where, extensions):
    answers = at(where, "550 5.7.1 never", first)
    s = scene(answers, extensions)
    s.fill(MANY)
    s.until_taken("others", OTHERS)
    notice = until("bounce", lambda: s.m.mailbox("s0"))[0]
    assert b"smtp; 550 5.7.1 never" in notice
    until("nothing is left", lambda: not s.waiting())
    assert len(s.host.sessions) == 1
    assert not s.m.events("send.deferred")
    assert s.losses("send.bounced") == [0]


@pytest.mark.parametrize("where", ["MAIL", "RCPT"])
@pytest.mark.parametrize("code", [530, 535])
def test_530_and_535_of_relay_host_are_our_settings(scene, where, code):
    s = scene(at(where, "%d 5.7.0 authentication required" % code),
              send__relay_host="[127.0.0.1]", send__queue_lifetime="2s",
              send__retry_min="1s", send__retry_max="1s")
    s.fill(MANY)
    until("reported", lambda: s.m.events("send.next_hop", status="4.3.5"))
    begin = time.monotonic()
    until("longer than the lifetime", lambda: time.monotonic() - begin > 4)
    assert not s.m.events("send.bounced")
    waits = s.waiting()
    assert sorted(waits) == list(MANY)
    assert {(r["attempts"], r["status"]) for rs in waits.values()
            for r in rs} == {(0, "4.3.5")}
    s.recover(MANY)


@steps("DATA", "dot")
def test_data_or_dot_4xx_is_an_attempt_and_others_go_on(
        scene, where, extensions):
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


@pytest.mark.parametrize("domain", ["two.test", "equal.test"])
def test_rcpt_4xx_tries_the_next_mx_once(scene, domain):
    """Whichever of equal hosts is first."""
    grey, turns = "450 4.7.1 greylisted", []

    def rcpt(session, line):
        turns.append(session.peer)
        return grey if session.peer is turns[0] else "250 2.1.5 ok"
    s = scene(at("RCPT", rcpt), domain=domain, second=at("RCPT", rcpt))
    s.fill([0])
    until("by the other", lambda: sum(len(h.messages) for h in s.hosts) == 1)
    assert len(turns) == 2
    until("nothing is left", lambda: not s.waiting())
    assert not s.m.events("send.deferred")


def test_rcpt_4xx_from_both_mx_is_one_attempt(scene):
    s = scene(at("RCPT", "450 4.2.0 one", first), domain="two.test",
              second=at("RCPT", "450 4.2.0 two", first))
    s.fill(MANY)
    one_paid(s)
    assert s.hosts[0].offered().count(0) == 1
    assert s.hosts[1].offered() == [0]
    reply = s.waiting()[0][0]["reply"]
    assert "two" in reply and "one" not in reply
    s.recover(MANY)


def test_rcpt_4xx_whose_next_mx_is_away_is_the_first_answer(scene):
    s = scene(at("RCPT", "450 4.2.0 one", first), domain="two.test")
    s.fill(MANY)
    one_paid(s)
    assert "one" in s.waiting()[0][0]["reply"]
    s.recover(MANY)


@steps("RCPT", "DATA", "dot")
def test_421_is_the_message_and_others_are_first_in_the_next_session(
        scene, where, extensions):
    s = scene(at(where, "421 4.3.0 go away", first), extensions)
    s.fill(MANY)
    one_paid(s, sessions=2)
    s.recover(MANY)


@pytest.mark.parametrize("position", [0, 4], ids=["first", "after others"])
@pytest.mark.parametrize("what", ["drop", "nonsense", "silence"])
@steps("MAIL", "RCPT", "DATA")
def test_lost_session_is_the_message_of_the_oldest_unanswered_command(
        scene, where, what, position, extensions, request):
    env = request.getfixturevalue("fast").env if what == "silence" else None
    s = scene(at(where, CAME[what], lambda n: n == position), extensions,
              env=env, send__retry_min="1d", send__retry_max="1d",
              send__queue_lifetime="30d")
    s.fill(MANY)
    one_paid(s, position, [n for n in MANY if n != position])
    assert len(s.host.sessions) <= 3
    s.recover(MANY)


@both_ways
@pytest.mark.parametrize("position", [0, 4], ids=["first", "after others"])
@pytest.mark.parametrize("what", ["drop", "silence"])
def test_dot_without_an_answer_may_be_sent_more_than_once(
        scene, what, position, extensions, request):
    env = request.getfixturevalue("fast").env if what == "silence" else None
    s = scene(at("dot", CAME[what], lambda n: n == position), extensions,
              env=env, send__retry_min="1d", send__retry_max="1d",
              send__queue_lifetime="30d")
    s.fill(MANY)
    one_paid(s, position, [n for n in MANY if n != position])
    assert "may be sent more than once" in s.waiting()[position][0]["reply"]
    # a hang-up at a first BDAT is the host's: it goes again with DATA
    assert len(s.host.sessions) <= 3
    s.recover(MANY)


@pytest.mark.parametrize("what", ["drop", "nonsense"])
@steps("RCPT", "DATA")
def test_a_suspect_goes_last_and_alone(scene, where, what, extensions):
    s = scene(at(where, CAME[what], first), extensions)
    s.fill(MANY)
    one_paid(s, sessions=2)
    hold = []

    def dot(session, _line):
        until("all are due", lambda: hold)
        return "250 2.0.0 taken"
    with s.host.lock:
        s.host.answers.update(at("dot", dot, lambda n: n == 20))
        seen = len(s.host.seen)
    s.submit(range(20, 60))
    s.m.kill(signal.SIGUSR1)
    s.m.queued()
    hold.append(True)
    s.until_taken("the neighbours", range(20, 60))
    until("the suspect", lambda: ("offered", 0) in s.host.seen[seen:])
    suspect = s.host.seen[seen:].index(("offered", 0))
    assert suspect >= max(i for i, (what, _) in enumerate(s.host.seen[seen:])
                          if what == "taken")
    s.until_counts("again", {0: (2, 0)})
    s.recover([*MANY, *range(20, 60)])


# --- the host's pace --------------------------------------------------------

RATES = ["450 4.7.28 slow down", "550 4.7.28 too many",
         "421 4.7.0 try again later", "451 4.7.500 server busy",
         "451 4.7.699 not so many", "450 4.3.2 not so fast"]


@pytest.mark.parametrize("answer", RATES)
@pytest.mark.parametrize("where", ["MAIL", "RCPT", "DATA", "dot"])
def test_rate_codes_are_an_attempt_and_the_lane_pauses(
        scene, where, answer, fast):
    """For a minute; other mail stays in line, and that costs it nothing."""
    s = scene(at(where, answer, first), env=fast.env, send__retry_min="1d",
              send__retry_max="1d", send__queue_lifetime="30d")
    s.fill(MANY)
    one_paid(s)
    refused = s.host.when[s.host.seen.index(("offered", 0))]
    assert s.host.when[-1] - refused > 0.8 * 60 / SPEED
    s.recover(MANY)


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
    until("reported", lambda: s.m.events("queue.unreadable",
                                         error="message damaged on disk"))
    until("4.3.5", lambda: [r["status"] for r in
                            s.waiting().get(4, [])] == ["4.3.5"])
    assert sorted(s.host.taken()) == [n for n in MANY if n != 4]
    assert not s.m.events("send.bounced") and s.host.most == 1
