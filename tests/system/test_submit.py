"""The sockets by which programs of this host submit mail: queue_dir/submit,
and `unix:PATH` of serve.listen."""

import contextlib
import os
import pwd
import re
import signal
import socket
import stat
import threading

import pytest

from harness import DEADLINE, UNDER_VALGRIND, Raw, has_ipv6, until
from processes import workers

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = pwd.getpwnam("nobody").pw_uid
CALLERS = 200 if UNDER_VALGRIND else 1000


@contextlib.contextmanager
def acting_as(uid):
    """The system knows a client by the user that it is when it connects."""
    if uid is not None:
        os.seteuid(uid)
    try:
        yield
    finally:
        if uid is not None:
            os.seteuid(0)


class Local(Raw):
    """A client of a Unix socket."""

    def __init__(self, path, uid=None, greet=True):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        with acting_as(uid):
            self.sock.connect(path)
        self.file = self.sock.makefile("rb")
        if greet:
            assert self.reply()[0] == 220


def submit_socket(m):
    """Its path, where all users can get at it; it is there last."""
    os.chmod(m.dir, 0o755)
    path = os.path.join(m.queue, "submit")
    if m.process is not None:
        until("the socket", lambda: os.path.exists(path))
    return path


def send(c, sender="a@here.test", to="joe@here.test", body="text"):
    assert c.say("EHLO client")[0] == 250
    assert c.say("MAIL FROM:<%s>" % sender)[0] == 250
    assert c.say("RCPT TO:<%s>" % to)[0] == 250
    assert c.say("DATA")[0] == 354
    code, lines = c.say("Subject: x\r\n\r\n%s\r\n." % body)
    assert code == 250, lines
    return lines[0].rsplit(" ", 1)[1]


# --- the socket -------------------------------------------------------------

def test_takes_mail_and_knows_the_user(mta):
    m = mta()
    path = submit_socket(m)
    st = os.stat(path)
    assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o666
    assert stat.S_IMODE(os.stat(m.queue).st_mode) == 0o711
    with Local(path) as c:
        id = send(c)
    uid = os.geteuid()
    (connect,) = until("connect", lambda: m.events("serve.connect",
                                                   client="unix:submit"))
    assert connect["uid"] == str(uid) and "port" not in connect
    until("accepted", lambda: m.events("serve.accepted", id=id,
                                       sid=connect["sid"]))
    (copy,) = m.copies("joe")
    head = copy.decode().replace("\n\t", " ")
    assert re.search(r"^Received: by mx\.here\.test \(mta, from userid %d\) "
                     r"with ESMTP id %s for <joe@here\.test>; " % (uid, id),
                     head, re.M), head


def test_origin_is_shown(mta):
    m = mta("serve")
    with Local(submit_socket(m)) as c:
        id = send(c, to="joe@elsewhere.test")
    (q,) = [q for q in m.queued() if q["id"] == id]
    text = m.tool("queue", "show", id).stdout.decode()
    assert "unix:submit" in text and "user id" in text, text
    shown = m.tool("queue", "show", id, "--json").stdout.decode()
    assert '"uid":"%d"' % os.geteuid() in shown, shown


@AS_ROOT
def test_any_local_user_may_send_anywhere(mta):
    m = mta("serve", {"serve.relay_networks": []})
    with Local(submit_socket(m), NOBODY) as c:
        send(c, to="joe@elsewhere.test")
    until("connect", lambda: m.events("serve.connect", uid=NOBODY))
    with m.raw() as c:  # unlike a client of a network that is not ours
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@here.test>")
        assert c.say("RCPT TO:<joe@elsewhere.test>")[0] == 550


def test_extensions_and_commands(mta):
    m = mta()
    with Local(submit_socket(m)) as c:
        code, lines = c.say("EHLO [127.0.0.1]")
        words = {x.split()[0] for x in lines[1:]}
        assert code == 250 and words == {
            "PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN",
            "XQUEUEONLY", "ENHANCEDSTATUSCODES"}
        assert c.say("NOOP")[0] == 250
        assert c.say("HELP")[0] == 214
        assert c.say("STARTTLS")[0] == 502
    with m.raw() as c:
        assert c.say("NOOP")[0] == 502
        assert "XQUEUEONLY" not in c.say("EHLO client.test")[1]
        assert c.say("MAIL FROM:<a@here.test> XQUEUEONLY")[0] == 555


def test_all_at_once(mta):
    """A caller waits once before the text and once behind it."""
    m = mta()
    with Local(submit_socket(m), greet=False) as c:
        c.send("EHLO client\r\nMAIL FROM:<>\r\nRCPT TO:<joe@here.test>\r\n"
               "DATA\r\n")
        assert [c.reply()[0] for _ in range(5)] == [220, 250, 250, 250, 354]
        c.send("\r\ntext\r\n.\r\nQUIT\r\n")
        assert [c.reply()[0] for _ in range(2)] == [250, 221]


