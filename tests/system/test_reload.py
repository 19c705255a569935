"""Reload: one process reads, checks and opens everything, once; a mistake
changes nothing anywhere; generations of processes take over from each other.
And what belongs to it: files that change, the log file, the control socket,
titles, the time that a stop takes."""

import contextlib
import glob
import os
import pwd
import re
import signal
import socket
import subprocess
import time

import pytest

from dnsserver import DnsServer
from harness import (DEADLINE, MTA, UNDER_VALGRIND, children_of, connect,
                     free_port, is_alive, tree_of, until)
from peer import Peer
from processes import find, roles, send_one, service, workers

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
AS_IT_IS = pytest.mark.skipif(UNDER_VALGRIND, reason="looks at the process")
NOBODY = pwd.getpwnam("nobody")


def write(path, text):
    """Whole or not at all."""
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def reloads(m, **fields):
    return m.events("config.reload", **fields)


def reload(m, **settings):
    """Change settings; the event that says what came of it."""
    m.settings.update(settings)
    m.write_conf()
    n = len(reloads(m))
    m.kill(signal.SIGHUP)
    return until("reload", lambda: reloads(m)[n:])[0]


def size_offered(c):
    return next(int(x.split()[1]) for x in c.say("EHLO client.test")[1]
                if x.startswith("SIZE")) >> 20


def offered(m):
    with m.raw() as c:
        return size_offered(c)


def verdict(m, user):
    with m.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        return c.say("RCPT TO:<%s@here.test>" % user)[0]


def control(m, command):
    """The lines of an answer."""
    path = m.queue + "/run/control.sock"
    until("the control socket", lambda: os.path.exists(path))
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(DEADLINE)
        s.connect(path)
        s.sendall(command.encode() + b"\n")
        with s.makefile("r") as f:
            lines = []
            for line in f:
                lines.append(line.rstrip("\n"))
                if not line.startswith(" "):
                    return lines
    return lines


def give(m, *paths):
    """To nobody, who must be able to get there."""
    for path in (m.dir, m.mail) + paths:
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)


# --- a mistake --------------------------------------------------------------

def mistakes(m, taken):
    return [
        ("serve.max_recipients", "many", "max_recipients"),
        ("serve.max_recipent", 3, "max_recipients"),  # the nearest
        ("serve.relay_networks", ["nonsense"], "relay_networks"),
        ("serve.listen", ["127.0.0.1:port"], "serve.listen"),
        ("serve.listen", ["127.0.0.1:%d" % m.port, taken], taken),
        ("dns.servers", ["zzz"], "zzz"),
        ("local.aliases", m.dir + "/none", "/none"),
        ("local.users", "file:" + m.dir + "/none", "/none"),
        ("log.file", m.dir + "/no/such/log", "/no/such"),
        ("queue_dir", m.dir + "/other", "needs a new start"),
        ("user", "nobody-of-that-name", ""),
    ]


def test_a_mistake_changes_nothing_anywhere(mta):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        taken = "127.0.0.1:%d" % s.getsockname()[1]
        m = mta("run")
        before = [workers(m), find(m, "send"), find(m, "log")]
        for key, value, said in mistakes(m, taken):
            kept = dict(m.settings)
            event = reload(m, **{key: value})
            assert event["level"] == "error", (key, event)
            assert said in event["error"], (key, event)
            assert event["error"] in m.errors()
            m.settings = kept
        assert [workers(m), find(m, "send"), find(m, "log")] == before
        send_one(m)
        assert len(m.events("send.start")) == 1
    event = reload(m, **{"serve.max_message_size": "20M"})
    assert event["level"] == "info" and event["generation"] == "2"
    until("the new setting", lambda: offered(m) == 20)
    assert not os.path.exists(m.dir + "/other")


