"""Names and addresses beyond ASCII, and long ones, from end to end."""

import pytest

from dnsserver import DnsServer
from harness import until
from peer import Peer

UTF8_HEADER = "Subject: gr\u00fc\u00dfe\r\n\r\nhi\r\n".encode()
ASCII_HEADER = "Subject: x\r\n\r\ngr\u00fc\u00dfe\r\n".encode()
LARGE = b"x" * 76 + b"\r\n"
WITH, WITHOUT = ("8BITMIME", "SMTPUTF8"), ("8BITMIME",)


@pytest.fixture
def dns():
    with DnsServer({"x.test": "@ A 127.0.0.1"}) as d:
        yield d


def say(c, line, code):
    got = c.say(line)
    assert got[0] == code, (line, got)


def submit(m, rcpts, sender="joe@here.test", body=ASCII_HEADER, declared=""):
    """As the octets are: smtplib has its own ideas of them."""
    with m.raw() as c:
        say(c, "EHLO client.test", 250)
        say(c, "MAIL FROM:<%s>%s" % (sender, declared), 250)
        for r in rcpts:
            say(c, "RCPT TO:<%s>" % r, 250)
        say(c, "DATA", 354)
        c.send(body + b".\r\n")
        assert c.reply()[0] == 250


# --- UTF-8 in the header --------------------------------------------------------

@pytest.mark.parametrize("name,declared,body,extensions,bounces,parameter", [
    pytest.param(*row, id=row[0]) for row in [
    ("UTF-8 header, offered", True, UTF8_HEADER, WITH, False, True),
    ("UTF-8 header, not offered", True, UTF8_HEADER, WITHOUT, True, False),
    ("ASCII header, offered", True, ASCII_HEADER, WITH, False, False),
    ("ASCII header, not offered", True, ASCII_HEADER, WITHOUT, False, False),
    ("not declared", False, UTF8_HEADER, WITHOUT, False, False),
    ("not declared, offered", False, UTF8_HEADER, WITH, False, False),
    ("UTF-8 behind 300 KB of header", True,
     b"".join(b"X-%d: %s" % (i, LARGE) for i in range(4000)) + UTF8_HEADER,
     WITHOUT, True, False),
    ("a large body", True, UTF8_HEADER + LARGE * 8000, WITHOUT, True, False),
    ("a large body, ASCII header", True, ASCII_HEADER + LARGE * 8000, WITHOUT,
     False, False),
]])
def test_utf8_header(mta, dns, name, declared, body, extensions, bounces,
                     parameter):
    with Peer(extensions=extensions) as p:
        m = mta(settings={"dns.servers": [dns.address], "send.port": p.port})
        submit(m, ["u@x.test"], body=body,
               declared=" BODY=8BITMIME SMTPUTF8" if declared else "")
        if bounces:
            bounce = until(name, lambda: m.mailbox("joe"))[0]
            assert b"Status: 5.6.7" in bounce, bounce
            assert not any("MAIL" in x for s in p.lines() for x in s)
            return
        until(name, lambda: p.messages)
        assert p.messages[0].data.endswith(body)
        assert ("SMTPUTF8" in p.messages[0].sender) == parameter


def test_our_own_field_counts(mta, dns):
    """Its "for" has the recipient in UTF-8; the alias that is behind has not.
    """
    with Peer(extensions=WITHOUT) as p:
        m = mta("run", {"dns.servers": [dns.address], "send.port": p.port},
                start=False)
        m.settings["local.aliases"] = m.dir + "/aliases"
        with open(m.dir + "/aliases", "w", encoding="utf-8") as f:
            f.write("j\u00f6rg: u@x.test\n")
        m.write_conf()
        m.start()
        submit(m, ["j\u00f6rg@here.test"], declared=" SMTPUTF8")
        bounce = until("bounce", lambda: m.mailbox("joe"))[0]
        assert b"Status: 5.6.7" in bounce, bounce
        assert not p.messages


# --- two spellings of a domain ----------------------------------------------------

U, A = "b\u00fccher", "xn--bcher-kva"


def test_both_spellings_everywhere(mta, dns):
    """Own domain, own name, route, and where there is none: one session."""
    dns.update({A + ".test": "@ A 127.0.0.1"})
    with Peer(extensions=("PIPELINING",) + WITH) as p, Peer() as q:
        m = mta(settings={
            "hostname": U + ".mx.test", "dns.servers": [dns.address],
            "local.domains": ["here.test", U + ".local.test"],
            "send.port": p.port,
            "send.routes": [U + ".route.test=[127.0.0.1]:%d" % q.port]})
        for name in (U, A, U.upper()):
            submit(m, ["joe@%s.local.test" % name, "u@%s.test" % name],
                   declared=" SMTPUTF8")
        submit(m, ["u@%s.route.test" % A])
        until("local", lambda: len(m.mailbox("joe")) == 3)
        until("MX", lambda: len(p.messages) == 3)
        until("route", lambda: len(q.messages) == 1)
        assert len(p.sessions) == 1
        with m.raw() as c:
            assert c.say("EHLO client.test")[1][0].startswith(A + ".mx.test")


# --- long local parts -------------------------------------------------------------

def test_long_local_part(mta, dns):
    """As SRS, VERP and confirmations of lists make them: up to the path."""
    with Peer() as p:
        m = mta(settings={"dns.servers": [dns.address], "send.port": p.port,
                          "local.recipient_delimiter": "+"})
        sender = "SRS0=" + "s" * 230 + "@here.test"
        rcpt = "bounces+" + "r" * 239 + "@x.test"
        assert len(sender) < 255 and len(rcpt) == 254
        p.answers["RCPT"] = "450 4.2.0 later"
        submit(m, [rcpt, "joe+" + "t" * 200 + "@here.test"], sender=sender)
        until("local", lambda: m.mailbox("joe"))
        until("deferred", lambda: m.events("send.deferred", to=rcpt))
        q = m.queued()[0]
        assert q["sender"] == sender
        assert q["recipients"][0]["address"] == rcpt
        assert rcpt in m.tool("queue", "list").stdout.decode()
        p.answers.clear()
        until("delivered", lambda: p.messages)
        assert "<%s>" % rcpt in p.messages[0].rcpts[0]
        assert "<%s>" % sender in p.messages[0].sender


def test_beyond_the_path_limit(mta):
    m = mta()
    with m.raw() as c:
        say(c, "EHLO client.test", 250)
        say(c, "MAIL FROM:<joe@here.test>", 250)
        assert c.say("RCPT TO:<%s@x.test>" % ("r" * 250))[0] // 100 == 5
