"""A wall clock that jumps by days while mail waits (docs/reliability.md,
"Clocks"): sessions, retries and lifetimes go by the time that passes."""

import re
import time

import pytest

from harness import Clock, Mta, until
from peer import Peer


@pytest.fixture
def clock():
    with Clock() as c:
        yield c


@pytest.fixture
def peer():
    with Peer() as p:
        yield p


def start(clock, peer, **more):
    settings = {"send.relay_host": "[127.0.0.1]:%d" % peer.port,
                "serve.workers": 1}
    settings.update({k.replace("__", "."): v for k, v in more.items()})
    return Mta("run", settings, env=clock.env)


def submit(m, *rcpts):
    """The id that the server gave it."""
    with m.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<joe@here.test>")
        for r in rcpts:
            assert c.say("RCPT TO:<%s>" % r)[0] == 250
        c.say("DATA")
        code, words = c.say("Subject: x\r\n\r\nx\r\n.")
        assert code == 250
    return words[0].split()[-1]


def tries(m):
    return len(m.events("send.deferred"))


def check_pace(m, waiting):
    """Two more tries of each come, neither late nor in a rush: the waits are
    between 0.75 and 2.5 s."""
    before, begin = tries(m), time.monotonic()
    until("more tries", lambda: tries(m) >= before + 2 * waiting)
    took = time.monotonic() - begin
    assert tries(m) - before <= waiting * (took / 0.75 + 2)


def test_jumps_with_mail_in_the_queue(clock, peer):
    peer.answers["RCPT"] = lambda s, line: "451 4.2.1 later"
    ids = []
    with start(clock, peer, send__queue_lifetime="1h",
               serve__session_timeout="1h") as m:
        waits = m.raw()
        for i in range(3):
            ids.append(submit(m, "u%d@far.test" % i))
        until("tried", lambda: tries(m) >= 3)
        for days in (10, -10):
            clock.set(days)
            ids.append(submit(m, "here%d@here.test" % days))
            assert waits.say("RSET")[0] == 250
            check_pace(m, 3)
            begun = len(m.events("send.start"))
            m.renew()  # another sender reads the queue
            until("restart", lambda: len(m.events("send.start")) > begun)
            check_pace(m, 3)
        waits.close()
        assert m.copies("joe", 0) == [] and not m.events("send.bounced")
        peer.answers.clear()
        until("delivered", lambda: len(peer.messages) == 3)
        until("empty", lambda: m.queued() == [])
        assert len(peer.messages) == 3
        days = {e["time"][:10] for e in m.events("serve.accepted")}
        assert len(days) > 2, "the clock of the server did not jump"
    assert len(set(ids)) == len(ids)
    # There are new workers then, whose ids begin with the wall clock: only
    # those of one worker are in order.
    for base in {i[:12] for i in ids}:
        mine = [i for i in ids if i.startswith(base)]
        assert mine == sorted(mine)


def test_lifetime_goes_by_time_that_passes(clock, peer):
    peer.answers["RCPT"] = lambda s, line: "451 4.2.1 later"
    with start(clock, peer, send__queue_lifetime="5s") as m:
        begin = time.monotonic()
        submit(m, "u@far.test")
        until("tried", lambda: tries(m) >= 1)
        clock.set(-100)
        [bounce] = until("given up", lambda: m.mailbox("joe"))
        assert 4 < time.monotonic() - begin
        assert b"Status: 5.4.7" in bounce, bounce


@pytest.mark.parametrize("days", [1, -1])
def test_deadlines_of_sessions(clock, peer, days):
    with start(clock, peer, serve__command_timeout="2s",
               serve__data_timeout="2s") as m:
        with m.raw() as idle, m.raw() as in_data:
            for c in (idle, in_data):
                c.send("EHLO client.test\r\nMAIL FROM:<a@client.test>\r\n"
                       "RCPT TO:<u@here.test>\r\n")
                assert [c.reply()[0] for _ in range(3)] == [250] * 3
            assert in_data.say("DATA")[0] == 354
            begin = time.monotonic()
            clock.set(days)
            for c in (idle, in_data):
                code, words = c.reply()
                assert (code, words[0][:5]) == (421, "4.4.2")
            assert 1 < time.monotonic() - begin < 15
        submit(m, "u@here.test")
        [copy] = m.copies("u")
        assert re.search(rb"Received: ", copy)