def test_of_the_sender_alone(mta):
    m = mta("send")
    first = find(m, "send")
    assert reload(m, **{"dns.servers": ["zzz"]})["level"] == "error"
    assert find(m, "send") == first and is_alive(first)
    assert reload(m, **{"dns.servers": ["127.0.0.1:2"]})["level"] == "info"
    until("another", lambda: (service(m, "send") or first) != first)
    until("it works", lambda: len(m.events("send.start")) == 2)


# --- generations ------------------------------------------------------------

def test_a_further_change_waits_for_old_sessions(mta):
    m = mta("run", {"stop_timeout": "2s", "serve.max_message_size": "10M"})
    with m.raw() as old, m.raw() as busy:
        assert size_offered(old) == size_offered(busy) == 10
        assert reload(m, **{"serve.max_message_size": "20M"})["generation"] \
            == "2"
        # A third generation is not begun ...
        m.settings["serve.max_message_size"] = "30M"
        m.write_conf()
        begin = time.monotonic()
        assert control(m, "reload") == ["ok"]  # it is checked, all the same
        busy.send("MAIL FROM:<a@client.test>\r\nRCPT TO:<ann@here.test>\r\n"
                  "DATA\r\nSubject: x\r\n\r\nhalf\r\n")
        assert [busy.reply()[0] for _ in range(3)] == [250, 250, 354]
        until("the new setting", lambda: offered(m) == 20)
        assert old.say("NOOP")[0] == 502
        assert any("state=ending" in x for x in control(m, "status"))
        # ... before the first has gone: told so after stop_timeout.
        assert old.reply()[0] == 421
        assert 1.5 < time.monotonic() - begin < 2 + DEADLINE / 2
        busy.send("other half\r\n.\r\n")
        assert busy.reply()[0] == 250
    until("the third", lambda: reloads(m, generation=3))
    until("its setting", lambda: offered(m) == 30)
    until("one generation", lambda: not any(
        "state=ending" in x for x in control(m, "status")))
    m.copies("ann")
    assert m.stop() == 0


def test_no_generation_without_a_change(mta):
    """So a rotation of the log, which needs SIGHUP, sends no session away."""
    m = with_tables(mta, stop_timeout="1s")
    m.start()
    before = [workers(m), find(m, "send"), find(m, "log")]
    with m.raw() as c:
        c.say("EHLO client.test")
        for i in range(3):
            write(m.aliases, "info: ann\nnew%d: bob\n" % i)
            assert reload(m)["generation"] == "1"
            until("the new table", lambda: verdict(m, "new%d" % i) == 250)
        send_one(m, "ann", c)
    assert [workers(m), find(m, "send"), find(m, "log")] == before
    # What is back as it was before it came into force is no change either.
    with m.raw() as c:
        assert reload(m, **{"serve.max_errors": 9})["generation"] == "2"
        m.settings["serve.max_errors"] = 8
        m.write_conf()
        assert control(m, "reload") == ["ok"]
        assert reload(m, **{"serve.max_errors": 9})["generation"] == "2"
        assert c.reply()[0] == 421
    until("one generation", lambda: len(m.events("serve.stop")) == 1)
    assert [e["generation"] for e in reloads(m)] == ["1"] * 3 + ["2"] * 2


def test_the_last_of_many_changes_counts(mta):
    m = mta("run", {"stop_timeout": "1s", "serve.max_message_size": "10M"})
    with m.raw() as old:
        assert reload(m, **{"serve.max_message_size": "20M"})["level"] == \
            "info"
        for size, answer in (("30M", "ok"), ("many", "error"), ("40M", "ok"),
                             ("50x", "error")):
            m.settings["serve.max_message_size"] = size
            m.write_conf()
            assert control(m, "reload")[-1].split(":")[0] == answer
        assert old.reply()[0] == 421
    until("the last good one", lambda: offered(m) == 40)
    until("its line", lambda: [e["generation"] for e in reloads(
        m, level="info")] == ["2", "3"])


