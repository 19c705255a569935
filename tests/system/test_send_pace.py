"""Receivers with manners of their own: greylisting, Exim's ten messages."""

import pytest

from harness import Clock, until
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
    assert 5 <= minutes[0] < 8 and 10 <= minutes[1] < 14
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


# --- Exim -----------------------------------------------------------------------

@BOTH
@pytest.mark.parametrize("banner,sizes", [
    ("220 mx.test ESMTP Exim 4.96 Mon, 30 Nov 2026 00:00:00 +0000",
     [10, 10, 5]),
    ("220 exim.test ESMTP Postfix", [25])])
def test_exim_gets_ten_messages_a_session(scene, extensions, banner, sizes):
    """It would only queue those that follow."""
    s = scene({"GREETING": banner}, extensions)
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
