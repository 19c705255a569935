"""Routes to LMTP hosts (RFC 2033), on ports and on Unix sockets: each
recipient has its own reply."""

import glob
import os
import pwd
import shutil
import signal
import subprocess

import pytest

from harness import free_port, until
from lmtp import LmtpPeer
from peer import Peer

BODY = b"Subject: x\r\n\r\nhi\r\n"
THREE = ["a@box.test", "b@box.test", "c@box.test"]


def submit(m, rcpts, body=BODY, sender="s@src.test"):
    with m.smtp() as s:
        return s.sendmail(sender, rcpts, body)


def address(line):
    return line[line.index("<") + 1:line.index(">")]


@pytest.fixture(params=["unix", "port"])
def host(request, tmp_path):
    # a path of a socket is short, whatever the directory of the test is
    path = "/tmp/mta-lmtp-%d-%s" % (os.getpid(), request.node.name[-20:].strip(
        "[]")) if request.param == "unix" else None
    try:
        with LmtpPeer(path) as p:
            p.hop = ("lmtp:unix:" + path if path
                     else "lmtp:127.0.0.1:%d" % p.port)
            yield p
    finally:
        if path and os.path.exists(path):
            os.unlink(path)


def test_delivers(mta, host):
    m = mta("run", {"send.routes": ["box.test=" + host.hop]})
    submit(m, THREE)
    until("delivered", lambda: host.messages)
    assert host.lines()[0][0].startswith("LHLO ")
    assert sorted(map(address, host.messages[0].rcpts)) == THREE
    assert host.messages[0].data.endswith(BODY)
    sent = until("three lines", lambda: (lambda e: e if len(e) == 3 else None)(
        m.events("send.delivered")))
    where = host.hop[len("lmtp:"):]
    assert {e["address"] for e in sent} == {where}
    mx = where[len("unix:"):] if where.startswith("unix:") else "127.0.0.1"
    assert {e["mx"] for e in sent} == {mx}


def test_each_recipient_has_its_own_reply(mta, host):
    """One is full for now, one does not exist, one has it: the message goes
    once more to the first alone, and the second is returned."""
    later = []

    def final(session, rcpt):
        if rcpt == "b@box.test" and not later:
            later.append(rcpt)
            return "452 4.2.2 <b@box.test> over quota"
        return ("550 5.1.1 <c@box.test> no such user"
                if rcpt == "c@box.test" else "250 2.0.0 taken")

    host.answers["FINAL"] = final
    with Peer() as sender_mx:
        m = mta("run", {"send.routes": [
            "box.test=" + host.hop,
            "src.test=127.0.0.1:%d" % sender_mx.port],
            "send.retry_min": "1s", "send.retry_max": "1s"})
        submit(m, THREE)
        notice = until("notice", lambda: sender_mx.messages)[0].data
        until("second try", lambda: len(host.messages) == 2)
    assert [list(map(address, x.rcpts)) for x in host.messages] == [
        ["a@box.test"], ["b@box.test"]]
    assert b"Final-Recipient: rfc822;c@box.test" in notice
    assert b"5.1.1" in notice and b"b@box.test" not in notice
    bounced = until("log", lambda: m.events("send.bounced"))
    assert [e["to"] for e in bounced] == ["c@box.test"]
    deferred = m.events("send.deferred")
    assert [(e["to"], e["status"]) for e in deferred] == [("b@box.test",
                                                           "4.2.2")]


def test_many_messages_share_a_session(mta, host):
    m = mta("run", {"send.routes": ["box.test=" + host.hop]})
    with m.smtp() as s:
        for i in range(50):
            s.sendmail("s@src.test", ["u%d@box.test" % i, "v@box.test"], BODY)
    until("all", lambda: len(host.messages) == 50)
    assert len(host.sessions) == 1
    assert all(len(x.rcpts) == 2 for x in host.messages)


def test_gone_between_replies(mta, host):
    """The first is delivered and stays so; the others are tried again."""
    lost = []

    def final(session, rcpt):
        if rcpt != "a@box.test" and not lost:
            lost.append(rcpt)
            return None
        return "250 2.0.0 taken"

    host.answers["FINAL"] = final
    m = mta("run", {"send.routes": ["box.test=" + host.hop],
                    "send.retry_min": "1s", "send.retry_max": "1s"})
    submit(m, THREE)
    until("again", lambda: host.messages)
    assert sorted(map(address, host.messages[0].rcpts)) == THREE[1:]
    until("logged", lambda: len(m.events("send.delivered")) == 3)


def test_a_host_that_speaks_smtp_only(mta):
    """LHLO is refused: nothing is offered by SMTP, and the mail waits."""
    with Peer() as smtp:
        m = mta("run", {"send.routes": [
            "box.test=lmtp:127.0.0.1:%d" % smtp.port]})
        submit(m, ["a@box.test"])
        line = until("reported", lambda: m.events("send.unreachable"))[0]
        assert "502" in line["error"] or "what" in line["error"]
        assert not any(x.startswith(("EHLO", "HELO", "MAIL"))
                       for lines in smtp.lines() for x in lines)