def test_a_changed_port(mta):
    m = mta("run")
    old_port, port = m.port, free_port()
    with m.raw() as held:
        held.say("EHLO client.test")
        both = ["127.0.0.1:%d" % p for p in (old_port, port)]
        assert reload(m, **{"serve.listen": both})["level"] == "info"
        for p in (old_port, port):
            connect("127.0.0.1", p).close()
        send_one(m, "ann", held)
    until("one generation", lambda: len(m.events("serve.stop")) == 1)
    assert reload(m, **{"serve.listen": both[1:]})["level"] == "info"

    def refused():
        try:
            socket.create_connection(("127.0.0.1", old_port), 5).close()
        except ConnectionError:
            return True
        return False
    until("the old address is closed", refused)
    m.port = port
    send_one(m)
    # And back, which a socket that was left open would forbid.
    assert reload(m, **{"serve.listen": both[:1]})["level"] == "info"
    m.port = old_port
    send_one(m)


def test_an_address_that_another_covers(mta):
    """Neither can be bound beside the other: it is said, and not that another
    server has the port."""
    m = mta("run")
    event = reload(m, **{"serve.listen": ["0.0.0.0:%d" % m.port]})
    assert event["level"] == "error"
    assert "needs a new start" in event["error"] and m.conf in event["error"]
    send_one(m)


@AS_ROOT
def test_a_privileged_port_at_a_reload(mta):
    """Bound by the supervisor, served as nobody."""
    m = mta("run", {"user": "nobody"}, start=False)
    give(m)
    m.start()
    with contextlib.ExitStack() as tried:
        for port in range(1023, 512, -1):
            s = tried.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                break
    event = reload(m, **{"serve.listen": ["127.0.0.1:%d" % port]})
    assert event["level"] == "info", event
    m.port = port
    send_one(m)
    assert os.stat("/proc/%d" % workers(m)[0]).st_uid == NOBODY.pw_uid


# --- files ------------------------------------------------------------------

def with_tables(mta, **more):
    m = mta("run", start=False)
    m.users, m.aliases = m.dir + "/users", m.dir + "/aliases"
    m.settings.update({"local.users": "file:" + m.users,
                       "local.aliases": m.aliases, **more})
    m.write_conf()
    write(m.users, "ann\nbob\n")
    write(m.aliases, "info: ann\n")
    return m


def test_changed_tables_reach_running_processes(mta):
    """Without a signal, and without another generation."""
    zones = {"far.test": "@ A 127.0.0.1"}
    with Peer(answers={"RCPT": "550 5.1.1 no such user"}) as peer, \
            DnsServer(zones) as dns:
        m = with_tables(mta, **{"dns.servers": [dns.address],
                                "send.port": peer.port})
        write(m.aliases, "info: ann\nnotices: ann\n")
        m.start()
        before = [workers(m), find(m, "send")]
        assert [verdict(m, u) for u in ("ann", "carl", "info", "help")] == \
            [250, 550, 250, 550]
        write(m.users, "ann\nbob\ncarl\n")
        write(m.aliases, "help: carl\nnotices: bob\n")
        for _ in range(4):  # each worker has its turn
            until("the new tables", lambda: [
                verdict(m, u) for u in ("ann", "carl", "info", "help")] ==
                [250, 250, 550, 250])
        # The sender resolves whom it bounces to.
        def bounced():
            m.empty_local()
            n = len(m.mailbox("ann")) + len(m.mailbox("bob"))
            with m.smtp() as s:
                s.sendmail("notices@here.test", ["x@far.test"],
                           b"Subject: x\r\n\r\nx\r\n")
            until("a bounce", lambda: len(m.mailbox("ann")) + len(
                m.mailbox("bob")) > n)
            return len(m.mailbox("bob"))
        until("by the new alias", bounced)
        assert [workers(m), find(m, "send")] == before
        events = until("they are named", lambda: reloads(m, level="info"))
        assert {e["generation"] for e in events} == {"1"}


