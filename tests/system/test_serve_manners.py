"""Clients that do not wait, ask too often or send too slowly (R2)."""

import signal
import socket
import time

import pytest

from harness import DEADLINE, Mta, Raw, send_signal, tree_of, until

OUTSIDE = {"serve.relay_networks": ["192.0.2.0/24"], "serve.rdns": "off"}
EARLY = (554, "5.5.0")


@pytest.fixture(scope="module")
def strict():
    with Mta("serve", dict(OUTSIDE)) as m:
        yield m


def code_of(reply):
    code, words = reply
    return code, words[0].split()[0] if words else ""


def open_to(m, address="127.0.0.1"):
    """A client at an address of its own, past its EHLO."""
    c = Raw.__new__(Raw)
    c.sock = socket.create_connection(("127.0.0.1", m.port), 30, (address, 0))
    c.file = c.sock.makefile("rb")
    assert c.reply()[0] == 220
    assert c.say("EHLO client.test")[0] == 250
    return c


def test_talk_before_the_banner(strict):
    """The server stands still while a client connects and talks."""
    family = tree_of(strict.process.pid)
    for pid in family:
        send_signal(pid, signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", strict.port), 30) as s:
        s.sendall(b"EHLO client.test\r\n")
        for pid in family:
            send_signal(pid, signal.SIGCONT)
        file = s.makefile("rb")
        assert file.readline().startswith(b"554 5.5.0 ")
        assert file.readline() == b""


@pytest.mark.parametrize("text", [
    "EHLO client.test\r\nMAIL FROM:<>\r\n",
    "HELO client.test\r\nMAIL FROM:<>\r\n"])
def test_talk_behind_the_greeting(strict, text):
    with strict.raw() as c:
        c.send(text)
        assert code_of(c.reply()) == EARLY
        assert c.reply()[0] == 0


def test_talk_after_helo(strict):
    with strict.raw() as c:
        assert c.say("HELO client.test")[0] == 250
        assert c.say("MAIL FROM:<a@client.test>")[0] == 250
        c.send("RCPT TO:<ann@here.test>\r\nDATA\r\n")
        assert code_of(c.reply()) == EARLY
    until("logged", lambda: strict.events("serve.reject", code="554"))


def test_text_behind_data(strict):
    with open_to(strict) as c:
        c.send("MAIL FROM:<a@client.test>\r\nRCPT TO:<early@here.test>\r\n"
               "DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n")
        assert [c.reply()[0] for _ in range(2)] == [250, 250]
        assert code_of(c.reply()) == EARLY
        assert c.reply()[0] == 0
    assert strict.copies("early", 0) == []


@pytest.mark.parametrize("settings", [{}, dict(
    OUTSIDE, **{"serve.early_talk": "accept"})], ids=["relay", "accept"])
def test_early_talk_is_served(mta, settings):
    m = mta("serve", settings)
    with m.raw() as c:
        c.send("HELO client.test\r\nMAIL FROM:<a@client.test>\r\n"
               "RCPT TO:<ann@here.test>\r\nDATA\r\nSubject: x\r\n.\r\nQUIT\r\n")
        assert [c.reply()[0] for _ in range(6)] == [250, 250, 250, 354, 250,
                                                    221]


def test_what_is_off_is_no_error(mta):
    m = mta("serve", {"serve.max_errors": 2})
    with m.raw() as c:
        for _ in range(150):
            assert code_of(c.say("NOOP")) == (502, "5.5.1")
        assert c.say("EHLO client.test")[0] == 250
        assert c.say("FROB")[0] == 500
        assert c.say("FROB")[0] == 500
        assert c.reply()[0] == 421


def test_data_takes_no_argument(strict):
    with open_to(strict) as c:
        assert c.say("MAIL FROM:<a@client.test>")[0] == 250
        assert c.say("RCPT TO:<ann@here.test>")[0] == 250
        assert code_of(c.say("DATA x")) == (501, "5.5.4")
        assert c.say("DATA ")[0] == 354


def test_a_dripped_command(mta):
    m = mta("serve", {"serve.command_timeout": "1s"})
    with m.raw() as c:
        began = time.monotonic()
        c.sock.settimeout(0.2)
        line = b""
        while not line and time.monotonic() - began < DEADLINE:
            c.send("N")
            try:
                line = c.sock.recv(100)
            except socket.timeout:
                pass
        assert line.startswith(b"421 4.4.2"), line
        assert time.monotonic() - began < DEADLINE


DELAY = 0.9  # seconds, of one


def ask(c, user, code=550):
    """The seconds until the reply."""
    began = time.monotonic()
    assert c.say("RCPT TO:<%s@here.test>" % user)[0] == code
    return time.monotonic() - began


def test_unknown_recipients(mta, tmp_path):
    """Counted for an address over its sessions and over both workers; others
    and relay networks have counts of their own, or none."""
    users = tmp_path / "users"
    users.write_text("ann\n")
    m = mta("serve", {"local.users": "file:%s" % users,
                      "serve.workers": 2, "serve.max_unknown": 3,
                      "serve.relay_networks": ["127.0.0.9/32"],
                      "serve.rdns": "off"})
    got = []
    for _ in range(6):
        with open_to(m, "127.0.0.2") as c:
            assert c.say("MAIL FROM:<>")[0] == 250
            got.append(ask(c, "nobody"))
    # The machine may be slow now and then, but not each time.
    assert min(got[:3]) < DELAY < min(got[3:]), got
    with open_to(m, "127.0.0.2") as c:
        assert c.say("MAIL FROM:<>")[0] == 250
        assert min(ask(c, "ann", 250) for _ in range(3)) < DELAY
        assert code_of(c.say("RCPT TO:<nobody@here.test>")) == (421, "4.7.0")
        assert c.reply()[0] == 0
    with open_to(m, "127.0.0.3") as c:
        assert c.say("MAIL FROM:<>")[0] == 250
        assert min(ask(c, "nobody") for _ in range(3)) < DELAY
    with open_to(m, "127.0.0.9") as c:
        assert c.say("MAIL FROM:<>")[0] == 250
        assert min([ask(c, "nobody") for _ in range(8)][4:]) < DELAY
