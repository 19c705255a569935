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