def test_a_bad_table_is_refused_loudly(mta):
    m = with_tables(mta)
    m.start()
    write(m.aliases, "info ann\n")  # no colon
    event = until("it is said", lambda: reloads(m, level="error"))[0]
    assert m.aliases + ":1" in event["error"]
    assert event["error"] in m.errors()
    # The old ones stay, in processes that begin later, too.
    os.kill(workers(m)[0], signal.SIGKILL)
    workers(m)
    assert [verdict(m, u) for u in ("info", "info", "help")] == [250, 250, 550]
    assert reload(m)["level"] == "error"  # nor does a reload pass it over
    write(m.aliases, "help: bob\n")
    until("mended", lambda: verdict(m, "help") == 250)
    assert len(reloads(m, level="error")) == 2  # said once, and at the reload
    until("that is said too", lambda: reloads(m, level="info"))


def test_included_files_come_with_the_alias_file(mta):
    """Copied, watched and handed down like it, also those that it had not
    named before."""
    m = with_tables(mta)
    one, two = m.dir + "/one", m.dir + "/two"
    write(m.aliases, "list: :include:%s\n" % one)
    write(one, "# the list\nann\n")
    m.start()

    def reaches(user):
        had = len(m.mailbox(user))
        with m.smtp() as s:
            s.sendmail("x@far.test", ["list@here.test"],
                       b"Subject: x\r\n\r\nx\r\n")
        m.empty_local()
        return len(m.mailbox(user)) > had

    assert reaches("ann")
    write(one, "bob\n")
    until("another member", lambda: reaches("bob"))
    write(two, "carl\n")
    write(m.users, "ann\nbob\ncarl\n")
    write(m.aliases, "list: :include:%s\n" % two)
    until("another file", lambda: reaches("carl"))
    assert m.errors() == ""
    os.chmod(two, 0o666)
    event = until("it is said", lambda: reloads(m, level="error"))[0]
    assert "%s:1: %s is a link or others may write to it" % (
        m.aliases, two) in event["error"]
    assert reaches("carl")


@AS_ROOT
def test_files_that_only_root_can_read(mta):
    m = with_tables(mta, user="nobody")
    give(m)
    secret = m.dir + "/secret"
    os.mkdir(secret, 0o700)
    m.settings.update({"local.aliases": secret + "/aliases",
                       "local.users": "file:" + secret + "/users"})
    write(secret + "/aliases", "info: ann\n")
    write(secret + "/users", "ann\n")
    m.write_conf()
    os.chmod(m.conf, 0o600)
    m.start()
    assert [verdict(m, u) for u in ("info", "help")] == [250, 550]
    os.kill(workers(m)[0], signal.SIGKILL)
    workers(m)
    write(secret + "/aliases", "help: ann\n")
    for _ in range(4):
        until("noticed", lambda: [verdict(m, u) for u in ("info", "help")] ==
              [550, 250])
    assert reload(m)["level"] == "info"
    assert [verdict(m, u) for u in ("info", "help")] == [550, 250]
    assert m.stop() == 0
    assert m.errors() == ""


@AS_ROOT
@AS_IT_IS
def test_another_resolv_conf(mta):
    """The supervisor's view of /etc has one of its own."""
    with DnsServer({"far.test": "@ A 127.0.0.1"}, "127.0.0.153",
                   port=53) as dns, \
            Peer() as peer:
        m = mta("run", {"dns.servers": [], "send.port": peer.port},
                start=False)
        conf = m.dir + "/resolv.conf"
        with open(conf, "w") as f:
            f.write("nameserver 127.0.0.154\n")
        with open(m.stderr, "wb") as err:
            m.process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", "mount --bind %s /etc/resolv."
                 "conf && exec %s run -c %s" % (conf, MTA, m.conf)],
                stdin=subprocess.DEVNULL, stderr=err)
        connect("127.0.0.1", m.port).close()
        with m.smtp() as s:
            s.sendmail("a@here.test", ["x@far.test"], b"\r\nx\r\n")
        until("no answer", lambda: m.events("send.deferred"))
        assert not peer.messages
        with open(conf, "w") as f:  # the same file: the mount is of it
            f.write("# another one\nnameserver %s\n" % dns.host)
        until("read", lambda: m.kill(signal.SIGUSR1) or peer.messages)
        assert len(m.events("send.start")) == 1


