"""What `mta queue` shows of mail under way and of hosts that are shut, from
the memory of the sender; and the socket that it comes through."""

import datetime
import email
import email.policy
import json
import os
import signal
import socket
import time

import pytest

from dnsserver import DnsServer
from harness import UNDER_VALGRIND, until
from peer import Peer
from processes import find

LIVE = ("shut_until", "host_state")


@pytest.fixture
def peers():
    made = []

    def make(*args, **kwargs):
        p = Peer(*args, **kwargs)
        made.append(p)
        return p
    yield make
    for p in made:
        p.close()


@pytest.fixture
def dns():
    with DnsServer({"x.test": "@ MX 10 mx\nmx A 127.0.0.1",
                    "dead.test": "@ MX 10 mx\nmx A 127.0.0.9",
                    "many.test": "* A 127.0.0.9",
                    "two.test": "@ MX 10 mx\n@ MX 20 mx2\nmx A 127.0.0.9\n"
                                "mx2 A 127.0.0.1"}) as d:
        yield d


def system(mta, dns, port, **settings):
    more = {"dns.servers": [dns.address], "send.port": port,
            "send.retry_min": "1h", "send.retry_max": "1h"}
    more.update({k.replace("__", "."): v for k, v in settings.items()})
    return mta(settings=more)


def submit(m, *rcpts):
    with m.smtp() as s:
        s.sendmail("a@src.test", rcpts, b"Subject: x\r\n\r\nhi\r\n")


def rcpt(m, address):
    """Of the list, by its address."""
    for message in m.queued():
        for r in message["recipients"]:
            if r["address"] == address:
                return dict(r, id=message["id"])
    return None


def text(m, *args):
    return m.tool("queue", *args).stdout.decode()


def clock(rfc3339):
    """HH:MM:SS of here."""
    t = datetime.datetime.strptime(rfc3339[:19] + "+0000",
                                   "%Y-%m-%dT%H:%M:%S%z")
    return t.astimezone().strftime("%H:%M:%S")


def seconds_until(rfc3339):
    t = datetime.datetime.strptime(rfc3339[:19] + "+0000",
                                   "%Y-%m-%dT%H:%M:%S%z")
    return t.timestamp() - time.time()


class Stall:
    """An answer of a peer that comes when it is let go."""

    def __init__(self, reply):
        self.reply, self.gone = reply, False

    def __call__(self, session, line):
        until("it may answer", lambda: self.gone, 300)
        return self.reply


# --- being delivered ----------------------------------------------------------

def test_being_delivered(mta, dns, peers):
    stall = Stall("250 2.0.0 taken")
    p = peers("127.0.0.1", answers={"DOT": stall})
    m = system(mta, dns, p.port)
    try:
        submit(m, "u@x.test", "v@x.test")
        r = until("it is on its way", lambda: (
            rcpt(m, "u@x.test")["state"] == "delivering"
            and rcpt(m, "u@x.test")))
        [connected] = until("logged", lambda: m.events("send.connect"))
        now = r["delivering"]
        assert now["session"] == connected["sid"]
        assert now["mx"] == "mx.x.test"
        assert now["address"] == "127.0.0.1:%d" % p.port
        assert -60 < seconds_until(now["since"]) <= 1
        assert r["shut_until"] is None and r["host_state"] is None
        assert (r["attempts"], r["code"]) == (0, 0)  # no answer yet
        lists = text(m, "list")
        assert ("    u@x.test  being delivered since %s\n"
                % clock(now["since"])) in lists, lists
        shown = text(m, "show", r["id"])
        assert ("        now at mx.x.test (127.0.0.1:%d), session %s\n"
                % (p.port, connected["sid"])) in shown, shown
        assert shown.count("being delivered") == 2
        whole = json.loads(text(m, "show", r["id"], "--json"))
        assert [x["state"] for x in whole["recipients"]] == ["delivering"] * 2
        assert whole["recipients"][0]["delivering"] == now
    finally:
        stall.gone = True
    until("delivered", lambda: m.queued() == [])
    assert "being delivered" not in text(m, "show", r["id"])


# --- a host that is shut ------------------------------------------------------

