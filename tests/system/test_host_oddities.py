"""Hosts that are odd but not hostile: extensions that they offer and do not
have, replies that no RFC forbids, answers out of step.  Mail goes through, no
message goes twice, none is lost."""

import pytest

from harness import until
from scene import CHUNKING, PLAIN, at, name_server, scenes, verbs

MANY = range(12)


@pytest.fixture(scope="module")
def dns():
    with name_server() as d:
        yield d


@pytest.fixture
def scene(mta, dns):
    yield from scenes(mta, dns)


both_ways = pytest.mark.parametrize("extensions", [PLAIN, CHUNKING],
                                    ids=["DATA", "BDAT"])


def all_at_once(s, numbers=MANY):
    s.until_taken("all", numbers)
    until("the queue is empty", lambda: not s.waiting())
    assert sorted(s.host.taken()) == sorted(numbers)
    assert not s.m.events("send.deferred")
    assert not s.m.events("send.bounced")
    assert s.host.most == 1


# --- CHUNKING that does not work --------------------------------------------

NO_BDAT = ["500 5.5.1 what?", "502 5.5.1 not implemented",
           "503 5.5.1 bad sequence", "504 5.5.4 no", None]
NO_BDAT_IDS = ["500", "502", "503", "504", "hang-up"]


def test_bdat_refused_though_it_worked_before_is_the_messages(scene):
    s = scene(at("BDAT", "500 5.5.1 what?", lambda n: n == 6), CHUNKING)
    s.fill(MANY)
    s.until_taken("others", [n for n in MANY if n != 6])
    until("bounce", lambda: s.m.mailbox("s6"))
    until("the queue is empty", lambda: not s.waiting())
    assert sorted(s.host.taken()) == [n for n in MANY if n != 6]
    assert all("DATA" not in verbs(x) for x in s.host.sessions)


# --- answers out of step ----------------------------------------------------


def test_two_replies_for_one_with_messages_in_flight_lose_none(scene):
    """Behind such an answer no 2xx can be trusted."""
    s = scene(at("BDAT", "250 2.0.0 taken\r\n250 2.0.0 taken",
                 lambda n: n == 6), CHUNKING)
    s.fill(MANY)
    s.until_taken("others", MANY)
    until("settled", lambda: not s.waiting())
    assert set(s.host.taken()) == set(MANY)
    assert not s.m.events("send.bounced")


def test_a_refusal_out_of_step_bounces_no_other_message(scene):
    """A reply too many before a 550: it is not the next message's."""
    s = scene(dict(at("RCPT", "550 5.1.1 no such user", lambda n: n == 7),
                   **at("BDAT", "250 ok\r\n250 ok", lambda n: n == 5)),
              CHUNKING)
    s.fill(MANY)
    s.until_taken("others", [n for n in MANY if n != 7])
    assert s.losses("send.bounced") in ([], [7])


# --- replies that are right -------------------------------------------------

TWO = {
    "250 alone": "250", "250 and a blank": "250 ",
    "251": "251 2.1.5 will forward", "252": "252 2.0.0 cannot verify",
    "299": "299 fine", "299 alone": "299", "no status": "250 ok",
    "two lines": "250-one\r\n250 two", "empty lines": "250-\r\n250",
}


@both_ways
@pytest.mark.parametrize("where", ["GREETING", "MAIL", "RCPT", "dot"])
@pytest.mark.parametrize("answer", TWO.values(), ids=TWO)
def test_2xx_is_2xx(scene, answer, where, extensions):
    s = scene(at(where, answer), extensions)
    s.fill(MANY)
    all_at_once(s)


LONG = {"300 lines": lambda good: (good[:3] + "-more\r\n") * 300 + good,
        "lines of 10 KiB": lambda good:
        (good[:3] + "-" + "x" * 10240 + "\r\n") * 3 + good + "y" * 10240}


@pytest.mark.parametrize("code,fate", [("450 4.2.0", "send.deferred"),
                                       ("550 5.1.1", "send.bounced")])
@pytest.mark.parametrize("shape", LONG)
def test_long_refusals_keep_code_and_first_lines(scene, shape, code, fate):
    s = scene(at("RCPT", LONG[shape](code + " because"), lambda n: n == 0))
    s.fill(MANY)
    s.until_taken("others", range(1, 12))
    e = until("its fate", lambda: s.m.events(fate))[0]
    assert (e["code"], e["to"]) == (code[:3], "u0@x.test")
    assert len(s.host.sessions) == 1


def test_extensions_behind_300_lines_of_ehlo_count(scene):
    lines = ["250-X-%d" % i for i in range(300)]
    s = scene({"EHLO": "\r\n".join(
        ["250-peer.test", *lines, "250-PIPELINING", "250 CHUNKING"])},
        CHUNKING)
    s.fill(MANY)
    all_at_once(s)
    assert "BDAT" in verbs(s.host.sessions[0])