# --- the log ----------------------------------------------------------------

def rotate(m):
    first = send_one(m)
    until("its line", lambda: m.events("serve.accepted", id=first))
    os.rename(m.log, m.log + ".1")
    m.kill(signal.SIGHUP)
    until("a new file", lambda: os.path.exists(m.log))
    second = send_one(m)
    until("its line", lambda: m.events("serve.accepted", id=second))
    with open(m.log + ".1") as f:
        old = f.read()
    assert first in old and second not in old


@AS_ROOT
def test_rotation_where_only_root_can_write(mta):
    m = mta("run", {"user": "nobody"}, start=False)
    give(m)
    where = m.dir + "/root"
    os.mkdir(where, 0o700)
    m.log = where + "/log"
    m.settings["log.file"] = m.log
    m.write_conf()
    m.start()
    rotate(m)
    st = os.stat(m.log)
    assert (st.st_uid, st.st_mode & 0o777) == (0, 0o640)
    assert m.stop() == 0
    assert m.errors() == ""


@AS_ROOT
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_log_file_through_a_link_of_its_user(mta, link):
    """What root opens for a user must not be a file of root's."""
    m = mta("run", {"user": "nobody"}, start=False)
    give(m)
    target = m.dir + "-target"
    write(target, "")
    try:
        link(target, m.log)
        m.start(wait=False)
        assert m.process.wait(DEADLINE) != 0
        m.process = None
        assert m.log in m.errors()
        assert os.path.getsize(target) == 0
    finally:
        os.unlink(target)


def test_rotation_with_a_slip_in_the_settings(mta):
    m = mta("run")
    m.settings["serve.max_recipients"] = "many"
    m.write_conf()
    rotate(m)
    assert reloads(m)[0]["level"] == "error"


def test_another_log_file_and_style(mta):
    m = mta("run")
    first = send_one(m)
    until("its line", lambda: m.events("serve.accepted", id=first))
    old, pid = m.log, find(m, "log")
    m.log += ".other"
    m.settings.update({"log.file": m.log, "log.level": "info"})
    m.write_conf()
    m.kill(signal.SIGHUP)
    until("reload", lambda: reloads(m, level="info"))
    second = send_one(m)
    until("its line", lambda: m.events("serve.accepted", id=second))
    assert m.events("log.reopen", file=m.log)
    with open(old) as f:
        text = f.read()
    assert first in text and second not in text
    assert find(m, "log") == pid


def test_log_alone(mta):
    """`mta log` for a server that another one supervises."""
    m = mta("log", start=False)
    m.start()
    until("its file", lambda: m.events("log.start"))
    os.rename(m.log, m.log + ".1")
    m.kill(signal.SIGHUP)
    until("a new one", lambda: m.events("config.reload"))
    assert m.stop() == 0
    assert m.events("log.stop")
    assert m.errors() == ""


# --- the control socket -----------------------------------------------------

def test_control(mta):
    m = mta("run")
    found = {"log": find(m, "log"), "serve": find(m, "serve"),
             "deliver": find(m, "deliver master"), "send": find(m, "send"),
             "supervisor": m.process.pid}
    *lines, last = control(m, "status")
    assert last == "ok"
    said = {x.split()[0]: dict(y.split("=") for y in x.split()[1:])
            for x in lines}
    assert {k: int(v["pid"]) for k, v in said.items()} == found
    assert all(v["generation"] == "1" and int(v["age"]) < DEADLINE and
               v["state"] == "running" for v in said.values())
    assert control(m, "reload") == ["ok"]  # without a change no generation
    until("it is said", lambda: reloads(m, generation=1))
    m.settings["serve.max_errors"] = 9
    m.write_conf()
    assert control(m, "reload") == ["ok"]
    until("the next", lambda: reloads(m, generation=2))
    m.settings["serve.rdns"] = "maybe"
    m.write_conf()
    answer = control(m, "reload")
    assert len(answer) == 1 and answer[0].startswith("error: ")
    assert "serve.rdns" in answer[0] and m.conf in answer[0]
    assert control(m, "frobnicate")[0].startswith("error: ")
    assert m.stop() == 0
    assert not os.path.exists(m.queue + "/run/control.sock")


