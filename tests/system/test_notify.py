"""Notices that a sender asks for (RFC 3461), from the parameters of MAIL and
RCPT to the notice in a mailbox, whatever way the message takes."""

import email
import email.policy
import os
import signal

import pytest

from harness import Raw, until
from peer import Peer
from test_submit import Local, submit_socket

DSN = ("PIPELINING", "8BITMIME", "SIZE 100000000", "ENHANCEDSTATUSCODES",
       "DSN")
PLAIN = DSN[:-1]
BODY = b"From: s@src.test\r\nSubject: n\r\n\r\nThe body.\r\n"
ALIASES = """
one: joe@far.test
near: bob
both: bob, joe@far.test
list: bob, joe@far.test
owner-list: lister
nested: both
"""


def system(mta, peer=None, command="run", **settings):
    """Mailboxes for all of src.test (of senders) and here.test; far.test is
    the peer."""
    more = {"local.domains": ["src.test", "here.test"],
            "send.retry_min": "1h", "send.retry_max": "1h"}
    more.update({k.replace("__", "."): v for k, v in settings.items()})
    if peer is not None:
        more["send.routes"] = ["far.test=[127.0.0.1]:%d" % peer.port]
    m = mta(command, more, start=False)
    aliases = os.path.join(m.dir, "aliases")
    with open(aliases, "w", encoding="utf-8") as f:
        f.write(ALIASES)
    m.settings["local.aliases"] = aliases
    m.write_conf()
    return m.start()


def submit(m, rcpts, mail="", sender="s@src.test", body=BODY):
    """rcpts: each with its parameters, "<joe@far.test> NOTIFY=NEVER"."""
    with m.raw() as c:
        c.say("EHLO client.test")
        assert c.say("MAIL FROM:<%s> %s" % (sender, mail))[0] == 250
        for r in rcpts:
            assert c.say("RCPT TO:" + r)[0] == 250, r
        assert c.say("DATA")[0] == 354
        c.send(body)
        code, lines = c.say(".")
        assert code == 250
    return lines[0].split()[-1]


class Notice:
    def __init__(self, raw):
        self.raw = raw
        m = email.message_from_bytes(raw, policy=email.policy.default)
        assert not m.defects
        assert m.get_content_type() == "multipart/report"
        assert m["Return-Path"] in ("<>", None)  # Exim adds none
        self.message = m
        self.text, report, self.returned = m.get_payload()
        self.type = report.get_content_type()
        self.fields, *self.rcpts = report.get_payload()

    def values(self, name):
        return [r[name] for r in self.rcpts]


def notices(m, user="s", n=1):
    return [Notice(raw) for raw in m.copies(user, n)]


def no_notice(m, user="s"):
    """After all is settled."""
    until("nothing is queued", lambda: not m.queued())
    assert m.mailbox(user) == []


# --- what is said at MAIL and RCPT ------------------------------------------

MAIL = [
    ("RET=FULL", 250, ""),
    ("ret=hdrs ENVID=a+2Bb", 250, ""),
    ("RET=ALL", 501, "RET"),
    ("RET", 501, "RET"),
    ("RET=FULL RET=HDRS", 501, "Duplicate"),
    ("ENVID=" + "x" * 100, 250, ""),
    ("ENVID=" + "x" * 101, 501, "longer"),
    ("ENVID=a+0A", 501, "unprintable"),
    ("ENVID=a+2", 501, "xtext"),
    ("ENVID", 501, "ENVID"),
    ("NOTIFY=NEVER", 555, "NOTIFY"),
    ("ORCPT=rfc822;a@b", 555, "ORCPT"),
]
RCPT = [
    ("NOTIFY=NEVER", 250, ""),
    ("NOTIFY=success,FAILURE,Delay ORCPT=rfc822;a+2Bb@c", 250, ""),
    ("NOTIFY=NEVER,SUCCESS", 501, "alone"),
    ("NOTIFY=SUCCESS,SUCCESS", 501, "twice"),
    ("NOTIFY=ALWAYS", 501, "NOTIFY"),
    ("NOTIFY=", 501, "parameter"),
    ("NOTIFY", 501, "NOTIFY"),
    ("NOTIFY=DELAY NOTIFY=DELAY", 501, "Duplicate"),
    ("ORCPT=a@b", 501, "ORCPT"),
    ("ORCPT=rfc822;" + "x" * 493, 250, ""),
    ("ORCPT=rfc822;" + "x" * 494, 501, "longer"),
    ("ORCPT=utf-8;j\\x{F6}@b", 250, ""),
    ("ORCPT=utf-8;j\u00f6@b", 501, "SMTPUTF8"),
    ("ORCPT=rfc822;a=b@c", 501, "parameter"),
    ("RET=FULL", 555, "RET"),
    ("ENVID=x", 555, "ENVID"),
]


