"""Requests for notices (RFC 3461) through a whole Postfix, which offers DSN
too: there and back again, each notice read by a MIME parser."""

import glob
import os
import pwd

import pytest

from harness import Raw, free_port, until
from postfix import Postfix
from test_notify import BODY, Notice, submit

pytestmark = pytest.mark.skipif(os.geteuid() != 0,
                                reason="Postfix must be started by root")


class Far(Postfix):
    """Keeps mail for far.test in Maildirs; all else goes to us."""

    def __init__(self, ours, more=""):
        super().__init__()
        who = pwd.getpwnam("nobody")
        self.mail = os.path.join(self.dir, "mail")
        os.mkdir(self.mail)
        os.chown(self.mail, who.pw_uid, who.pw_gid)
        self.settings = """
mydestination =
virtual_mailbox_domains = far.test
virtual_mailbox_base = %s
virtual_mailbox_maps = inline:{box@far.test=box/, s@far.test=s/}
virtual_minimum_uid = 1
virtual_uid_maps = static:%d
virtual_gid_maps = static:%d
relayhost = [127.0.0.1]:%d
smtp_tls_security_level = none
%s
""" % (self.mail, who.pw_uid, who.pw_gid, ours, more)

    def mailbox(self, user):
        found = []
        for path in glob.glob(os.path.join(self.mail, user, "new", "*")):
            with open(path, "rb") as f:
                found.append(f.read())
        return found


@pytest.fixture
def pair(mta):
    """Us, and a Postfix whose mail goes to us as ours goes there."""
    m = mta("run", start=False)

    def make(more=""):
        far = Far(m.port, more)
        m.settings.update({
            "local.domains": ["src.test", "here.test"],
            "send.routes": [
                "far.test=[127.0.0.1]:%d" % far.port]})
        m.write_conf()
        m.start()
        return m, far
    yield make


def one_notice(m, user="s"):
    [raw] = until("a notice", lambda: m.mailbox(user), 60)
    return Notice(raw)


def test_postfix_reports_what_we_passed_on(pair):
    m, far = pair()
    with far:
        submit(m, ["<box@far.test> NOTIFY=SUCCESS ORCPT=rfc822;B+2B@x.test"],
               "RET=HDRS ENVID=from+2Bus")
        n = one_notice(m)
        until("nothing is queued", lambda: not m.queued())
        assert len(far.mailbox("box")) == 1
    assert n.fields["Reporting-MTA"] == "dns; postfix.test"
    assert n.fields["Original-Envelope-Id"] == "from+us"
    assert n.values("Original-Recipient") == ["rfc822;B+@x.test"]
    assert n.values("Final-Recipient") == ["rfc822; box@far.test"]
    assert n.values("Action") == ["delivered"]


def test_postfix_never_reports_what_nobody_wants(pair):
    """An unknown recipient, first found by Postfix itself."""
    m, far = pair("smtpd_reject_unlisted_recipient = no\n")
    with far:
        submit(m, ["<zoe@far.test> NOTIFY=NEVER"])
        until("postfix gave up", lambda: "status=bounced" in far.log())
        submit(m, ["<zed@far.test> NOTIFY=FAILURE"], "ENVID=2")
        n = one_notice(m)
    assert n.values("Action") == ["failed"]
    assert n.values("Final-Recipient") == ["rfc822; zed@far.test"]
    assert n.fields["Original-Envelope-Id"] == "2"


def test_without_dsn_at_postfix_we_report(pair):
    m, far = pair("smtpd_discard_ehlo_keywords = dsn\n")
    with far:
        submit(m, ["<box@far.test> NOTIFY=SUCCESS"], "ENVID=3")
        n = one_notice(m)
        until("taken", lambda: far.mailbox("box"))
    assert n.fields["Reporting-MTA"] == "dns; mx.here.test"
    assert n.fields["Original-Envelope-Id"] == "3"
    assert n.values("Action") == ["relayed"]
    assert n.values("Remote-MTA") == ["dns; [127.0.0.1]"]


def through(far, rcpt, mail=""):
    with Raw(far.host, far.port) as c:
        c.say("EHLO client.test")
        assert c.say("MAIL FROM:<s@far.test> " + mail)[0] == 250
        assert c.say("RCPT TO:" + rcpt)[0] == 250
        c.say("DATA")
        c.send(BODY)
        assert c.say(".")[0] == 250


def test_we_report_what_postfix_passed_on(pair):
    m, far = pair()
    with far:
        through(far, "<joe@here.test> NOTIFY=SUCCESS,FAILURE"
                " ORCPT=rfc822;J+2Bx@y.test", "RET=FULL ENVID=from+2Bpostfix")
        n = one_notice(far)
        assert len(m.copies("joe")) == 1
    assert n.fields["Reporting-MTA"] == "dns; mx.here.test"
    assert n.fields["Original-Envelope-Id"] == "from+postfix"
    assert n.values("Original-Recipient") == ["rfc822;J+x@y.test"]
    assert n.values("Final-Recipient") == ["rfc822;joe@here.test"]
    assert n.values("Action") == ["delivered"]


def test_our_failure_returns_to_postfix_whole(pair):
    port = free_port()  # nobody listens there
    m, far = pair()
    m.settings["send.routes"] += ["gone.test=[127.0.0.1]:%d" % port]
    m.settings["send.queue_lifetime"] = "1s"
    m.write_conf()
    m.stop()
    m.start()
    with far:
        through(far, "<joe@gone.test> NOTIFY=FAILURE", "RET=FULL ENVID=5")
        n = one_notice(far)
    assert n.values("Action") == ["failed"]
    assert n.values("Status") == ["5.4.7"]
    assert n.fields["Original-Envelope-Id"] == "5"
    # Postfix gives each recipient an ORCPT.
    assert n.values("Original-Recipient") == ["rfc822;joe@gone.test"]
    assert n.returned.get_content_type() == "message/rfc822"
    assert b"The body." in n.raw
