"""send.relay_host with several hosts, and routes by the sender's domain."""

import json
import signal

import pytest

from harness import free_port, until
from peer import Peer


def submit(m, rcpts, sender="a@src.test", body=b"Subject: x\r\n\r\nhi\r\n"):
    with m.smtp() as s:
        return s.sendmail(sender, rcpts, body)


def at(peer):
    return "[127.0.0.1]:%d" % peer.port


@pytest.fixture
def peers():
    with Peer() as a, Peer() as b, Peer() as c:
        yield a, b, c


def senders(peer):
    return [x.sender.split(">")[0].split("<")[1] for x in peer.messages]


# --- the first that works -----------------------------------------------------

def test_the_first_host_has_all_mail(mta, peers):
    m = mta("run", {"send.relay_host": [at(peers[0]), at(peers[1])]})
    for n in range(5):
        submit(m, ["u%d@x%d.test" % (n, n)])
    until("delivered", lambda: len(peers[0].messages) == 5)
    assert not peers[1].sessions


@pytest.mark.parametrize("answers", [
    {"GREETING": "554 no"}, {"GREETING": None}, {"EHLO": "421 later"}])
def test_the_next_host_when_it_does_not_work(mta, peers, answers):
    peers[0].answers.update(answers)
    m = mta("run", {"send.relay_host": [at(peers[0]), at(peers[1]),
                                        at(peers[2])]})
    for n in range(5):
        submit(m, ["u%d@x.test" % n])
    until("delivered", lambda: len(peers[1].messages) == 5)
    assert not peers[0].messages and not peers[2].messages
    assert not m.events("send.deferred")
    until("all is gone", lambda: not m.queued())


def test_back_to_the_first_when_it_works_again(mta, peers):
    peers[0].answers["GREETING"] = "421 later"
    m = mta("run", {"send.relay_host": [at(peers[0]), at(peers[1])]})
    submit(m, ["u@x.test"])
    until("delivered", lambda: peers[1].messages)
    peers[0].answers.clear()
    m.kill(signal.SIGUSR1)
    n = 0

    def came():
        nonlocal n
        n += 1
        submit(m, ["u%d@x.test" % n])
        return peers[0].messages
    until("at the first host", came)
    until("all is gone", lambda: not m.queued())


def test_a_host_that_is_not_found(mta, peers):
    """Loud, as for each next hop; mail goes on."""
    m = mta("run", {"send.relay_host": ["192.0.2.256.invalid", at(peers[1])],
                    "dns.timeout": "1s"})
    submit(m, ["u@x.test"])
    until("delivered", lambda: peers[1].messages)


def test_no_host_works(mta, peers):
    for p in peers:
        p.answers["GREETING"] = "421 later"
    m = mta("run", {"send.relay_host": [at(p) for p in peers]})
    for n in range(3):
        submit(m, ["u%d@x.test" % n])
    until("tried", lambda: all(p.sessions for p in peers))
    shown = until("shut", lambda: [
        r for q in m.queued() for r in q["recipients"]
        if r.get("host_state")])[0]
    assert "421" in shown["reply"] or shown["host_state"] != ""
    for p in peers:
        p.answers.clear()
    until("delivered", lambda: m.kill(signal.SIGUSR1) or sum(
        len(p.messages) for p in peers) == 3)


def test_text_of_the_setting(mta, peers):
    m = mta("run", {"send.relay_host": [at(peers[0]), "hub.test:587"]},
            start=False)
    shown = json.loads(m.tool("config", "--show", "--json").stdout)
    text = json.dumps(shown)
    assert "127.0.0.1:%d" % peers[0].port in text and "hub.test:587" in text


def test_a_loop_in_the_list(mta):
    m = mta("run", {"send.relay_host": ["[127.0.0.1]:%d" % free_port()]},
            start=False)
    m.settings["send.relay_host"].append("127.0.0.1:%d" % m.port)
    m.write_conf()
    done = m.tool("config", "--check", check=False)
    assert done.returncode == 78
    assert b"loops back to itself" in done.stderr


# --- by the sender ------------------------------------------------------------

def test_the_order_of_routes(mta, peers):
    """The recipient's, the sender's, relay_host."""
    m = mta("run", {"send.relay_host": at(peers[2]), "send.routes": [
        "to.test=" + at(peers[0]), "@from.test=" + at(peers[1]),
        "@.from.test=" + at(peers[1])]})
    submit(m, ["u@to.test"], "r@from.test")
    submit(m, ["u@x.test"], "s@From.Test")
    submit(m, ["u@x.test"], "below@a.from.test")
    submit(m, ["u@x.test"], "other@src.test")
    submit(m, ["u@x.test"], "")
    until("delivered", lambda: sum(len(p.messages) for p in peers) == 5)
    assert senders(peers[0]) == ["r@from.test"]
    assert sorted(senders(peers[1])) == ["below@a.from.test", "s@From.Test"]
    assert sorted(senders(peers[2])) == ["", "other@src.test"]


def test_one_domain_by_two_senders(mta, peers):
    """Recipients of one domain, neighbours in the queue, have two hosts; what
    waits shows the reason of its own."""
    peers[0].answers["GREETING"] = "421 first is away"
    m = mta("run", {"send.relay_host": at(peers[1]),
                    "send.routes": ["@from.test=" + at(peers[0])],
                    "send.retry_min": "1h", "send.retry_max": "1h"})
    for n in range(3):
        submit(m, ["u@x.test"], "a%d@from.test" % n)
        submit(m, ["u@x.test"], "b%d@src.test" % n)
    until("delivered", lambda: len(peers[1].messages) == 3)
    waits = until("shut", lambda: [q for q in m.queued() if q[
        "recipients"][0].get("host_state")] if len(m.queued()) == 3 else None)
    assert all(q["sender"].endswith("@from.test") for q in waits)
    assert not peers[0].messages