@pytest.fixture(scope="module")
def server(all_reports):
    from harness import Mta
    with Mta("serve", {"serve.max_errors": 1000,
                       "local.users": "any"}) as m:
        yield m


@pytest.mark.parametrize("command,params,code,why", [
    ("MAIL FROM:<a@b.test> ", *row) for row in MAIL] + [
    ("RCPT TO:<a@here.test> ", *row) for row in RCPT],
    ids=lambda x: str(x)[:40])
def test_parameters(server, command, params, code, why):
    with server.raw() as c:
        assert "DSN" in c.say("EHLO client.test")[1]
        if command.startswith("RCPT"):
            assert c.say("MAIL FROM:<a@b.test>")[0] == 250
        got, lines = c.say(command + params)
    assert got == code, lines
    assert why in lines[0]
    if code == 501:
        assert lines[0].startswith("5.5.4 ")


@pytest.mark.parametrize("setting,networks,offered", [
    ("all", [], True), ("relay_networks", ["127.0.0.1/32"], True),
    ("relay_networks", [], False), ("none", ["127.0.0.1/32"], False)])
def test_to_whom_it_is_offered(mta, setting, networks, offered):
    m = mta("serve", {"serve.dsn": setting, "local.users": "any",
                      "serve.relay_networks": networks})
    mail, rcpt = "MAIL FROM:<a@b.test>", "RCPT TO:<a@here.test>"
    with m.raw() as c:
        assert ("DSN" in c.say("EHLO client.test")[1]) == offered
        if not offered:
            for more in ("RET=FULL", "ENVID=x", "RET=none"):
                code, lines = c.say("%s %s" % (mail, more))
                assert (code, lines[0][:6]) == (555, "5.5.4 "), lines
        assert c.say(mail + (" RET=HDRS" if offered else ""))[0] == 250
        for more in ("NOTIFY=SUCCESS", "ORCPT=rfc822;x@y.test"):
            assert c.say("%s %s" % (rcpt, more))[0] == (
                250 if offered else 555)
        assert c.say(rcpt)[0] == 250


def test_programs_of_this_host_may_always_ask(mta):
    """Or an option of sendmail would cost the message."""
    m = mta("serve", {"serve.dsn": "none"})
    with Local(submit_socket(m)) as c:
        assert "DSN" in c.say("EHLO client.test")[1]
        assert c.say("MAIL FROM:<a@b.test> RET=HDRS")[0] == 250
        assert c.say("RCPT TO:<a@here.test> NOTIFY=NEVER")[0] == 250


# --- success ----------------------------------------------------------------

def test_delivered(mta):
    """Only to the recipient for which it was asked; RET is for failures."""
    m = system(mta, command="serve")
    submit(m, ["<bob@here.test> NOTIFY=SUCCESS ORCPT=rfc822;Bob+2Bx@x.test",
               "<ann@here.test> NOTIFY=FAILURE,DELAY", "<eve@here.test>"],
           "RET=FULL ENVID=QQ+2B31")
    [n] = notices(m)
    assert n.fields["Original-Envelope-Id"] == "QQ+31"
    assert n.values("Original-Recipient") == ["rfc822;Bob+x@x.test"]
    assert n.values("Final-Recipient") == ["rfc822;bob@here.test"]
    assert n.values("Action") == ["delivered"]
    assert n.values("Status")[0].startswith("2.")
    [said] = m.events("queue.notified")
    assert said["action"] == "delivered" and said["nrcpt"] == "1"
    assert said["to"] == "s@src.test" and said["queue"] == "local"
    assert m.events("serve.accepted", id=said["id"])
    assert m.events("deliver.delivered", id=said["notice"])
    assert n.returned.get_content_type() == "text/rfc822-headers"
    assert b"The body" not in n.raw