def test_address_literal_of_loopback_is_ours(mta):
    m = mta("serve")
    with Local(submit_socket(m)) as c:
        send(c, to="joe@[127.0.0.1]")
        assert len(m.copies("joe")) == 1
        send(c, to="joe@[192.0.2.1]")
    assert [q["queue"] for q in m.queued()] == ["remote"]


# --- names ------------------------------------------------------------------

def test_name_goes_with_the_server(mta):
    m = mta()
    path = submit_socket(m)
    assert m.stop() == 0
    assert not os.path.lexists(path)


def test_leftover_is_replaced(mta):
    m = mta()
    path = submit_socket(m)
    m.kill_all()
    before = os.stat(path).st_ino
    with pytest.raises(ConnectionRefusedError):
        Local(path)
    m.start()
    until("another", lambda: os.stat(path).st_ino != before)
    with Local(path) as c:
        send(c)


def test_newer_server_keeps_the_name(mta):
    """One that starts while another ends waits for the queue; the end of the
    other does not remove its name."""
    first = mta("serve")
    second = mta("serve", {"queue_dir": first.queue}, start=False)
    path = submit_socket(first)
    first.kill(signal.SIGTERM)
    second.start()
    first.stop()
    until("a socket", lambda: os.path.exists(path))
    with Local(path) as c:
        send(c)


def test_start_that_fails_takes_nothing(mta):
    """Its port is in use, so the server of before keeps its sockets."""
    m = mta()
    path = submit_socket(m)
    other = mta("serve", {"queue_dir": m.queue, "serve.listen": [
        "unix:%s/x" % m.dir, "127.0.0.1:%d" % m.port]}, start=False)
    other.start(wait=False)
    assert other.process.wait(DEADLINE) != 0
    assert not os.path.lexists(os.path.join(m.dir, "x"))
    with Local(path) as c:
        send(c)


@pytest.mark.parametrize("kind", ["link", "dangling link", "file", "directory"])
def test_nothing_planted_is_followed_or_removed(mta, kind):
    m = mta(start=False)
    os.mkdir(m.queue, 0o711)
    path, victim = submit_socket(m), os.path.join(m.dir, "victim")
    if kind == "link":
        with open(victim, "w") as f:
            f.write("text")
    if kind == "file":
        with open(path, "w") as f:
            f.write("text")
    elif kind == "directory":
        os.mkdir(path)
    else:
        os.symlink(victim, path)
    m.start(wait=False)
    assert m.process.wait(DEADLINE) == 77
    assert "submit is a link or no socket: remove it" in m.errors()
    assert os.path.lexists(path)
    assert os.path.exists(victim) == (kind == "link")


def test_planted_draft_is_not_followed(mta):
    m = mta(start=False)
    os.mkdir(m.queue, 0o711)
    victim = os.path.join(m.dir, "victim")
    os.symlink(victim, os.path.join(m.queue, "submit.new"))
    m.start()
    submit_socket(m)
    assert not os.path.exists(victim)
    assert not os.path.lexists(os.path.join(m.queue, "submit.new"))


def test_long_queue_directory(mta):
    """Longer than the path of a socket can be."""
    m = mta(start=False)
    m.queue = m.settings["queue_dir"] = os.path.join(m.dir, "q" * 100, "r" * 60)
    m.write_conf()
    m.start()
    submit_socket(m)
    dir = os.open(m.queue, os.O_PATH | os.O_DIRECTORY)
    try:
        with Local("/proc/self/fd/%d/submit" % dir) as c:
            send(c)
    finally:
        os.close(dir)


# --- unix:PATH --------------------------------------------------------------

def test_listener_beside_it(mta):
    m = mta(start=False)
    path = os.path.join(m.dir, "socket")
    m.settings["serve.listen"] += ["unix:" + path]
    m.write_conf()
    m.start()
    until("socket", lambda: os.path.exists(path))
    with Local(path) as c:
        send(c)
    assert until("connect", lambda: m.events("serve.connect",
                                             client="unix:socket"))
    assert m.events("serve.listen", address="unix:" + path)
    m.stop()
    assert not os.path.lexists(path)


def test_listener_alone(mta):
    """A server that no network reaches."""
    m = mta(start=False)
    path = os.path.join(m.dir, "socket")
    m.settings["serve.listen"] = ["unix:" + path]
    m.write_conf()
    m.start(wait=False)
    until("socket", lambda: os.path.exists(path))
    with Local(path) as c:
        send(c)
    assert len(m.copies("joe")) == 1


