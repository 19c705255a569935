"""Hosts that are odd but not hostile: extensions that they offer and do not
have, replies that no RFC forbids, answers out of step.  Mail goes through, no
message goes twice, none is lost."""

import pytest

from harness import until
from scene import (CHUNKING, PLAIN, at, name_server, scenes, steps,
                   verbs)

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


@pytest.mark.parametrize("answer", NO_BDAT, ids=NO_BDAT_IDS)
def test_chunking_that_does_not_work_falls_back_to_data(scene, answer):
    """It is remembered in the next session."""
    s = scene(at("BDAT", answer), CHUNKING, send__session_linger="1s")
    s.fill(MANY)
    all_at_once(s)
    until("the session is over", lambda: not s.host.open)
    before = len(s.host.sessions)
    s.submit(range(20, 30))
    all_at_once(s, [*MANY, *range(20, 30)])
    later = s.host.sessions[before:]
    assert later and all("BDAT" not in verbs(x) for x in later)


def test_chunking_whose_text_is_read_as_commands_falls_back(scene):
    """Offered by a host behind a filter that does not know it: 502 for BDAT,
    and for each line of the text."""
    s = scene({"EHLO": "\r\n".join(["250-" + x for x in (
        "peer.test", *CHUNKING)] + ["250 OK"]),
        "BDAT": "502 5.5.1 what?"}, PLAIN)
    s.fill(MANY)
    all_at_once(s)
    assert "BDAT" in verbs(s.host.sessions[0])


def test_bdat_refused_though_it_worked_before_is_the_messages(scene):
    s = scene(at("BDAT", "500 5.5.1 what?", lambda n: n == 6), CHUNKING)
    s.fill(MANY)
    s.until_taken("others", [n for n in MANY if n != 6])
    until("bounce", lambda: s.m.mailbox("s6"))
    until("the queue is empty", lambda: not s.waiting())
    assert sorted(s.host.taken()) == [n for n in MANY if n != 6]
    assert all("DATA" not in verbs(x) for x in s.host.sessions)


def test_chunking_off_never_uses_it(scene):
    s = scene(extensions=CHUNKING, send__chunking="off")
    s.fill(MANY)
    all_at_once(s)
    assert all("BDAT" not in verbs(x) for x in s.host.sessions)


# --- answers out of step ----------------------------------------------------

@pytest.mark.parametrize("where", ["MAIL", "RCPT", "BDAT"])
@pytest.mark.parametrize("answer", [
    "\x1b[2J what?", "55 no", "354 go on", "999 no such code", "ok"],
    ids=["garbage", "two digits", "3xx", "999", "no code"])
def test_nonsense_with_messages_in_flight_doubles_none_and_loses_none(
        scene, where, answer):
    s = scene(at(where, answer, lambda n: n == 6), CHUNKING)
    s.fill(MANY)
    s.until_taken("others", [n for n in MANY if n != 6])
    s.recover(MANY)
    assert not s.m.events("send.bounced")


def test_two_replies_for_one_with_messages_in_flight_lose_none(scene):
    """Behind such an answer no 2xx can be trusted."""
    s = scene(at("BDAT", "250 2.0.0 taken\r\n250 2.0.0 taken",
                 lambda n: n == 6), CHUNKING)
    s.fill(MANY)
    s.until_taken("others", MANY)
    until("settled", lambda: not s.waiting())
    assert set(s.host.taken()) == set(MANY)
    assert not s.m.events("send.bounced")


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


@both_ways
def test_2xx_is_2xx_to_ehlo_and_quit(scene, extensions):
    lines = ["251-peer.test"] + ["251-" + x for x in extensions] + ["251 OK"]
    s = scene({"EHLO": "\r\n".join(lines), "QUIT": "299"}, extensions,
              send__session_messages=3)
    s.fill(MANY)
    all_at_once(s)


LONG = {"300 lines": lambda good: (good[:3] + "-more\r\n") * 300 + good,
        "lines of 10 KiB": lambda good:
        (good[:3] + "-" + "x" * 10240 + "\r\n") * 3 + good + "y" * 10240}


GOOD = {"GREETING": "220 hi", "MAIL": "250 2.1.0 ok", "RCPT": "250 2.1.5 ok",
        "DATA": "354 go", "dot": "250 2.0.0 ok", "QUIT": "221 bye"}


@pytest.mark.parametrize("shape", LONG)
@steps(*GOOD)
def test_long_replies_are_replies(scene, where, shape, extensions):
    more = {"send__session_messages": 5} if where == "QUIT" else {}
    s = scene(at(where, LONG[shape](GOOD[where])), extensions, **more)
    s.fill(MANY)
    all_at_once(s)


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
