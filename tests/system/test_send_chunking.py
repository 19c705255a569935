"""`mta send` with BDAT (RFC 3030): many messages under way at a time."""

import re
import socket
import threading

import pytest

from dnsserver import DnsServer
from harness import until
from peer import Peer

EXTENSIONS = ("PIPELINING", "8BITMIME", "SIZE 100000000", "CHUNKING",
              "BINARYMIME", "ENHANCEDSTATUSCODES")
WAVES = 2, 4, 8, 16  # as many as may be under way: 2, and one for each taken
MANY = sum(WAVES)


@pytest.fixture
def relay(mta):
    """relay(answers...): a peer for x.test and a system that sends there."""
    made = []

    def make(answers=None, extensions=EXTENSIONS, **settings):
        p = Peer("127.0.0.1", answers=answers, extensions=extensions)
        d = DnsServer({"x.test": "@ MX 10 a\na A 127.0.0.1"})
        made.extend([p, d])
        more = {"dns.servers": [d.address], "send.port": p.port}
        more.update({k.replace("__", "."): v for k, v in settings.items()})
        return p, mta("serve", more)
    yield make
    for x in made:
        x.close()


def fill(m, numbers, size=0, rcpts="u%d@x.test"):
    """Messages that wait in the queue until a sender starts."""
    with m.smtp() as s:
        for n in numbers:
            s.sendmail("a@src.test", [r % n for r in rcpts.split()],
                       b"Subject: n%d\r\n\r\n" % n + b"x" * 70 * (size > 0)
                       + b"\r\n" + (b"y" * 70 + b"\r\n") * (size // 72))


def drain(m, timeout="20s"):
    return m.tool("send", "--drain", "--timeout", timeout, check=False)


def once(m):
    return m.tool("send", "--once", check=False)


def numbers(p):
    return [int(re.search(rb"Subject: n(\d+)", x.data).group(1))
            for x in p.messages]


def verbs(session):
    return [x.split()[0] for x in session.lines]


def serve_silently(listener, got):
    """Greet, then answer to nothing until the texts of a wave are here, and
    no others: without a buffer, what came too early is still in the socket."""
    sock, _ = listener.accept()
    with sock, sock.makefile("rb", buffering=0) as f:
        sock.sendall(b"220 hi\r\n")
        f.readline()
        sock.sendall(b"250-hi\r\n250-PIPELINING\r\n250-BINARYMIME\r\n"
                     b"250 CHUNKING\r\n")
        for wave in WAVES:
            for _ in range(wave):
                got.append([f.readline() for _ in range(3)])
                got[-1].append(sock.recv(int(got[-1][2].split()[1]),
                                         socket.MSG_WAITALL))
            with pytest.raises(BlockingIOError):
                sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            sock.sendall(b"250 ok\r\n" * 3 * wave)
        assert f.readline() == b"QUIT\r\n"
        sock.sendall(b"221 bye\r\n")


def test_messages_follow_without_waiting(mta):
    """No reply is given before many have come: only BDAT can do that."""
    got = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        m = mta("serve", {"send.relay_host":
                          "127.0.0.1:%d" % listener.getsockname()[1]})
        fill(m, range(MANY))
        peer = threading.Thread(target=serve_silently, args=(listener, got))
        peer.start()
        assert drain(m).returncode == 0
        peer.join()
    for n, (mail, rcpt, bdat, text) in enumerate(got):
        assert mail == b"MAIL FROM:<a@src.test>\r\n"  # and no BODY=
        assert rcpt == b"RCPT TO:<u%d@x.test>\r\n" % n
        assert bdat == b"BDAT %d LAST\r\n" % len(text)
        assert text.endswith(b"Subject: n%d\r\n\r\n\r\n" % n)


def test_refusals_hit_only_their_message(relay):
    def rcpt(session, line):
        if session.sender is None:
            return "503 5.5.1 no MAIL"
        return {"1": "550 5.1.1 no such user",
                "2": "451 4.3.0 later"}.get(line[9], "250 2.1.5 ok")

    def mail(_session, line):
        return "550 5.7.1 no" if "bad@" in line else "250 2.1.0 ok"

    def bdat(_session, data):
        return ("554 5.7.1 spam" if b"Subject: n3\r" in data
                else "250 2.0.0 taken")

    p, m = relay({"RCPT": rcpt, "BDAT": bdat, "MAIL": mail})
    fill(m, range(6), rcpts="%d@x.test")
    fill(m, [6], rcpts="1%d@x.test 7%d@x.test")
    with m.smtp() as s:
        s.sendmail("bad@src.test", ["7@x.test"], b"Subject: n7\r\n\r\n")
    assert once(m).returncode == 75
    assert sorted(numbers(p)) == [0, 4, 5, 6]
    # In any order: the server's workers have segments of their own.
    assert ["RCPT TO:<76@x.test>"] in [x.rcpts for x in p.messages]
    assert len(p.sessions) == 1
    until("what bounced", lambda: sorted(
        e["to"] for e in m.events("send.bounced")
        if e["to"].endswith("@x.test")) == [
            "16@x.test", "1@x.test", "3@x.test", "7@x.test"])
    later = [r for q in m.queued() for r in q["recipients"]]
    assert [r["code"] for r in later if r["address"] == "2@x.test"] == [451]


@pytest.mark.parametrize("end", ["421 4.3.0 enough", None])
def test_lost_with_many_under_way(relay, end):
    """Every fifth text ends the session: nothing is lost, and what has its
    final reply never comes again."""
    count = [0]

    def bdat(_session, _data):
        count[0] += 1
        return end if count[0] % 5 == 0 else "250 2.0.0 taken"

    p, m = relay({"BDAT": bdat})
    fill(m, range(MANY))
    assert drain(m).returncode == 0
    assert sorted(numbers(p)) == list(range(MANY))
    assert len(p.sessions) >= MANY // 5 and p.most == 1


def test_peer_that_stays_in_the_old_transaction(relay):
    """RFC 3030 does not say that a refused BDAT LAST ends it."""
    state = {"open": False, "refused": False}

    def mail(_session, _line):
        if state["open"]:
            return "503 5.5.1 nested MAIL"
        state["open"] = True
        return "250 2.1.0 ok"

    def bdat(session, data):
        if b"Subject: n4\r" in data and not state["refused"]:
            state["refused"] = True
            return "451 4.3.0 later"
        if session.sender is None:
            return "503 5.5.1 no"
        state["open"] = False
        return "250 2.0.0 taken"

    def rset(_session, _line):
        state["open"] = False
        return "250 ok"

    def rcpt(session, line):
        return "250 2.1.5 ok" if session.sender else "503 5.5.1 no MAIL"

    p, m = relay({"MAIL": mail, "BDAT": bdat, "RSET": rset, "RCPT": rcpt})
    fill(m, range(MANY))
    assert once(m).returncode == 75
    assert sorted(numbers(p)) == [n for n in range(MANY) if n != 4]
    assert "RSET" in verbs(p.sessions[0]) and len(p.sessions) == 1
    assert [r["code"] for q in m.queued() for r in q["recipients"]] == [451]


def test_neither_waits_for_the_other(relay):
    """The peer reads nothing while it blocks on its replies, which are
    larger than all buffers, and we have more to say than fits them."""
    long_reply = "\r\n".join(["250-" + "z" * 900] * 90 + ["250 2.1.5 ok"])

    def small(session, _line):
        session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return long_reply

    p, m = relay({"RCPT": small})
    fill(m, range(20), size=200000)
    assert drain(m).returncode == 0
    assert numbers(p) == list(range(20))
    assert len(p.sessions) == 1


def test_large_text_refused_by_size(relay):
    p, m = relay(extensions=("PIPELINING", "CHUNKING", "SIZE 100000"))
    fill(m, [0, 2])
    fill(m, [1], size=200000)
    drain(m)
    assert sorted(numbers(p)) == [0, 2]
    until("the bounce in the log", lambda: [
        e["status"] for e in m.events("send.bounced")
        if e["to"] == "u1@x.test"] == ["5.3.4"])


@pytest.mark.parametrize("zone", [
    "@ MX 10 a\n@ MX 10 b\na A 127.0.0.1\nb A 127.0.0.2",
    "@ MX 10 a\na A 127.0.0.1\na A 127.0.0.2"])
def test_equal_hosts_share_a_slow_domain(mta, zone):
    """A host that takes its time over each message bounds its one socket; the
    work goes to all hosts of one preference, and no other lane waits."""
    slow = threading.Event()

    def dot(_session, _line):
        slow.wait(0.1)
        return "250 2.0.0 taken"

    first = Peer("127.0.0.1", answers={"DOT": dot})
    second = Peer("127.0.0.2", first.port, answers={"DOT": dot})
    quick = Peer("127.0.0.3", first.port)
    with first, second, quick, DnsServer(
            {"x.test": zone, "q.test": "@ A 127.0.0.3"}) as d:
        m = mta("serve", {"dns.servers": [d.address],
                          "send.port": first.port})
        fill(m, range(12))
        fill(m, range(12), rcpts="u%d@q.test")
        done = []
        worker = threading.Thread(target=lambda: done.append(drain(m)))
        worker.start()
        until("the quick one has all", lambda: len(quick.messages) == 12)
        assert len(first.messages) + len(second.messages) < 12
        worker.join()
        assert done[0].returncode == 0
        counts = len(first.messages), len(second.messages)
    assert sum(counts) == 12 and min(counts) >= 4
    assert first.most == second.most == 1
    assert len(first.sessions) == len(second.sessions) == 1


def test_chunking_can_be_turned_off(relay):
    p, m = relay(send__chunking="off")
    fill(m, range(5))
    assert drain(m).returncode == 0
    assert numbers(p) == list(range(5))
    assert {"BDAT"}.isdisjoint(verbs(p.sessions[0]))
    assert verbs(p.sessions[0]).count("DATA") == 5


@pytest.mark.parametrize("extensions", [EXTENSIONS, ("PIPELINING",), ()])
def test_a_session_has_so_many_messages(relay, extensions):
    p, m = relay(extensions=extensions, send__session_messages=3)
    fill(m, range(8))
    assert drain(m).returncode == 0
    assert sorted(numbers(p)) == list(range(8))
    assert [x.messages for x in p.sessions] == [3, 3, 2] and p.most == 1