def test_reload_adds_and_removes_a_listener(mta):
    m = mta()
    submit, path = submit_socket(m), os.path.join(m.dir, "socket")
    before = os.stat(submit).st_ino
    tcp = m.settings["serve.listen"]
    with Local(submit) as old:
        m.settings["serve.listen"] = tcp + ["unix:" + path]
        m.renew()
        until("socket", lambda: os.path.exists(path))
        with Local(path) as c:
            send(c)
        send(old)  # of the generation before
    m.settings["serve.listen"] = tcp
    m.renew()
    until("no socket", lambda: not os.path.lexists(path))
    assert os.stat(submit).st_ino == before
    with Local(submit) as c:
        send(c)


@pytest.mark.parametrize("value, fault", [
    ("unix:run/x", "begins with /"),
    ("unix:", "begins with /"),
    ("unix:/" + "x" * 107, "at most 107 octets"),
    ("unix:/nowhere/x", "unix:/nowhere/x: /nowhere: No such file"),
    ("unix:/dev/null/x", "unix:/dev/null/x: /dev/null: Not a directory"),
])
def test_bad_paths(mta, value, fault):
    m = mta(start=False)
    m.settings["serve.listen"] += [value]
    m.write_conf()
    m.start(wait=False)
    assert m.process.wait(DEADLINE) != 0
    assert fault in m.errors() and "serve.listen" in m.errors(), m.errors()
    done = m.tool("config", "--check", check=False)
    assert done.returncode != 0 and fault in done.stderr.decode()


def test_same_path_twice(mta):
    m = mta(start=False)
    m.settings["serve.listen"] += ["unix:%s/x" % m.dir] * 2
    m.write_conf()
    m.start(wait=False)
    assert m.process.wait(DEADLINE) != 0
    assert "is there twice" in m.errors()


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_flags_keep_it(mta):
    """--port is for addresses with ports."""
    m = mta(start=False)
    path = os.path.join(m.dir, "socket")
    m.settings["serve.listen"] = ["unix:" + path, "127.0.0.1:1"]
    m.write_conf()
    m.flags = ["--port", str(m.port)]
    m.start()
    until("socket", lambda: os.path.exists(path))


# --- strangers --------------------------------------------------------------

@AS_ROOT
def test_connections_of_a_user_are_limited(mta):
    m = mta("serve", {"serve.max_clients_per_ip": 3})
    path = submit_socket(m)
    with contextlib.ExitStack() as open:
        for _ in range(3):
            open.enter_context(Local(path, NOBODY))
        with Local(path, NOBODY, greet=False) as c:
            assert c.reply() == (421, ["4.7.0 Error: too many connections "
                                       "from your address"])
        for _ in range(5):  # root, and other users
            open.enter_context(Local(path))
        with Local(path, NOBODY - 1) as c:
            send(c)
    (r,) = until("logged", lambda: m.events("serve.reject"))
    assert r["client"] == "unix:submit" and r["uid"] == str(NOBODY)
    assert until("place", lambda: Local(path, NOBODY, False).reply()[0] == 220)


GARBAGE = {
    "zeros": b"\0" * 5000,
    "long line": b"\xff" * 100000 + b"\r\n",
    "HTTP": b"GET / HTTP/1.0\r\n\r\n",
    "bare LF": b"EHLO x\nMAIL FROM:<a@b>\n",
    "part of a line": b"MAIL FROM:<" + b"x" * 3000,
    "all octets": bytes(range(256)) * 80 + b"\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage(mta, kind):
    m = mta()
    path = submit_socket(m)
    pids = workers(m)
    with Local(path) as c:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            c.send(GARBAGE[kind])
            c.sock.shutdown(socket.SHUT_WR)
            while c.reply()[0]:
                pass
    with Local(path) as c:
        send(c)
    assert workers(m) == pids


def test_slow_readers_and_writers(mta):
    """Clients that read no reply, or send an octet and no more, take nothing
    from others."""
    m = mta("serve", {"serve.workers": 1, "serve.command_timeout": "2s"})
    path = submit_socket(m)
    with contextlib.ExitStack() as open:
        stuck = [open.enter_context(Local(path)) for _ in range(20)]
        for i, c in enumerate(stuck):
            c.sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while i % 2:
                    c.send("NOOP\r\n" * 1000)
            if not i % 2:
                c.send("E")
        with Local(path) as c:
            for _ in range(5):
                send(c)
        for c in stuck:
            c.sock.setblocking(True)
            c.sock.settimeout(DEADLINE)
            with contextlib.suppress(ConnectionResetError):
                while c.sock.recv(65536):
                    pass


def test_a_thousand_callers(mta):
    """At the same time: each gets its place in turn, none is lost."""
    m = mta("serve", {"serve.max_clients": 900})
    path = submit_socket(m)
    done, lost = [], []

    def call():
        try:
            with Local(path) as c:
                done.append(send(c, body="x" * 1000))
        except (AssertionError, OSError) as e:
            lost.append(e)
    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not lost, lost[:3]
    assert len(set(done)) == CALLERS
    assert m.stop(signal.SIGTERM) == 0