def test_a_host_that_is_shut(mta, dns, peers):
    p = peers("127.0.0.1")
    m = system(mta, dns, p.port)
    submit(m, "u@dead.test", "v@dead.test")
    r = until("shut", lambda: rcpt(m, "u@dead.test").get("shut_until") and
              rcpt(m, "u@dead.test"))
    assert 0 < seconds_until(r["shut_until"]) <= 61
    assert r["host_state"] == ("mx.dead.test (127.0.0.9:%d): Connection "
                               "refused while connecting" % p.port)
    assert r["state"] == "pending"
    assert rcpt(m, "v@dead.test")["shut_until"] is not None
    until("its round", lambda: rcpt(m, "u@dead.test")["rounds"] == 1)
    r = rcpt(m, "u@dead.test")
    assert (r["mx"], r["address_tried"]) == ("mx.dead.test", "127.0.0.9")
    lists = text(m, "list")
    assert lists.count(", host shut until %s" % clock(r["shut_until"])) == 2, \
        lists
    shown = text(m, "show", r["id"])
    assert shown.count("        shut: " + r["host_state"] + "\n") == 2, shown
    whole = json.loads(text(m, "show", r["id"], "--json"))
    assert {x["host_state"] for x in whole["recipients"]} == {r["host_state"]}


def test_one_host_of_two_is_shut(mta, dns, peers):
    """Mail goes to the other: nothing is to be said."""
    stall = Stall("250 2.0.0 taken")
    p = peers("127.0.0.1", answers={"DOT": stall})
    m = system(mta, dns, p.port)
    try:
        submit(m, "u@two.test")
        r = until("the second host", lambda: (
            rcpt(m, "u@two.test").get("delivering") and
            rcpt(m, "u@two.test")["delivering"]["mx"] == "mx2.two.test" and
            rcpt(m, "u@two.test")))
        assert r["shut_until"] is None
    finally:
        stall.gone = True


def test_a_next_hop_of_the_settings(mta, dns, peers):
    """A route is found by the settings, for a local domain none is."""
    p = peers("127.0.0.1")
    m = system(mta, dns, p.port, send__relay_host="[127.0.0.9]:%d" % p.port)
    submit(m, "u@any.test", "v@other.test")
    r = until("shut", lambda: rcpt(m, "u@any.test").get("shut_until") and
              rcpt(m, "u@any.test"))
    assert r["host_state"].startswith("127.0.0.9 (127.0.0.9:%d): " % p.port)
    assert rcpt(m, "v@other.test")["shut_until"] == r["shut_until"]


def test_a_host_that_is_paced(mta, dns, peers):
    """It wants less mail for now: the rest stays in line."""
    p = peers("127.0.0.1", answers={"MAIL": "421 4.7.0 slow down"})
    m = system(mta, dns, p.port)
    submit(m, "u@x.test")
    until("refused", lambda: m.events("send.deferred"))
    submit(m, "v@x.test")
    r = until("paced", lambda: rcpt(m, "v@x.test").get("paced_until") and
              rcpt(m, "v@x.test"))
    assert 0 < seconds_until(r["paced_until"]) <= 61
    assert r["shut_until"] is None
    assert r["host_state"] == (
        "mx.x.test (127.0.0.1:%d): pace of 127.0.0.1:%d, 1 message a minute,"
        " since: 421 4.7.0 slow down" % (p.port, p.port))
    assert ", paced until %s" % clock(r["paced_until"]) in text(m, "list")
    assert "        paced: " + r["host_state"] in text(m, "show", r["id"])
    assert len(p.sessions) == 1


