"""rewrite.from, rewrite.root and rewrite.rules: addresses of the envelope and
of the header, where a message comes in."""

import email
import email.policy
import json

import pytest

from harness import until
from peer import Peer
from test_submit import Local, send, submit_socket

CRON = (b"From: root (Cron Daemon)\r\nTo: root\r\nCc: Ann <ann>,\r\n"
        b"\t\"Bob, Jr.\" <bob@far.test>\r\nSubject: Cron job\r\n"
        b"\r\nFrom: root\r\n")


def null_client(mta, hop, command="run", **more):
    return mta(command, {"hostname": "box.test",
                         "send.relay_host": "[127.0.0.1]:%d" % hop.port,
                         "local.domains": ["localhost", "box.test"],
                         "rewrite.from": "me@isp.test",
                         "rewrite.root": "admin@corp.test", **more})


def say(m, sender, rcpts, body, source=None):
    """Replies to the recipients and the dot."""
    with m.raw() as c:
        c.say("EHLO client.test")
        assert c.say("MAIL FROM:<%s>" % sender)[0] == 250
        codes = [c.say("RCPT TO:<%s>" % r)[0] for r in rcpts]
        if 250 in codes:
            c.say("DATA")
            c.send(body)
            codes.append(c.say(".")[0])
    return codes


def the_one(hop):
    until("a message", lambda: hop.messages)
    [m] = hop.messages
    return m, email.message_from_bytes(m.data, policy=email.policy.default)


def path(line):
    return line.split("<")[1].split(">")[0]


def test_a_null_client(mta):
    """What cron sends: bare names in envelope and header, root's mail."""
    with Peer() as hop:
        m = null_client(mta, hop)
        assert say(m, "root", ["root"], CRON) == [250, 250]
        got, text = the_one(hop)
    assert path(got.sender) == "me@isp.test"
    assert [path(r) for r in got.rcpts] == ["admin@corp.test"]
    assert text["From"].addresses[0].addr_spec == "me@isp.test"
    assert b"\r\nFrom: me@isp.test (Cron Daemon)\r\n" in got.data
    assert b"\r\nTo: root@box.test\r\nCc: Ann <ann@box.test>,\r\n" \
           b"\t\"Bob, Jr.\" <bob@far.test>\r\n" in got.data
    assert got.data.endswith(b"\r\n\r\nFrom: root\r\n")


@pytest.mark.parametrize("rcpt", ["root", "ROOT@BOX.test", "root@localhost",
                                  "root+tag@box.test", "postmaster",
                                  "ops@box.test"])
def test_every_way_to_root(mta, tmp_path, rcpt):
    with Peer() as hop:
        aliases = str(tmp_path / "aliases")
        with open(aliases, "w", encoding="utf-8") as f:
            f.write("root: somebody@else.test\nops: root\n")
        m = null_client(mta, hop, **{"local.aliases": aliases})
        assert say(m, "app@box.test", [rcpt], CRON) == [250, 250]
        got, _ = the_one(hop)
    assert [path(r) for r in got.rcpts] == ["admin@corp.test"]


@pytest.mark.parametrize("unix", [True, False])
def test_postmaster_alone_is_of_this_host(mta, unix):
    """RFC 5321 4.5.1; also where the host's name is none of its domains."""
    m = mta("serve", {"rewrite.from": "me@isp.test"})
    with Local(submit_socket(m)) if unix else m.raw() as c:
        send(c, to="postmaster")
    assert len(m.copies("postmaster")) == 1


def test_the_story_names_the_rules(mta):
    with Peer() as hop:
        m = null_client(mta, hop, "serve", **{
            "rewrite.rules": ["both @old.test=@new.test"]})
        assert say(m, "root", ["x@old.test"], CRON) == [250, 250]
        [q] = m.queued()
        assert q["sender"] == "me@isp.test"
        assert q["recipients"][0]["address"] == "x@new.test"
        shown = m.tool("queue", "show", q["id"]).stdout.decode()
        assert "rewritten: sender root to me@isp.test by rewrite.from" in shown
        assert "rewritten: From root to me@isp.test by rewrite.from" in shown
        assert "rewritten: recipient x@old.test to x@new.test by rewrite.rules"\
               " \"both @old.test=@new.test\"" in shown
        late = json.loads(m.tool("queue", "show", q["id"],
                                 "--json").stdout)["late"]
        assert "by rewrite.from" in late[0]["rewritten"]


def test_a_notice_has_a_sender_that_the_smarthost_takes(mta):
    with Peer(answers={"RCPT": lambda s, line: "550 5.1.1 no" if "bad@" in line
                       else "250 ok"}) as hop:
        m = null_client(mta, hop)
        assert say(m, "root", ["bad@far.test"], CRON) == [250, 250]
        got, text = the_one(hop)
    assert path(got.sender) == "" and path(got.rcpts[0]) == "me@isp.test"
    assert text["From"].addresses[0].addr_spec == "me@isp.test"
    assert text["From"].addresses[0].display_name == "Mail Delivery System"


RULES = ["sender noreply@box.test=noreply@box.test",
         "recipient sales=team@corp.test", "recipient old@box.test=ann"]