def test_a_stale_control_socket_is_replaced_a_live_one_is_not(mta):
    m = mta("serve")
    control(m, "status")
    other = mta("send", start=False)
    for x in ("queue_dir", "log.file"):
        other.settings[x] = m.settings[x]
    other.queue, other.log = m.queue, m.log
    other.write_conf()
    other.start()
    until("it runs", lambda: m.events("send.start"))
    m.tool("send", "--once", check=False)  # nor by one that ends soon
    assert " serve pid=" in "\n".join(control(m, "status"))
    assert other.stop() == 0  # and leaves it alone
    assert " serve pid=" in "\n".join(control(m, "status"))
    family = tree_of(m.process.pid)
    m.process.kill()
    m.process.wait()
    until("all gone", lambda: not any(is_alive(p) for p in family))
    assert os.path.exists(m.queue + "/run/control.sock")
    with pytest.raises(ConnectionRefusedError):
        control(m, "status")
    m.start()

    def answers():
        with contextlib.suppress(ConnectionRefusedError):
            return control(m, "status")[-1] == "ok"
    until("another socket", answers)
    # The next one takes it when the first has gone.
    other.start()
    until("it runs", lambda: service(other, "send"))
    assert m.stop() == 0
    until("its socket", lambda: os.path.exists(m.queue + "/run/control.sock"))
    assert " send pid=" in "\n".join(control(m, "status"))


@AS_ROOT
def test_the_control_socket_is_the_users(mta):
    m = mta("run", {"user": "nobody"}, start=False)
    give(m)
    m.start()
    path = m.queue + "/run/control.sock"
    until("it is there", lambda: os.path.exists(path))
    st = os.stat(path)
    assert (st.st_uid, st.st_mode & 0o777) == (NOBODY.pw_uid, 0o600)
    script = ("import socket,sys;s=socket.socket(socket.AF_UNIX);"
              "s.connect(sys.argv[1]);s.send(b'status\\n') "
              "if len(sys.argv) > 2 else 0;"
              "sys.stdout.write(s.recv(9999).decode())")

    def ask(uid, *status):
        return subprocess.run(
            ["setpriv", "--reuid=%d" % uid, "--regid=%d" % uid,
             "--clear-groups", "/usr/bin/python3", "-c", script, path,
             *status],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=DEADLINE).stdout
    assert ask(NOBODY.pw_uid, "status").endswith(b"ok\n")
    assert ask(12345) == b""
    for x in (m.dir, m.queue, m.queue + "/run"):
        os.chmod(x, 0o711)  # the credentials count, not the mode alone
    os.chmod(path, 0o666)
    assert ask(12345) == b"error: permission denied\n"
    for x in (m.queue, m.queue + "/run"):
        os.chmod(x, 0o700)


# --- what is seen of a process ----------------------------------------------

def shown(pid):
    with open("/proc/%d/cmdline" % pid, "rb") as f:
        line = f.read()
    with open("/proc/%d/environ" % pid, "rb") as f:
        return line.rstrip(b"\0").decode(), line + f.read()