def test_one_notice_for_many(mta):
    m = system(mta, command="serve")
    submit(m, ["<u%d@here.test> NOTIFY=SUCCESS" % i for i in range(20)])
    until("all are reported", lambda: sum(
        len(Notice(raw).rcpts) for raw in m.mailbox("s")) == 20)
    assert len(m.mailbox("s")) < 20


def test_relayed_by_a_host_without_dsn(mta):
    with Peer(extensions=PLAIN) as peer:
        m = system(mta, peer)
        submit(m, ["<joe@far.test> NOTIFY=SUCCESS ORCPT=rfc822;j@x.test",
                   "<ann@far.test> NOTIFY=FAILURE"], "ENVID=e1 RET=HDRS")
        [n] = notices(m)
        [message] = peer.messages
        assert message.sender.split() == ["MAIL", "FROM:<s@src.test>",
                                          "SIZE=%d" % len(message.data)]
        assert message.rcpts == ["RCPT TO:<joe@far.test>",
                                 "RCPT TO:<ann@far.test>"]
    assert n.values("Action") == ["relayed"]
    assert n.values("Original-Recipient") == ["rfc822;j@x.test"]
    assert n.fields["Original-Envelope-Id"] == "e1"


def test_passed_on_to_a_host_with_dsn(mta):
    """As it came; that host reports.  Nothing is added for a recipient
    without a request; one without ORCPT gets its own address."""
    with Peer(extensions=DSN) as peer:
        m = system(mta, peer)
        submit(m, ["<joe@far.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;j+2Bx@y",
                   "<ann+x@far.test> NOTIFY=NEVER", "<eve@far.test>",
                   "<kim@far.test> ORCPT=utf-8;k\\x{F6}@far.test"],
               "RET=HDRS ENVID=a+3Db")
        until("taken", lambda: peer.messages)
        [message] = peer.messages
        assert message.sender.endswith(" RET=HDRS ENVID=a+3Db")
        assert message.rcpts == [
            "RCPT TO:<joe@far.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;j+2Bx@y",
            "RCPT TO:<ann+x@far.test> NOTIFY=NEVER"
            " ORCPT=rfc822;ann+2Bx@far.test",
            "RCPT TO:<eve@far.test>",
            "RCPT TO:<kim@far.test> ORCPT=utf-8;k\\x{F6}@far.test"]
        no_notice(m)


def test_null_reverse_path_gets_none(mta):
    m = system(mta, command="serve")
    submit(m, ["<bob@here.test> NOTIFY=SUCCESS"], sender="")
    m.copies("bob")
    until("nothing is queued", lambda: not m.queued())
    assert os.listdir(m.mail) == ["bob"]


# --- failure and delay ------------------------------------------------------

def test_failure_only_if_it_is_wanted(mta):
    answers = {"RCPT": "550 5.1.1 no such user"}
    with Peer(extensions=PLAIN, answers=answers) as peer:
        m = system(mta, peer)
        submit(m, ["<a@far.test> NOTIFY=NEVER", "<b@far.test> NOTIFY=SUCCESS",
                   "<c@far.test> NOTIFY=DELAY", "<d@far.test>",
                   "<e@far.test> NOTIFY=FAILURE ORCPT=rfc822;e@x.test"],
               "ENVID=7")
        [n] = notices(m)
    assert n.values("Final-Recipient") == ["rfc822;d@far.test",
                                           "rfc822;e@far.test"]
    assert n.values("Original-Recipient") == [None, "rfc822;e@x.test"]
    assert n.fields["Original-Envelope-Id"] == "7"


