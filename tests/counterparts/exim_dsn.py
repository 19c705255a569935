#!/usr/bin/python3
"""Requests for notices (RFC 3461) through Exim as Debian packs it, with DSN
offered: to it and from it, each notice read by a MIME parser.

usage: exim_dsn.py; needs root and tests/bench/unpack.sh.  Exit status 1 if a
notice is missing, or is not what it has to be."""

import glob
import os
import sys

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, d)
                for d in ("bench", "system", "counterparts")]

import account  # noqa: E402  (the path must be set first)
import harness  # noqa: E402
import place  # noqa: E402
from counterparts import change  # noqa: E402
from peer_exim import NEXT_HOP, OUT, Exim  # noqa: E402
from peer import Peer  # noqa: E402
from test_notify import BODY, Notice, submit  # noqa: E402


class DsnExim(Exim):
    """Mailboxes user0 ... of exim.test; all else goes to us."""

    def configure(self):
        super().configure()
        hop = NEXT_HOP % {"hop": "127.0.0.1::%d byname" % self.ours}
        hop = hop.replace("route_list", "domains = ! +mine\n  route_list")
        change(self.root + "/etc/exim4/exim4.conf",
               ("localhost : local.test", "localhost : exim.test"),
               ("begin routers", "dsn_advertise_hosts = *\nbegin routers"),
               ("begin transports", hop + "begin transports"),
               ("begin retry", OUT % {"out_tls": "hosts_avoid_tls"}
                + "begin retry"))

    def mailbox(self, user):
        found = []
        for path in glob.glob(os.path.join(self.mail, user, "new", "*")):
            with open(path, "rb") as f:
                found.append(f.read())
        return found


def one_notice(m, user):
    [raw] = harness.until("a notice for " + user, lambda: m.mailbox(user), 60)
    return Notice(raw)


def expect(n, host, action, envid, orcpt):
    assert n.fields["Reporting-MTA"] == "dns; " + host, n.raw
    assert n.fields["Original-Envelope-Id"] == envid, n.raw
    assert n.values("Action") == [action], n.raw
    assert n.values("Original-Recipient") == [orcpt], n.raw


def through(exim, sender, rcpt, mail):
    with harness.Raw("127.0.0.1", exim.port) as c:
        assert "DSN" in c.say("EHLO client.test")[1]
        assert c.say("MAIL FROM:<%s> %s" % (sender, mail))[0] == 250
        assert c.say("RCPT TO:" + rcpt)[0] == 250
        c.say("DATA")
        c.send(BODY)
        assert c.say(".")[0] == 250


def play(m, exim):
    submit(m, ["<user1@exim.test> NOTIFY=SUCCESS ORCPT=rfc822;u1@x.test"],
           "RET=HDRS ENVID=ours", sender="a@src.test")
    expect(one_notice(m, "a"), "exim.test", "delivered", "ours",
           "rfc822;u1@x.test")
    submit(m, ["<nobody@exim.test> NOTIFY=NEVER"], sender="b@src.test")
    through(exim, "user2@exim.test", "<joe@here.test> NOTIFY=SUCCESS"
            " ORCPT=rfc822;j@y.test", "ENVID=theirs RET=FULL")
    expect(one_notice(exim, "user2"), "mx.here.test", "delivered", "theirs",
           "rfc822;j@y.test")
    through(exim, "user3@exim.test", "<zoe@gone.test> NOTIFY=FAILURE"
            " ORCPT=rfc822;z@y.test", "ENVID=fails RET=FULL")
    n = one_notice(exim, "user3")
    expect(n, "mx.here.test", "failed", "fails", "rfc822;z@y.test")
    assert n.returned.get_content_type() == "message/rfc822", n.raw
    harness.until("our queue is empty", lambda: not m.queued())
    assert m.mailbox("b") == []


def main():
    base = os.path.join(harness.ROOT, "build")
    place.enter([os.path.abspath(__file__), *sys.argv[1:]], base)
    account.Group.run = os.path.basename(os.environ[place.TOP])
    exim = DsnExim(place.Place(0), "maildir")
    with Peer(answers={"RCPT": "550 5.1.1 no such user"}) as gone, \
            harness.Mta("run", {
                "local.domains": ["src.test", "here.test"],
                "send.routes": ["exim.test=[127.0.0.1]:%d" % exim.port,
                                "gone.test=[127.0.0.1]:%d" % gone.port]}) as m:
        exim.ours = m.port
        with exim:
            play(m, exim)
    print("all notices came")
    return 0


if __name__ == "__main__":
    sys.exit(main())