def test_a_socket_that_is_not_there(mta, tmp_path):
    """The mail waits and is sent when the socket is made; `queue list` names
    it."""
    path = "/tmp/mta-lmtp-late-%d" % os.getpid()
    m = mta("run", {"send.routes": ["box.test=lmtp:unix:" + path],
                    "send.retry_min": "1s", "send.retry_max": "1s"})
    submit(m, ["a@box.test"])
    line = until("reported", lambda: m.events("send.unreachable"))[0]
    assert line["address"] == "unix:" + path
    assert "No such file" in line["error"]
    assert b"No such file" in m.tool("queue", "list").stdout
    try:
        with LmtpPeer(path) as host:
            m.process.send_signal(10)  # SIGUSR1: shut hosts are tried
            until("delivered", lambda: host.messages)
    finally:
        os.unlink(path)


# --- Dovecot ------------------------------------------------------------------

DOVECOT = """
protocols = lmtp
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/dovecot.log
ssl = no
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
mail_location = maildir:{dir}/mail/%n
first_valid_uid = 1
mail_uid = {uid}
mail_gid = {gid}
service anvil {{
  chroot =
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
protocol lmtp {{
  mail_plugins =
}}
userdb {{
  driver = passwd-file
  args = username_format=%n {dir}/users
}}
passdb {{
  driver = passwd-file
  args = username_format=%n {dir}/users
}}
"""


class Dovecot:
    def __init__(self, directory):
        nobody = pwd.getpwnam("nobody")
        self.dir, self.port = str(directory), free_port()
        os.makedirs(self.dir + "/mail")
        os.chmod(self.dir, 0o755)
        os.chown(self.dir + "/mail", nobody.pw_uid, nobody.pw_gid)
        with open(self.dir + "/users", "w", encoding="utf-8") as f:
            for user in ("ann", "bob"):
                f.write("%s:{PLAIN}x:%d:%d::%s/mail/%s::\n" % (
                    user, nobody.pw_uid, nobody.pw_gid, self.dir, user))
        conf = self.dir + "/dovecot.conf"
        with open(conf, "w", encoding="utf-8") as f:
            f.write(DOVECOT.format(dir=self.dir, port=self.port,
                                   uid=nobody.pw_uid, gid=nobody.pw_gid))
        self.process = subprocess.Popen(["dovecot", "-F", "-c", conf])

    def mail(self, user):
        return glob.glob("%s/mail/%s/new/*" % (self.dir, user))

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def dovecot():
    directory = "/tmp/mta-dovecot-%d" % os.getpid()
    os.mkdir(directory)
    d = None
    try:
        d = Dovecot(directory)
        yield d
    finally:
        if d is not None:
            d.stop()
        shutil.rmtree(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot is started by root")
@pytest.mark.parametrize("by", ["unix", "port"])
def test_dovecot(mta, dovecot, by):
    hop = ("unix:%s/run/lmtp" % dovecot.dir if by == "unix"
           else "127.0.0.1:%d" % dovecot.port)
    until("Dovecot", lambda: os.path.exists(dovecot.dir + "/run/lmtp"))
    with Peer() as sender_mx:
        m = mta("run", {"send.routes": [
            "box.test=lmtp:" + hop, "src.test=127.0.0.1:%d" % sender_mx.port],
            "send.retry_min": "1s", "send.retry_max": "1s"})
        submit(m, ["ann@box.test", "bob@box.test", "nobody.here@box.test"])
        until("ann", lambda: dovecot.mail("ann"))
        until("bob", lambda: dovecot.mail("bob"))
        notice = until("notice", lambda: sender_mx.messages)[0].data
    assert b"Final-Recipient: rfc822;nobody.here@box.test" in notice
    with open(dovecot.mail("ann")[0], "rb") as f:
        text = f.read().replace(b"\r\n", b"\n")
    assert text.endswith(BODY.replace(b"\r\n", b"\n"))
    assert b"with LMTP" in text
    assert len(dovecot.mail("ann")) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot is started by root")
def test_many_messages_to_dovecot(mta, dovecot):
    """Commands come ahead of its replies to the texts; each message arrives
    once, and nothing breaks there."""
    until("Dovecot", lambda: os.path.exists(dovecot.dir + "/run/lmtp"))
    m = mta("run", {"send.routes": [
        "box.test=lmtp:unix:%s/run/lmtp" % dovecot.dir]})
    dovecot.process.send_signal(signal.SIGSTOP)  # they come all at once
    with m.smtp() as s:
        for i in range(100):
            s.sendmail("s@src.test", ["ann@box.test", "bob@box.test"],
                       b"Subject: %d\r\n\r\nhi\r\n" % i)
    dovecot.process.send_signal(signal.SIGCONT)
    until("logged", lambda: len(m.events("send.delivered")) == 200)
    assert len(dovecot.mail("ann")) == len(dovecot.mail("bob")) == 100
    assert not m.events("send.deferred")
    with open(dovecot.dir + "/dovecot.log", encoding="utf-8") as f:
        assert "Panic" not in f.read()