@pytest.mark.parametrize("mail,size,kind", [
    ("", 10, "text/rfc822-headers"),
    ("RET=HDRS", 10, "text/rfc822-headers"),
    ("RET=FULL", 10, "message/rfc822"),
    ("RET=FULL", 300 * 1024, "message/rfc822"),
    ("RET=FULL", 2 * 1024 * 1024, "text/rfc822-headers"),
], ids=str)
def test_returned_content(mta, mail, size, kind):
    body = BODY + b"%s\r\n" % (b"x" * 78) * (size // 80) + b"the end\r\n"
    with Peer(extensions=PLAIN, answers={"RCPT": "550 no"}) as peer:
        m = system(mta, peer)
        submit(m, ["<a@far.test>"], mail, body=body)
        [n] = notices(m)
    assert n.returned.get_content_type() == kind
    assert (b"the end" in n.raw) == (kind == "message/rfc822")


def test_delay_only_if_it_is_wanted(mta):
    answers = {"RCPT": "450 4.2.0 later"}
    with Peer(extensions=PLAIN, answers=answers) as peer:
        m = system(mta, peer, send__warn_after="1s", send__retry_min="1s",
                   send__retry_max="1s")
        submit(m, ["<a@far.test> NOTIFY=FAILURE", "<b@far.test> NOTIFY=DELAY",
                   "<c@far.test>", "<d@far.test> NOTIFY=NEVER"])
        [n] = notices(m)
    assert set(n.values("Action")) == {"delayed"}
    assert n.values("Final-Recipient") == ["rfc822;b@far.test",
                                           "rfc822;c@far.test"]


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("eight_bit", [True, False])
def test_a_host_without_8bitmime(mta, declared, eight_bit):
    """RFC 6152: what is declared eight-bit, and is, does not go there."""
    body = BODY[:-2] + (b" \xe4" if eight_bit else b"") + b"\r\n"
    with Peer(extensions=["PIPELINING"]) as peer:
        m = system(mta, peer)
        submit(m, ["<a@far.test>"], "BODY=8BITMIME" if declared else "",
               body=body)
        if declared and eight_bit:
            [n] = notices(m)
            assert n.values("Status") == ["5.6.3"]
            assert "8BITMIME is required" in n.text.get_content()
            assert not peer.messages
            return
        until("taken", lambda: peer.messages)
        assert peer.messages[0].sender == "MAIL FROM:<s@src.test>"
        assert peer.messages[0].data.endswith(body)


def test_a_notice_goes_to_a_host_without_8bitmime(mta):
    """Its text and the returned header are beyond ASCII."""
    with Peer(extensions=["PIPELINING"]) as peer:
        m = system(mta, peer)
        submit(m, ["<j\u00f6@here.test> NOTIFY=SUCCESS"], "SMTPUTF8",
               sender="s@far.test",
               body="Subject: \u00fc\r\n\r\nx\r\n".encode())
        [message] = until("taken", lambda: peer.messages)
    assert message.data.isascii()
    m = email.message_from_bytes(message.data, policy=email.policy.default)
    text, _, header = m.get_payload()
    assert "j\u00f6@here.test" in text.get_content()
    assert "Subject: \u00fc" in header.get_content()


# --- aliases (RFC 3461 5.2.7) -----------------------------------------------

def test_alias_of_one_passes_everything_on(mta):
    with Peer(extensions=DSN) as peer:
        m = system(mta, peer)
        submit(m, ["<one@here.test> NOTIFY=SUCCESS,FAILURE"],
               "ENVID=9 RET=FULL")
        until("taken", lambda: peer.messages)
        [message] = peer.messages
        assert message.sender.endswith(" RET=FULL ENVID=9")
        assert message.rcpts == [
            "RCPT TO:<joe@far.test> NOTIFY=SUCCESS,FAILURE"
            " ORCPT=rfc822;one@here.test"]
        no_notice(m)


def test_alias_of_one_mailbox(mta):
    m = system(mta, command="serve")
    submit(m, ["<near@here.test> NOTIFY=SUCCESS"])
    [n] = notices(m)
    assert n.values("Action") == ["delivered"]
    assert n.values("Final-Recipient") == ["rfc822;near@here.test"]


@pytest.mark.parametrize("asked,passed,reported", [
    ("SUCCESS", "NEVER", True),
    ("SUCCESS,FAILURE", "FAILURE", True),
    ("FAILURE,DELAY", "FAILURE,DELAY", False),
    ("NEVER", "NEVER", False),
])
@pytest.mark.parametrize("name", ["both", "nested"])
def test_alias_of_several_is_expanded(mta, name, asked, passed, reported):
    with Peer(extensions=DSN) as peer:
        m = system(mta, peer)
        submit(m, ["<%s@here.test> NOTIFY=%s ORCPT=rfc822;x@y.test"
                   % (name, asked)], "ENVID=e")
        until("taken", lambda: peer.messages)
        m.copies("bob")
        [message] = peer.messages
        assert message.sender.endswith(" ENVID=e")
        assert message.rcpts == [
            "RCPT TO:<joe@far.test> NOTIFY=%s ORCPT=rfc822;x@y.test" % passed]
        if not reported:
            no_notice(m)
            return
        [n] = notices(m)
    assert n.values("Action") == ["expanded"]
    assert n.values("Final-Recipient") == ["rfc822;%s@here.test" % name]
    assert n.values("Original-Recipient") == ["rfc822;x@y.test"]
    assert n.values("Status") == ["2.0.0"]


def test_without_a_request_an_alias_of_several_reports_nothing(mta):
    with Peer(extensions=DSN) as peer:
        m = system(mta, peer)
        submit(m, ["<both@here.test>"])
        until("taken", lambda: peer.messages)
        assert peer.messages[0].rcpts == [
            "RCPT TO:<joe@far.test> ORCPT=rfc822;both@here.test"]
        no_notice(m)


def test_list_is_the_end_of_the_message(mta):
    """Delivered to the list; its members are the owner's business."""
    with Peer(extensions=DSN) as peer:
        m = system(mta, peer)
        submit(m, ["<list@here.test> NOTIFY=SUCCESS,DELAY"], "ENVID=e")
        until("taken", lambda: peer.messages)
        [message] = peer.messages
        assert message.sender.startswith("MAIL FROM:<owner-list@here.test> ")
        assert "ENVID" not in message.sender
        assert message.rcpts == ["RCPT TO:<joe@far.test>"]
        [n] = notices(m)
    assert n.values("Action") == ["delivered"]
    assert n.values("Final-Recipient") == ["rfc822;list@here.test"]


def test_a_mailbox_reached_twice_reports_for_both(mta):
    """By an alias of several that wants nothing, and by itself."""
    m = system(mta, command="serve")
    submit(m, ["<both@here.test> NOTIFY=NEVER",
               "<bob@here.test> NOTIFY=SUCCESS"])
    [n] = notices(m)
    assert n.values("Action") == ["delivered"]
    assert n.values("Final-Recipient") == ["rfc822;bob@here.test"]
    m.copies("bob")


def test_a_mailbox_that_a_list_reaches_too(mta):
    """Its one copy goes by the list, which reports nothing to the sender."""
    m = system(mta, command="serve")
    submit(m, ["<list@here.test> NOTIFY=NEVER",
               "<bob@here.test> NOTIFY=SUCCESS ORCPT=rfc822;b@x.test"])
    [n] = notices(m)
    assert n.values("Action") == ["expanded"]
    assert n.values("Final-Recipient") == ["rfc822;bob@here.test"]
    assert n.values("Original-Recipient") == ["rfc822;b@x.test"]
    m.copies("bob")


def test_an_unknown_member_of_an_alias(mta):
    """RFC 3461 5.2.7.3: its failure is reported as the sender asked."""
    m = system(mta, command="serve")
    users = os.path.join(m.dir, "users")
    with open(users, "w", encoding="utf-8") as f:
        f.write("bob\ns\nt\n")
    with open(m.settings["local.aliases"], "a", encoding="utf-8") as f:
        f.write("half: bob, gone\n")
    m.settings["local.users"] = "file:" + users
    m.write_conf()
    m.stop()
    m.start()
    submit(m, ["<half@here.test> NOTIFY=FAILURE ORCPT=rfc822;h@x.test"],
           "ENVID=half")
    submit(m, ["<half@here.test> NOTIFY=NEVER"], sender="t@src.test")
    [n] = notices(m)
    m.copies("bob", 2)
    assert n.values("Action") == ["failed"]
    assert n.values("Final-Recipient") == ["rfc822;gone@here.test"]
    assert n.values("Original-Recipient") == ["rfc822;h@x.test"]
    assert n.fields["Original-Envelope-Id"] == "half"
    no_notice(m, "t")


# --- other queues, and restarts ----------------------------------------------

def test_mixed_recipients_keep_what_they_asked_for(mta):
    """The remote one goes over to the other queue."""
    with Peer(extensions=DSN) as peer:
        m = system(mta, peer)
        submit(m, ["<bob@here.test> NOTIFY=SUCCESS",
                   "<joe@far.test> NOTIFY=DELAY ORCPT=rfc822;x@y.test"],
               "RET=HDRS ENVID=m")
        [n] = notices(m)
        until("taken", lambda: peer.messages)
        [message] = peer.messages
    assert n.values("Final-Recipient") == ["rfc822;bob@here.test"]
    assert message.sender.endswith(" RET=HDRS ENVID=m")
    assert message.rcpts == [
        "RCPT TO:<joe@far.test> NOTIFY=DELAY ORCPT=rfc822;x@y.test"]


def test_kept_through_a_restart(mta):
    with Peer(extensions=DSN, answers={"RCPT": ["451 later"]}) as peer:
        m = system(mta, peer)
        submit(m, ["<one@here.test> NOTIFY=SUCCESS"], "ENVID=r RET=FULL")
        until("tried", lambda: m.events("send.deferred"))
        m.kill_all()
        m.start()
        until("started", lambda: len(m.events("send.start")) == 2)
        m.kill(signal.SIGUSR1)
        until("taken", lambda: peer.messages)
        [message] = peer.messages
        assert message.sender.endswith(" RET=FULL ENVID=r")
        assert message.rcpts == ["RCPT TO:<joe@far.test> NOTIFY=SUCCESS"
                                 " ORCPT=rfc822;one@here.test"]
        no_notice(m)


def test_shown_by_queue_show(mta):
    with Peer(extensions=DSN, answers={"RCPT": "451 later"}) as peer:
        m = system(mta, peer)
        id = submit(m, ["<joe@far.test> NOTIFY=NEVER ORCPT=rfc822;j@x"],
                    "ENVID=s")
        shown = m.tool("queue", "show", id).stdout.decode()
    assert "NEVER" in shown and "rfc822;j@x" in shown


# --- addresses beyond ASCII (RFC 6533) ---------------------------------------

def test_notice_to_an_ascii_sender_is_ascii(mta):
    m = system(mta, command="serve")
    submit(m, ["<j\u00f6e@here.test> NOTIFY=SUCCESS"
               " ORCPT=utf-8;\u00e4\\x{2B}@x.test"], "SMTPUTF8")
    [n] = notices(m)
    assert n.type == "message/delivery-status"
    assert n.values("Final-Recipient") == ["utf-8;j\\x{F6}e@here.test"]
    assert n.values("Original-Recipient") == ["utf-8;\\x{E4}\\x{2B}@x.test"]


def test_notice_to_a_utf8_sender_is_global(mta):
    m = system(mta, command="serve")
    submit(m, ["<j\u00f6e@here.test> NOTIFY=SUCCESS"
               " ORCPT=utf-8;\u00e4@x.test"], "SMTPUTF8",
           sender="\u00e9@src.test",
           body="Subject: \u00fc\r\n\r\nx\r\n".encode())
    [raw] = m.copies("\u00e9")
    m = email.message_from_bytes(raw)
    kinds = [p.get_content_type() for p in m.get_payload()]
    assert kinds[1:] == ["message/global-delivery-status",
                         "message/global-headers"]
    assert "Final-Recipient: utf-8;j\u00f6e@here.test\n".encode() in raw
    assert "Original-Recipient: utf-8;\u00e4@x.test\n".encode() in raw
    assert "Subject: \u00fc\n".encode() in raw