def test_strangers_mail_is_not_touched_but_for_recipients(mta):
    with Peer() as hop:
        m = null_client(mta, hop, **{
            "serve.relay_networks": [], "serve.early_talk": "accept",
            "local.users": "any", "rewrite.rules": RULES})
        body = b"From: x@far.test\r\nTo: sales\r\n\r\nhi\r\n"
        assert say(m, "x@far.test", ["sales@box.test"], body) == [250, 250]
        got, _ = the_one(hop)
        assert path(got.sender) == "x@far.test"
        assert path(got.rcpts[0]) == "team@corp.test"
        assert b"\r\nFrom: x@far.test\r\nTo: sales\r\n" in got.data
        # a rule opens no relay, and a bare name is no address for a stranger
        with m.raw() as c:
            c.say("EHLO client.test")
            assert c.say("MAIL FROM:<root>")[0] in (501, 553)
            assert c.say("MAIL FROM:<a@far.test>")[0] == 250
            assert c.say("RCPT TO:<team@corp.test>")[0] == 550
            assert c.say("RCPT TO:<sales@far.test>")[0] == 550
            assert c.say("RCPT TO:<sales>")[0] in (501, 553)
            assert c.say("RCPT TO:<old@box.test>")[0] == 250
            c.say("DATA")
            c.send(body)
            assert c.say(".")[0] == 250
        until("delivered", lambda: m.mailbox("ann"))


def test_a_rule_makes_an_exception(mta):
    with Peer() as hop:
        m = null_client(mta, hop, **{"rewrite.rules": RULES})
        body = b"From: Robot <noreply@box.test>\r\n\r\nhi\r\n"
        assert say(m, "noreply", ["u@far.test"], body) == [250, 250]
        got, _ = the_one(hop)
    assert path(got.sender) == "noreply@box.test"
    assert b"\r\nFrom: Robot <noreply@box.test>\r\n" in got.data


def test_without_settings_nothing_changes(mta):
    with Peer() as hop:
        m = mta("run", {"send.relay_host": "[127.0.0.1]:%d" % hop.port})
        with m.raw() as c:
            c.say("EHLO client.test")
            assert c.say("MAIL FROM:<root>")[0] in (501, 553)
        assert say(m, "a@b.test", ["u@far.test"], CRON) == [250, 250]
        got, _ = the_one(hop)
    assert got.data.endswith(CRON)


def test_dkim_signs_what_leaves(mta):
    with Peer() as hop:
        m = mta("run", {"hostname": "box.test",
                        "send.relay_host": "[127.0.0.1]:%d" % hop.port,
                        "rewrite.from": "me@isp.test"}, start=False)
        m.tool("dkim", "keygen", "isp.test", "s", m.dir + "/key")
        m.settings["dkim.keys"] = ["isp.test:s:%s/key" % m.dir]
        m.write_conf()
        m.start()
        assert say(m, "root", ["u@far.test"], CRON) == [250, 250]
        got, text = the_one(hop)
    assert "d=isp.test" in text["DKIM-Signature"]
    assert path(got.sender) == "me@isp.test"


@pytest.mark.parametrize("key, value, why", [
    ("rewrite.from", "me", "not a whole address"),
    ("rewrite.from", "me@", "not an address"),
    ("rewrite.root", "root@box.test", "root of this host itself"),
    ("rewrite.rules", ["sendr a@b.test=c@d.test"], "did you mean 'sender'"),
    ("rewrite.rules", ["sender a@b.test"], "is no rule"),
    ("rewrite.rules", ["sender a b@c.test=d@e.test"], "not an address"),
])
def test_a_bad_rule_is_refused(mta, key, value, why):
    m = mta("run", {"hostname": "box.test",
                    "local.domains": ["box.test"], key: value}, start=False)
    done = m.tool("config", "--check", check=False)
    text = done.stderr.decode()
    assert done.returncode == 78
    assert why in text and ": %s: " % key in text, text
    m.settings.pop(key)
    m.write_conf()


def test_programs_of_this_host_need_no_setting(mta):
    """Bare names, and a header without what RFC 5322 demands."""
    m = mta("run", {"hostname": "box.test", "local.users": "any",
                    "local.domains": ["box.test"]})
    with Local(submit_socket(m)) as c:
        c.say("EHLO client.test")
        assert c.say("MAIL FROM:<root>")[0] == 250
        assert c.say("RCPT TO:<ann>")[0] == 250
        c.say("DATA")
        c.send(b"To: ann\r\n\r\nhi\r\n")
        assert c.say(".")[0] == 250
    until("delivered", lambda: m.mailbox("ann"))
    text = email.message_from_bytes(m.mailbox("ann")[0],
                                    policy=email.policy.default)
    assert text["From"] == "root@box.test" and text["To"] == "ann@box.test"
    assert text["Date"].datetime and text["Message-ID"].endswith("@box.test>")
    assert text["Return-Path"] == "<root@box.test>"


def test_route_names_the_setting(mta):
    with Peer() as hop:
        m = null_client(mta, hop)
        shown = m.tool("route", "root").stdout.decode()
    assert "root -> admin@corp.test (rewrite.root)\n" in shown
