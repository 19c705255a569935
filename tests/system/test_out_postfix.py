"""Mail to a whole Postfix that a real DNS server names as MX, and back."""

import glob
import os
import pwd

import pytest

from dnsserver import DnsServer
from harness import Raw, until
from postfix import Postfix

# With these Postfix has nothing to add.
HEAD = (b"From: <a@here.test>\r\nTo: <box@far.test>\r\n"
        b"Date: Mon, 23 Nov 2026 06:00:00 +0000\r\n"
        b"Message-ID: <%s@here.test>\r\n")

BODIES = {
    "plain": b"Subject: plain\r\n\r\nhello\r\n",
    "empty": b"Subject: empty\r\n\r\n",
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n...\r\n.x\r\n",
    "8bit": "Subject: 8bit\r\n\r\nGrüße, ∀x\r\n".encode(),
    "998": b"Subject: 998\r\n\r\n" + b"x" * 998 + b"\r\n",
    "large": b"Subject: large\r\n\r\n" + b"line of 40 megabytes\r\n" * 1820000,
}

needs_root = pytest.mark.skipif(os.geteuid() != 0,
                                reason="Postfix must be started by root")


@pytest.fixture(params=["chunking", "data"])
def far(request):
    """A Postfix that keeps mail for far.test in Maildirs."""
    who = pwd.getpwnam("nobody")
    p = Postfix()
    mail = os.path.join(p.dir, "mail")
    os.mkdir(mail)
    os.chown(mail, who.pw_uid, who.pw_gid)
    p.settings = """
mydestination =
virtual_mailbox_domains = far.test
virtual_mailbox_base = %s
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:%d
virtual_gid_maps = static:%d
virtual_mailbox_limit = 0
message_size_limit = 0
smtpd_discard_ehlo_keywords = %s
""" % (mail, who.pw_uid, who.pw_gid,
       "chunking" if request.param == "data" else "")
    p.verb = "bdat" if request.param == "chunking" else "data"
    with p:
        yield p


def stored(p):
    """The messages as Postfix stored them, without what was put in front."""
    found = {}
    for path in glob.glob(os.path.join(p.dir, "mail", "box", "new", "*")):
        with open(path, "rb") as f:
            text = f.read()
        at = text.index(b"Subject: ")
        found[text[at + 9:].split(b"\n")[0].decode()] = text[at:]
    return found


@needs_root
def test_bodies_reach_postfix_byte_for_byte(mta, far):
    with DnsServer({"far.test": "@ MX 10 mx\nmx A 127.0.0.1"}) as dns:
        m = mta("run", {"dns.servers": [dns.address], "send.port": far.port,
                        "send.session_linger": "60s"})
        with m.smtp() as s:
            for name, body in BODIES.items():
                s.sendmail("a@here.test", ["box@far.test"],
                           HEAD % name.encode() + body,
                           mail_options=["BODY=8BITMIME"])
        until("all stored", lambda: len(stored(far)) == len(BODIES))
        assert m.queued() == []
    for name, body in BODIES.items():
        assert stored(far)[name] == body.replace(b"\r\n", b"\n"), name
    # One session carried them all.
    assert far.log().count(": connect from") == 2  # and the harness's look
    m.stop()  # QUIT, without waiting for more mail
    until("its summary", lambda: " %s=%d" % (far.verb, len(BODIES)) in
          far.log())


@needs_root
def test_postfix_relays_to_us(mta):
    m = mta("run")
    with Postfix("mydestination =\nrelay_domains = here.test\n"
                 "message_size_limit = 0\n"
                 "relayhost = [127.0.0.1]:%d\n"
                 "smtp_tls_security_level = none\n" % m.port) as p:
        for name, body in BODIES.items():
            with Raw(p.host, p.port) as c:
                c.say("EHLO client.test")
                c.say("MAIL FROM:<a@client.test> BODY=8BITMIME")
                assert c.say("RCPT TO:<box@here.test>")[0] == 250
                c.say("DATA")
                stuffed = b"".join(
                    (b"." if line.startswith(b".") else b"") + line
                    for line in body.splitlines(keepends=True))
                c.send(HEAD % name.encode() + stuffed + b".\r\n")
                assert c.reply()[0] == 250, name
        until("all here", lambda: len(m.mailbox("box")) == len(BODIES), 60)
    for text in m.mailbox("box"):
        at = text.index(b"Subject: ")
        name = text[at + 9:].split(b"\n")[0].decode()
        assert text[at:] == BODIES[name].replace(b"\r\n", b"\n"), name