def test_a_host_on_trial(mta, dns, peers):
    """One message tries it, the others wait for what it finds."""
    stall = Stall("554 5.3.2 still away")
    p = peers("127.0.0.1", answers={"GREETING": ["554 5.3.2 away", stall]})
    m = system(mta, dns, p.port, send__retry_min="2s", send__retry_max="2s")
    try:
        submit(m, "u@x.test")
        until("shut", lambda: rcpt(m, "u@x.test").get("shut_until"))
        submit(m, "v@x.test")
        until("a trial", lambda: len(p.sessions) == 2)
        both = [rcpt(m, x) for x in ("u@x.test", "v@x.test")]
        [trying] = [r for r in both if r["state"] == "delivering"]
        [waiting] = [r for r in both if r["state"] == "pending"]
        assert trying["delivering"]["mx"] == "mx.x.test"
        assert waiting["on_trial"] is True and waiting["shut_until"] is None
        assert waiting["host_state"] == ("mx.x.test (127.0.0.1:%d): away"
                                         % p.port)
        assert "pending, host on trial" in text(m, "list")
    finally:
        stall.gone = True


def test_many_that_are_shut(mta, dns):
    """More than one piece of the answer has room for."""
    n = 60 if UNDER_VALGRIND else 600
    m = system(mta, dns, 9)
    submit(m, *["u@d%d.many.test" % i for i in range(n)])
    until("all shut", lambda: all(
        r.get("shut_until") for r in m.queued()[0]["recipients"]))
    assert text(m, "list").count("host shut until") == n


# --- every line of a reply ----------------------------------------------------

GMAIL = [
    "Your email has been blocked because the sender is unauthenticated.",
    "Gmail requires all senders to authenticate with either SPF or DKIM.",
    "", " Authentication results:", "  DKIM = did not pass",
    "  SPF [src.test] with ip: [192.0.2.1] = did not pass", "",
    " For instructions on setting up authentication, go to",
    "  https://support.google.com/mail/answer/81126#authentication "
    "d75a77b69052e-4b0aa1c8a3bsi12345678 - gsmtp"]


def reply_of(code, status, lines):
    return "\r\n".join(
        ["%d-%s %s" % (code, status, x) for x in lines[:-1]]
        + ["%d %s %s" % (code, status, lines[-1])])


def told(raw):
    """The text for people, without its folds."""
    m = email.message_from_bytes(raw, policy=email.policy.default)
    parts = m.get_payload()
    text = parts[0].get_content().replace("\n        ", " ")
    return text, parts[1].get_payload()[1]


def test_a_bounce_has_all_lines(mta, dns, peers):
    """Log, slot and list have the beginning, marked."""
    p = peers("127.0.0.1",
              answers={"DOT": reply_of(550, "5.7.26", GMAIL)})
    m = system(mta, dns, p.port)
    with m.smtp() as s:
        s.sendmail("joe@here.test", ["u@x.test"], b"Subject: x\r\n\r\nhi\r\n")
    [raw] = until("bounce", lambda: m.mailbox("joe"))
    body, fields = told(raw)
    at = body.index("mx.x.test (127.0.0.1) replied:\n")
    quoted = [x.strip() for x in body[at:].splitlines()[1:10]]
    assert quoted == [" ".join(("550%s5.7.26 %s" % (
        " " if x is GMAIL[-1] else "-", x)).split()) for x in GMAIL]
    assert " ".join(fields["Diagnostic-Code"].split()) == " ".join(
        ("smtp; 550 5.7.26 " + " ".join(GMAIL)).split())
    assert fields["Status"] == "5.7.26"
    [end] = until("logged", lambda: m.events("send.bounced"))
    assert end["reply"].startswith(GMAIL[0] + " " + GMAIL[1])
    assert len(end["reply"]) == 479 and end["reply"].endswith("...") or \
        " ".join(end["reply"].split()) == " ".join(" ".join(GMAIL).split())
    shown = json.loads(text(m, "show", end["id"], "--json"))["recipients"][0]
    assert len(shown["reply"]) == 120 and shown["reply"].endswith("...")
    assert shown["reply"][:100] == end["reply"][:100]


def test_a_reply_without_an_end(mta, dns, peers):
    """4 KiB of it, and how much more there was."""
    many = ["line %d %s" % (i, "x" * 60) for i in range(200)]
    p = peers("127.0.0.1", answers={"RCPT": reply_of(550, "5.1.1", many)})
    m = system(mta, dns, p.port)
    with m.smtp() as s:
        s.sendmail("joe@here.test", ["u@x.test"], b"Subject: x\r\n\r\nhi\r\n")
    [raw] = until("bounce", lambda: m.mailbox("joe"))
    body, _ = told(raw)
    kept = [x for x in many if "550-5.1.1 " + x in body]
    assert 50 < len(kept) < 65
    assert "... and %d more lines" % (len(many) - len(kept) - 1) in body
    assert max(map(len, raw.splitlines())) < 998