@AS_IT_IS
def test_titles_without_secrets(mta):
    m = mta("run", flags=["-o", "serve.max_recipients=4242", "-o",
                          "hostname=geheim.here.test"],
            env={"MTA_SERVE_MAX_ERRORS": "137", "GEHEIM": "geheim"})
    find(m, "deliver master")
    until("mailbox processes", lambda: len(roles(m).get("mailbox", [])) == 2)
    for c in [find(m, "send")] + workers(m):
        until("its title", lambda: shown(c)[0].startswith("mta: "))
    titles = {}
    for pid in tree_of(m.process.pid):
        title, everything = shown(pid)
        titles[title] = pid
        assert b"geheim" not in everything and b"4242" not in everything
        assert b"137" not in everything, title
        with open("/proc/%d/comm" % pid) as f:
            assert f.read().startswith("mta-"), title
    known = {"mta: log", "mta: sender", "mta: serve master",
             "mta: supervisor", "mta: worker 1", "mta: worker 2",
             "mta: deliver master", "mta: deliver", "mta: mailbox 1",
             "mta: mailbox 2"}
    assert set(titles) == known
    assert titles["mta: sender"] == find(m, "send")
    with m.raw(greet=False) as c:  # they count all the same
        assert c.reply()[1][0].startswith("geheim.here.test ")


# Paths that a process may open after its start; {q}: the queue directory.
ALLOWED = [
    r"{q}/run/.*", r"{q}/run", r"{q}", r"{q}/segments(/.*)?",
    r"{q}/(local|remote)(/.*)?", r"{mail}(/.*)?",
    r"/|/tmp|{dir}",  # the directories above, to sync them
    r"/proc/self/ns/ipc",
    r"/proc/sys/kernel",  # for a rule of Landlock
    # the system's user database
    r"/etc/(passwd|group|nsswitch\.conf|ld\.so\.cache|nscd\.conf)",
    r"/(usr/)?lib/.*\.so[.0-9]*", r"/(var/)?run/(nscd|systemd/userdb)/.*",
    # glibc, for a thread's memory and a process's limits
    r"/sys/devices/system/cpu/.*", r"/proc/(stat|sys/vm/overcommit_memory)",
]


@contextlib.contextmanager
def traced(m, pids, out):
    """All their system calls that take a name, and those of their children."""
    args = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", out]
    for pid in pids:
        args += ["-p", str(pid)]
    s = subprocess.Popen(args, stderr=subprocess.PIPE)

    def attached():
        assert s.poll() is None, s.stderr.read()
        for pid in pids:
            with open("/proc/%d/status" % pid) as f:
                if "TracerPid:\t0\n" in f.read():
                    return False
        return True
    until("strace", attached)
    yield
    s.send_signal(signal.SIGINT)
    s.wait(DEADLINE)
    s.stderr.close()


def names_in(path):
    """(call, path) of the calls that may open something."""
    with open(path, errors="replace") as f:
        for line in f:
            call = re.match(r"\d+ +(\w+)\((?:AT_FDCWD, |\d+, )?\"([^\"]*)\"",
                            line)
            if call and call[2].startswith("/"):
                yield call[1], call[2]


@AS_ROOT
@AS_IT_IS
def test_no_file_is_opened_by_name_after_the_start(mta):
    """By a worker, also one that begins later, the sender and the
    collector."""
    zones = {"far.test": "@ A 127.0.0.1"}
    with Peer() as peer, DnsServer(zones) as dns:
        m = with_tables(mta, **{"dns.servers": [dns.address],
                                "send.port": peer.port})
        m.start()
        pids = [find(m, "serve"), find(m, "log"), find(m, "send")]
        pids += workers(m)
        out = m.dir + "/trace"
        with traced(m, pids, out):
            send_one(m, "info")
            with m.smtp() as s:
                s.sendmail("a@here.test", ["x@far.test", "ann@here.test"],
                           b"Subject: x\r\n\r\nx\r\n")
            until("delivered", lambda: peer.messages)
            os.kill(workers(m)[0], signal.SIGKILL)
            workers(m)
            write(m.aliases, "help: bob\n")
            until("noticed", lambda: verdict(m, "help") == 250)
            os.rename(m.log, m.log + ".1")
            m.kill(signal.SIGHUP)
            until("reload", lambda: reloads(m))
            send_one(m, "help")
        seen = set(names_in(out))
        allowed = [re.compile(x.format(q=re.escape(m.queue),
                                       mail=re.escape(m.mail),
                                       dir=re.escape(m.dir)))
                   for x in ALLOWED]
        other = {x for x in seen
                 if not any(a.fullmatch(x[1]) for a in allowed)}
        assert not other, other
        assert any(path.startswith(m.queue) for _, path in seen)