# --- without the sender -------------------------------------------------------

def test_no_sender(mta, dns, peers):
    m = system(mta, dns, peers("127.0.0.1").port)
    submit(m, "u@dead.test")
    r = until("shut", lambda: rcpt(m, "u@dead.test").get("shut_until") and
              rcpt(m, "u@dead.test"))
    assert os.stat(m.queue + "/run/send.sock").st_mode & 0o777 == 0o600
    assert m.stop() == 0
    assert not os.path.exists(m.queue + "/run/send.sock")
    done = m.tool("queue", "list", "--json")
    [later] = json.loads(done.stdout)["recipients"]
    assert not set(LIVE) & set(later) and done.stderr == b""
    assert later["state"] == "pending"
    for args in (["list"], ["show", r["id"]]):
        assert "shut" not in text(m, *args)


def test_a_sender_that_does_not_answer(mta, dns, peers):
    m = system(mta, dns, peers("127.0.0.1").port)
    submit(m, "u@dead.test")
    until("shut", lambda: rcpt(m, "u@dead.test").get("shut_until"))
    pid = find(m, "send")
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = m.tool("queue", "list", "--json")
        took = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)
    assert 0.9 < took < 30
    assert done.returncode == 0
    assert b"the sender does not answer" in done.stderr
    [r] = json.loads(done.stdout)["recipients"]
    assert not set(LIVE) & set(r)
    until("it answers", lambda: rcpt(m, "u@dead.test").get("shut_until"))


# --- the socket ---------------------------------------------------------------

class Client:
    def __init__(self, m):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(30)
        self.s.connect(m.queue + "/run/send.sock")
        self.f = self.s.makefile("r")

    def ask(self, command):
        self.s.sendall(command.encode() + b"\n")
        lines = [self.f.readline().rstrip("\n")]
        while lines[-1].startswith(" "):
            lines.append(self.f.readline().rstrip("\n"))
        return lines

    def close(self):
        self.f.close()
        self.s.close()


def test_hostile_clients(mta, dns, peers):
    """They cost their own connections, and neither mail nor much time."""
    p = peers("127.0.0.1")
    m = system(mta, dns, p.port)
    submit(m, "u@dead.test")
    until("shut", lambda: rcpt(m, "u@dead.test").get("shut_until"))
    c = Client(m)
    assert c.ask("list")[-1] == "ok"
    assert c.ask("show 1")[-1] == "error: '1' is not a message id"
    assert c.ask("")[-1] == "error: no command ''"
    assert c.ask("frob%s%n")[-1] == "error: no command 'frob%s%n'"
    assert [x.split()[0] for x in c.ask("show 0123456789abcdef")] == [
        "shut", "ok"]
    c.s.sendall(b"x" * 5000)
    with pytest.raises(ConnectionResetError):
        c.f.read()
    c.close()
    # All places taken, by clients that ask and never read.
    greedy = [Client(m) for _ in range(8)]
    for g in greedy:
        g.s.settimeout(0.2)
        try:
            for _ in range(2000):
                g.s.sendall(b"list\n" * 50)
        except (socket.timeout, OSError):
            pass
    done = m.tool("queue", "list", "--json")
    assert b"too many connections" in done.stderr and done.returncode == 0
    submit(m, "w@x.test")
    until("mail goes", lambda: p.messages)
    for g in greedy:
        g.close()
    until("room again", lambda: rcpt(m, "u@dead.test").get("shut_until"))


def test_a_client_that_falls_silent(mta, dns, peers):
    """Its place is free again after ten seconds."""
    m = system(mta, dns, peers("127.0.0.1").port)
    until("the socket", lambda: os.path.exists(m.queue + "/run/send.sock"))
    c = Client(m)
    began = time.monotonic()
    assert c.f.read() == ""
    assert 9 < time.monotonic() - began < 60
    c.close()