@AS_ROOT
def test_each_process_holds_only_what_is_its_own(mta):
    """Listening sockets: supervisor, master, workers; the log file: supervisor
    and collector."""
    m = mta("run")
    workers(m)
    find(m, "send")
    with open("/proc/net/tcp") as f:
        inode = next(x.split()[9] for x in f.readlines()[1:]
                     if x.split()[1].endswith(":%04X" % m.port) and
                     x.split()[3] == "0A")

    def holders(what):
        found = set()
        for pid in tree_of(m.process.pid):
            for fd in glob.glob("/proc/%d/fd/*" % pid):
                with contextlib.suppress(OSError):
                    if os.readlink(fd) == what:
                        found.add(pid)
        return found
    serve = find(m, "serve")
    assert holders("socket:[%s]" % inode) == {m.process.pid, serve,
                                              *children_of(serve)}
    assert holders(m.log) == {m.process.pid, find(m, "log")}
    assert holders(m.queue + "/run/control.lock") == {m.process.pid}


# --- stopping ---------------------------------------------------------------

def silent(session, line):
    session.file.read()  # until it hangs up
    return None


@pytest.mark.parametrize("timeout", [1, 3])
def test_a_stop_within_stop_timeout(mta, timeout):
    """With a client in the middle of a message, and a peer that does not
    answer the dot."""
    zones = {"stuck.test": "@ A 127.0.0.1"}
    with Peer(answers={"DOT": silent}) as peer, DnsServer(zones) as dns:
        m = mta("run", {"dns.servers": [dns.address], "send.port": peer.port,
                        "stop_timeout": "%ds" % timeout})
        with m.smtp() as s:
            s.sendmail("a@here.test", ["x@stuck.test"], b"\r\nx\r\n")
        until("in the peer's hands", lambda: any(
            r["state"] != "delivered" for q in m.queued()
            for r in q["recipients"]) and peer.most == 1)
        with m.raw() as c, m.raw() as idle:
            c.send("EHLO c.test\r\nMAIL FROM:<a@c.test>\r\n"
                   "RCPT TO:<ann@here.test>\r\nDATA\r\nhalf\r\n")
            assert [c.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
            begin = time.monotonic()
            m.kill(signal.SIGTERM)
            assert idle.reply()[0] == 421
            assert m.process.wait(DEADLINE) == 0
            took = time.monotonic() - begin
            m.process = None
        assert timeout - 0.1 < took < timeout + DEADLINE / 2
        assert m.errors() == ""
        assert len(m.queued()) == 1


# --- the manager of services ------------------------------------------------

@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_is_notified(mta, tmp_path, abstract):
    """READY=1 when clients are served, RELOADING=1 and READY=1 around a
    reload, also one that fails, STOPPING=1; from the process it started."""
    name = ("@mta-test-%d" % os.getpid() if abstract
            else str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE)
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        manager.bind(name.replace("@", "\0", 1))

        def state():
            text, control, _, _ = manager.recvmsg(400, 100)
            pid = int.from_bytes(control[0][2][:4], "little")
            assert UNDER_VALGRIND or pid == m.process.pid
            return text.decode().split("\n")[0]

        m = mta("run", env={"NOTIFY_SOCKET": name}, start=False)
        m.start(wait=False)
        assert state() == "READY=1"
        m.raw().close()
        m.kill(signal.SIGHUP)
        assert [state(), state()] == ["RELOADING=1", "READY=1"]
        m.settings["serve.max_errors"] = "no number"
        m.write_conf()
        m.kill(signal.SIGHUP)
        assert [state(), state()] == ["RELOADING=1", "READY=1"]
        m.kill(signal.SIGTERM)
        assert state() == "STOPPING=1"
        m.process.wait(DEADLINE)
