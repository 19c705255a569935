"""The process tree (R8, R9, C1, C5): start, stop, reload, children that are
killed, privileges, names of the program, installation."""

import contextlib
import fcntl
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

import pytest

from harness import (DEADLINE, MTA, ROOT, UNDER_VALGRIND, Raw, connect,
                     free_port, is_alive, tree_of, until)
from processes import (find, role_of, send_one, service, sysv_key, sysv_objects,
                       workers)

BY_NAME = pytest.mark.skipif(UNDER_VALGRIND, reason="its script has one name")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
SOON = 30  # seconds; an orderly stop takes far less, a forced one more
FORCED = {"stop_timeout": "50s"}


# --- start and stop ---------------------------------------------------------

@pytest.mark.parametrize("command", ["run", "serve", "send"])
@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_stop_ends_all_and_leaves_nothing(mta, command, signo):
    m = mta(command, FORCED)
    find(m, "log")
    if command != "send":
        workers(m)
        send_one(m)
    if command != "serve":
        find(m, "send")
    family = tree_of(m.process.pid)
    key = sysv_key(m)
    assert sysv_objects(key) == ["msg", "shm"]
    start = time.monotonic()
    assert m.stop(signo) == 0
    assert time.monotonic() - start < SOON
    assert not any(is_alive(p) for p in family)
    assert sysv_objects(key) == []
    assert m.errors() == ""
    assert m.events("log.stop")


def test_stop_at_any_moment_of_the_start(mta):
    """A signal that comes before a child has its handlers is not lost."""
    m = mta("run", FORCED, start=False)
    for i in range(25):
        m.start(wait=False)
        family = []
        until("children", lambda: family.extend(
            p for p in tree_of(m.process.pid) if p not in family) or
            len(family) > i % 6)
        start = time.monotonic()
        status = m.stop()
        assert time.monotonic() - start < SOON
        assert status in (0, -signal.SIGTERM)
        assert not any(is_alive(p) for p in family)


def test_stop_tells_idle_clients(mta):
    m = mta("run")
    idle = [m.raw() for _ in range(5)]
    idle[0].say("EHLO client.test")
    m.kill(signal.SIGTERM)
    for c in idle:
        code, words = c.reply()
        assert (code, words[0].split()[0]) == (421, "4.3.2")
        assert c.reply()[0] == 0
    assert m.stop() == 0


@pytest.mark.memory
def test_stop_during_data_finishes_the_transaction(mta):
    m = mta("run", dict(FORCED, **{"serve.workers": 1}))
    with m.raw() as c, m.raw() as idle:
        c.send("EHLO client.test\r\nMAIL FROM:<a@client.test>\r\n"
               "RCPT TO:<ann@here.test>\r\nDATA\r\nSubject: x\r\n\r\nhalf\r\n")
        assert [c.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
        m.kill(signal.SIGTERM)
        assert idle.reply()[0] == 421  # so the signal has arrived
        with pytest.raises(OSError):
            until("no new clients", lambda: socket.create_connection(
                ("127.0.0.1", m.port), 1).close())
        c.send("the other half\r\n.\r\n")
        assert c.reply()[0] == 250
        assert c.reply()[0] == 421
        assert c.reply()[0] == 0
        start = time.monotonic()
        assert m.stop() == 0
        assert time.monotonic() - start < SOON
    m.start()  # its delivery may have stopped before
    assert m.copies("ann")[0].endswith(b"half\nthe other half\n")


def test_nothing_survives_a_killed_parent(mta):
    """kill -9 of the supervisor, with changed ids where possible: the
    children stop by themselves, and the next start serves again."""
    m = mta("run", {"user": "nobody"} if os.geteuid() == 0 else None,
            start=False)
    if os.geteuid() == 0:
        give(m, "nobody")
    m.start()
    workers(m)
    find(m, "send")
    family = tree_of(m.process.pid)
    assert len(family) >= 6
    m.process.kill()
    m.process.wait()
    until("the children end", lambda: not any(is_alive(p) for p in family))
    key = sysv_key(m)
    m.start()
    send_one(m)
    assert sysv_key(m) == key
    assert m.stop() == 0
    assert sysv_objects(key) == []


@pytest.mark.parametrize("command", ["run", "serve"])
def test_port_in_use(mta, command):
    m = mta(command, start=False)
    with socket.socket() as s:
        s.bind(("127.0.0.1", m.port))
        s.listen()
        m.start(wait=False)
        start = time.monotonic()
        assert m.process.wait(timeout=DEADLINE) != 0
        assert time.monotonic() - start < SOON
        m.process = None
    said = m.errors()
    assert "127.0.0.1:%d" % m.port in said and "in use" in said
    assert len(said.splitlines()) == 1


def test_starts_while_the_killed_are_cleared_away(mta):
    """The locks and the port of what was killed are free a moment later."""
    m = mta("run")
    locks = [os.path.join(m.queue, *name)
             for name in (("run", "log.lock"), ("remote", "lock"))]
    until("both locks", lambda: all(map(os.path.exists, locks)))
    assert m.stop() == 0
    with contextlib.ExitStack() as held:
        for lock in locks:
            f = held.enter_context(open(lock))
            fcntl.flock(f, fcntl.LOCK_EX)
        s = held.enter_context(socket.socket())
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", m.port))
        s.listen()
        m.start(wait=False)
        with pytest.raises(subprocess.TimeoutExpired):
            m.process.wait(0.3)  # the moment
    connect("127.0.0.1", m.port).close()
    send_one(m)
    workers(m)
    assert m.stop() == 0
    assert m.errors() == ""


def test_two_systems_side_by_side(mta):
    """Each has its own queue of lines: no line in the wrong log."""
    a, b = mta("run"), mta("run")
    ids = [send_one(a), send_one(b)]
    a.stop()
    b.stop()
    for m, mine, other in ((a, *ids), (b, *reversed(ids))):
        with open(m.log) as f:
            text = f.read()
        assert mine in text and other not in text


# --- children that die ------------------------------------------------------

def test_killed_worker_is_replaced(mta):
    m = mta("run")
    before = workers(m)
    open_one = m.raw()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert open_one.reply()[0] == 0
    after = until("other workers", lambda: [
        p for p in workers(m) if p not in before and is_alive(p)])
    send_one(m)
    until("all are back", lambda: len(
        [p for p in workers(m) if p not in before]) == 2)
    assert after
    assert len(until("in the log", lambda: [
        e for e in m.events("serve.worker", state="died")
        if int(e["pid"]) in before and e["signal"] == "9"])) > 0


@pytest.mark.parametrize("name", ["serve", "send"])
def test_killed_service_is_replaced(mta, name):
    m = mta("run")
    send_one(m)
    pid = find(m, name)
    below = tree_of(pid)
    os.kill(pid, signal.SIGKILL)
    until("its children end", lambda: not any(is_alive(p) for p in below))
    until("another one", lambda: (service(m, name) or pid) != pid)
    until("it works", lambda: send_one(m))
    assert m.stop() == 0


def test_killed_collector_is_replaced_and_no_line_is_missing(mta):
    m = mta("run", {"log.level": "info"})
    killed, ids = set(), []
    for i in range(60):
        ids.append(send_one(m))
        if i % 15 == 7:
            # One that has said so: who is killed at birth leaves no line.
            pid = until("a collector", lambda: next(
                (p for p in (int(e["pid"]) for e in m.events("log.start"))
                 if p not in killed), None))
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    assert len(killed) == 4
    m.settle()
    assert m.stop() == 0
    for events in (m.events("serve.accepted"), m.deliveries()):
        assert sorted(e["id"] for e in events) == sorted(ids)
    assert len(m.events("serve.connect")) == len(m.events("serve.disconnect"))
    assert len(m.events("log.start")) == 5


# --- reload -----------------------------------------------------------------

def settings_in_force(c):
    """What the server offers, as this session sees it."""
    return [x for x in c.say("EHLO client.test")[1] if x.startswith("SIZE")]


def reload(m):
    n = len(m.events("config.reload"))
    m.kill(signal.SIGHUP)
    return until("reload", lambda: m.events("config.reload")[n:])[0]


@pytest.mark.memory
def test_reload_for_new_sessions_only(mta):
    m = mta("run", {"serve.max_message_size": "10M"})
    old = [m.raw() for _ in range(4)]
    for c in old:
        c.say("EHLO client.test")
    old[0].send("MAIL FROM:<a@client.test>\r\nRCPT TO:<ann@here.test>\r\n"
                "DATA\r\nSubject: x\r\n\r\nhalf\r\n")
    assert [old[0].reply()[0] for _ in range(3)] == [250, 250, 354]
    first = workers(m)
    m.settings["serve.max_message_size"] = "20M"
    m.write_conf()
    assert reload(m)["level"] == "info"

    def changed():
        with m.raw() as c:
            return settings_in_force(c) == ["SIZE %d" % (20 << 20)]
    until("the new setting", changed)
    for _ in range(8):
        assert changed()
    assert settings_in_force(old[1]) == ["SIZE %d" % (10 << 20)]
    old[0].send("other half\r\n.\r\n")
    assert old[0].reply()[0] == 250
    for i, c in enumerate(old):
        send_one(m, "still%d" % i, c)
        assert c.say("QUIT")[0] == 221
        c.close()
    until("old workers end with their last client",
          lambda: not any(is_alive(p) for p in first))
    send_one(m)
    assert m.events("serve.worker", state="died") == []


def test_reload_many_times(mta):
    """One generation after the other; sessions that have left do not count
    against their address."""
    m = mta("run", {"serve.relay_networks": ["192.0.2.0/24"],
                    "serve.max_clients_per_ip": 30})
    for i in range(8):
        with m.raw() as c:
            assert c.say("EHLO client.test")[0] == 250
            m.settings["serve.max_message_size"] = "%dM" % (i + 1)
            m.write_conf()
            assert reload(m)["generation"] == str(i + 2)
            send_one(m, "g%d" % i, c)
        until("one generation", lambda: len(m.events("serve.stop")) == i + 1)
    until("two workers are left", lambda: len(workers(m)) == 2)
    for _ in range(5):
        send_one(m)
    assert not m.events("serve.reject")


def test_reload_with_a_mistake_changes_nothing(mta):
    m = mta("run")
    before = workers(m)
    for key, value, said in (
            ("serve.max_recipients", "many", "max_recipients"),
            ("serve.max_recipent", 3, "max_recipients"),  # the nearest
            ("local.aliases", m.dir + "/none", "/none"),
            ("serve.relay_networks", ["nonsense"], "relay_networks")):
        kept = dict(m.settings)
        m.settings[key] = value
        m.write_conf()
        event = reload(m)
        assert event["level"] == "error" and said in event["error"], event
        m.settings = kept
    assert workers(m) == before
    send_one(m)


def test_reload_of_users_and_aliases(mta):
    m = mta("run", start=False)
    users, aliases = m.dir + "/users", m.dir + "/aliases"
    m.settings.update({"local.users": "file:" + users,
                       "local.aliases": aliases})
    m.write_conf()

    def write(path, text):
        with open(path, "w") as f:
            f.write(text)
    write(users, "ann\n")
    write(aliases, "info: ann\n")
    m.start()

    def code(user):
        with m.raw() as c:
            c.say("EHLO client.test")
            c.say("MAIL FROM:<a@client.test>")
            return c.say("RCPT TO:<%s@here.test>" % user)[0]
    assert [code(u) for u in ("ann", "bob", "info", "help")] == \
        [250, 550, 250, 550]
    write(users, "bob\n")
    write(aliases, "help: bob\n")
    reload(m)
    until("the new files", lambda: [
        code(u) for u in ("ann", "bob", "info", "help")] ==
        [550, 250, 550, 250])


def test_service_started_after_a_reload_has_the_new_settings(mta):
    m = mta("run", {"serve.max_message_size": "10M"})
    m.settings["serve.max_message_size"] = "20M"
    m.write_conf()
    reload(m)
    until("one generation", lambda: m.events("serve.stop"))
    pid = find(m, "serve")
    os.kill(pid, signal.SIGKILL)
    until("another server", lambda: (service(m, "serve") or pid) != pid)
    with m.raw() as c:
        assert settings_in_force(c) == ["SIZE %d" % (20 << 20)]


@pytest.mark.memory
def test_reload_of_the_sender(mta):
    m = mta("run", {"send.workers": 1})
    until("its start", lambda: m.events("send.start", workers=1))
    m.settings["send.workers"] = 3
    m.write_conf()
    m.kill(signal.SIGHUP)
    until("another start", lambda: m.events("send.start", workers=3))
    with open(m.conf, "a") as f:
        f.write("nonsense = 1;\n")
    before = find(m, "send")
    assert reload(m)["level"] == "error"
    assert "nonsense" in m.errors() and find(m, "send") == before
    assert len(m.events("send.start")) == 2


def test_log_file_is_opened_again(mta):
    m = mta("run")
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


# --- privileges -------------------------------------------------------------

def give(m, user):
    """The directories belong to that user, who must be able to get there."""
    who = pwd.getpwnam(user)
    for path in (m.dir, m.mail):
        os.chown(path, who.pw_uid, who.pw_gid)
    return who


def ids_of(pid):
    with open("/proc/%d/status" % pid) as f:
        text = f.read()
    return {k: [int(x) for x in re.search(r"(?m)^%s:(.*)$" % k,
                                          text)[1].split()]
            for k in ("Uid", "Gid", "Groups")}


@AS_ROOT
def test_started_where_the_user_may_not_be(mta, tmp_path, monkeypatch):
    """As by root in /root: the sockets of all processes are there."""
    m = mta("run", {"user": "nobody"}, start=False)
    give(m, "nobody")
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    m.start()
    until("all answer", lambda: m.tool(
        "check", "--health", check=False).returncode == 0)
    assert "no control socket" not in m.errors()
    assert not m.events("send.control")


@AS_ROOT
@pytest.mark.parametrize("user,group", [
    ("nobody", None), ("nobody", "mail"), ("65534", "8"), ("nobody", "")])
def test_privileges_are_dropped(mta, user, group):
    settings = {"user": user}
    if group is not None:
        settings["group"] = group
    m = mta("run", settings, start=False)
    who = give(m, "nobody")
    gid = 8 if group else who.pw_gid  # mail is 8 on every Debian
    m.start()
    workers(m)
    find(m, "send")
    send_one(m)
    m.copies("ann")  # mailbox processes have their ids, too
    for pid in tree_of(m.process.pid)[1:]:
        got, root = ids_of(pid), role_of(pid) == "deliver master"
        assert got["Uid"] == ([0, who.pw_uid] * 2 if root
                              else [who.pw_uid] * 4)
        assert got["Gid"] == ([0, gid] * 2 if root else [gid] * 4)
        assert set(got["Groups"]) <= {gid}, pid
    for path, _, files in os.walk(m.queue):
        for name in [""] + files:
            st = os.stat(os.path.join(path, name))
            if stat.S_ISSOCK(st.st_mode) and name == "submit":
                assert st.st_mode & 0o777 == 0o666  # for all users
                continue
            assert st.st_uid == who.pw_uid, (path, name)
            top = (path, name) == (m.queue, "")
            assert st.st_mode & 0o077 == (0o011 if top else 0), (path, name)
    assert os.stat(m.mail + "/ann").st_uid == who.pw_uid
    assert os.stat(m.log).st_uid == who.pw_uid
    assert m.stop() == 0
    assert m.errors() == ""


def refuses(m):
    """Does not start; what it says."""
    m.start(wait=False)
    assert m.process.wait(timeout=DEADLINE) != 0
    m.process = None
    return m.errors()


@AS_ROOT
@pytest.mark.parametrize("name", ["local", "remote", "run"])
@pytest.mark.parametrize("target", ["file", "directory"])
def test_a_planted_link_gives_nothing_away(mta, name, target):
    """The service user puts a link below its queue directory."""
    m = mta("run", {"user": "nobody"}, start=False)
    who = give(m, "nobody")
    os.mkdir(m.queue, 0o711)
    os.chown(m.queue, who.pw_uid, who.pw_gid)
    victim = os.path.join(m.dir, "victim")
    if target == "directory":
        os.mkdir(victim, 0o700)
    else:
        open(victim, "w").close()
    before = os.stat(victim)
    link = os.path.join(m.queue, name)
    os.symlink(victim, link)
    os.lchown(link, who.pw_uid, who.pw_gid)
    assert "%s is a link" % link in refuses(m)
    after = os.stat(victim)
    assert (before.st_uid, before.st_gid, before.st_mode, before.st_ctime) == \
        (after.st_uid, after.st_gid, after.st_mode, after.st_ctime)
    assert target == "file" or os.listdir(victim) == []
    os.unlink(link)
    m.start()
    send_one(m)


@AS_ROOT
@pytest.mark.parametrize("mode,owner,advice", [
    (0o755, "root", "chown nobody "), (0o700, "daemon", "chown nobody "),
    (0o777, "nobody", "chmod go-w ")])
def test_a_directory_that_is_there_is_not_changed(mta, mode, owner, advice):
    m = mta("run", {"user": "nobody"}, start=False)
    give(m, "nobody")
    os.mkdir(m.queue)
    os.chmod(m.queue, mode)
    shutil.chown(m.queue, owner)
    assert advice + m.queue in refuses(m)
    st = os.stat(m.queue)
    assert st.st_uid == pwd.getpwnam(owner).pw_uid
    assert stat.S_IMODE(st.st_mode) == mode
    assert os.listdir(m.queue) == []
    command, _, argument = advice.rstrip().partition(" ")
    subprocess.run([command, argument, m.queue], check=True)
    m.start()
    send_one(m)


@AS_ROOT
def test_a_port_below_1024(mta):
    """Bound as root, served as nobody; also after a reload."""
    m = mta("run", {"user": "nobody"}, start=False)
    give(m, "nobody")
    m.port = next(p for p in range(1023, 512, -1) if port_is_free(p))
    m.settings["serve.listen"] = ["127.0.0.1:%d" % m.port]
    m.write_conf()
    os.chmod(m.conf, 0o644)
    m.start()
    send_one(m)
    assert ids_of(workers(m)[0])["Uid"] == [65534] * 4
    reload(m)
    send_one(m)


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.mark.parametrize("key", ["user", "group"])
def test_unknown_user_or_group(mta, key):
    m = mta("run", {key: "nobody-of-that-name"}, start=False)
    m.start(wait=False)
    assert m.process.wait(timeout=DEADLINE) != 0
    m.process = None
    assert "nobody-of-that-name" in m.errors()
    assert not os.path.exists(m.queue)


@AS_ROOT
@pytest.mark.parametrize("uid", [65534, 123456])
def test_as_any_uid(mta, uid):
    """Also one without a name, as containers have it."""
    m = mta("run", {"user": ""}, start=False)
    for path in (m.dir, m.mail):
        os.chown(path, uid, uid)
    os.chmod(m.conf, 0o644)
    with open(m.stderr, "ab") as err:
        m.process = subprocess.Popen(
            ["setpriv", "--reuid=%d" % uid, "--regid=%d" % uid,
             "--clear-groups", MTA, "run", "-c", m.conf],
            stdin=subprocess.DEVNULL, stdout=err, stderr=err)
    with Raw("127.0.0.1", m.port) as c:
        send_one(m, "ann", c)
    m.copies("ann")
    assert ids_of(workers(m)[0])["Uid"] == [uid] * 4
    assert m.stop() == 0
    assert m.errors() == ""


@AS_ROOT
def test_another_user_cannot_be_had_without_root(mta):
    m = mta("run", {"user": "daemon"}, start=False)
    for path in (m.dir, m.mail):
        os.chown(path, 65534, 65534)
    os.chmod(m.conf, 0o644)
    with open(m.stderr, "wb") as err:
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
             MTA, "run", "-c", m.conf], stderr=err, timeout=DEADLINE)
    assert done.returncode != 0 and "user daemon" in m.errors()


# --- names and installation -------------------------------------------------

@pytest.fixture
def links():
    where = tempfile.mkdtemp(prefix="mta-links-")
    for name in ("smtpd", "mailq", "mta-serve", "mta-deliver", "mta-send",
                 "mta-log", "mta-queue"):
        os.symlink(MTA, os.path.join(where, name))
    yield where
    shutil.rmtree(where)


@BY_NAME
@pytest.mark.parametrize("name", ["smtpd", "mta-serve"])
def test_serves_by_its_name(mta, links, name):
    m = mta("serve", start=False)
    m.process = subprocess.Popen([os.path.join(links, name), "-c", m.conf],
                                 stdin=subprocess.DEVNULL)
    send_one(m)
    assert m.stop() == 0


@BY_NAME
def test_queue_by_its_name(mta, links):
    m = mta("serve")
    with m.smtp() as s:
        s.sendmail("a@client.test", ["x@far.test"], b"Subject: x\r\n\r\nx\r\n")
    want = m.tool("queue", "list", "--json").stdout
    for argv in (["mailq"], ["mta-queue", "list"], ["mta-queue"]):
        got = subprocess.run(
            [os.path.join(links, argv[0])] + argv[1:] +
            ["--json", "-c", m.conf], stdout=subprocess.PIPE, check=True,
            timeout=DEADLINE).stdout
        assert got == want and b"x@far.test" in got


def test_unknown_command_or_flag():
    for argv in (["frobnicate"], ["serve", "--frobnicate"], ["queue", "frob"]):
        done = subprocess.run([MTA] + argv, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=DEADLINE)
        assert done.returncode == 64 and done.stderr and not done.stdout


def test_flags_of_serve(mta):
    m = mta("serve", start=False)
    port = free_port()
    m.process = subprocess.Popen(
        [MTA, "serve", "-c", m.conf, "--bind", "127.0.0.1", "--port",
         str(port), "--mail-dir", m.dir + "/m", "--queue-dir", m.dir + "/q",
         "--log-file", m.dir + "/l", "--workers", "3", "--relay-network",
         "192.0.2.0/24", "--relay-network", "198.51.100.0/24"],
        stdin=subprocess.DEVNULL)
    m.port, m.mail, m.queue, m.log = port, m.dir + "/m", m.dir + "/q", \
        m.dir + "/l"
    m.settings["serve.workers"] = 3
    send_one(m)
    workers(m)
    until("delivered", lambda: len(m.mailbox("ann")) == 1)
    assert sorted(os.listdir(m.queue)) == ["local", "remote", "run",
                                           "submit"]
    with m.raw() as c:  # 127.0.0.1 may not relay now
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        assert c.say("RCPT TO:<x@far.test>")[0] == 550
    assert m.stop() == 0
    assert m.events("serve.accepted")


def test_environment(mta):
    m = mta("serve", start=False)
    secret = m.dir + "/hostname"
    with open(secret, "w") as f:
        f.write("env.here.test\n")
    del m.settings["hostname"]
    m.write_conf()
    env = dict(os.environ, MTA_SERVE_MAX_RECIPIENTS="2",
               MTA_HOSTNAME_FILE=secret)
    m.process = subprocess.Popen([MTA, "serve", "-c", m.conf], env=env,
                                 stdin=subprocess.DEVNULL)
    with m.raw(greet=False) as c:
        code, words = c.reply()
        assert code == 220 and words[0].startswith("env.here.test ")
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        assert [c.say("RCPT TO:<u%d@here.test>" % i)[0]
                for i in range(3)] == [250, 250, 452]


@pytest.mark.skipif(os.path.dirname(MTA) != ROOT,
                    reason="make install takes ./mta")
@pytest.mark.parametrize("prefix", ["/usr/local", "/usr"])
def test_install(prefix):
    where = tempfile.mkdtemp(prefix="mta-install-")
    try:
        for _ in range(2):  # again over itself
            subprocess.run(["make", "-s", "-C", ROOT, "install",
                            "DESTDIR=" + where, "PREFIX=" + prefix],
                           check=True, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=DEADLINE * 4)
        sbin = where + prefix + "/sbin"
        assert sorted(os.listdir(sbin)) == [
            "mailq", "mta", "mta-deliver", "mta-log", "mta-send", "mta-serve",
            "newaliases", "sendmail", "smtpd"]
        assert os.path.isfile(where + prefix + "/share/man/man1/mta.1")
        assert os.path.isfile(where + prefix + "/share/man/man5/mta.conf.5")
        assert os.path.isfile(where + prefix + "/share/man/man5/mta-spool.5")
        for command in ("serve", "queue", "config"):
            assert os.path.isfile(where + prefix +
                                  "/share/man/man1/mta-%s.1" % command)
        assert os.path.isfile(where + prefix + "/share/man/man1/mailq.1")
        assert os.listdir(where + "/etc/mta") == ["mta.conf"]
        done = subprocess.run([sbin + "/mta", "config", "--check",
                               "--offline", "-c",
                               where + "/etc/mta/mta.conf"],
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=DEADLINE)
        assert done.returncode == 0, done.stdout
        for name in os.listdir(sbin):
            assert os.path.realpath(sbin + "/" + name) == sbin + "/mta"
        with open(where + "/etc/mta/mta.conf", "a") as f:
            f.write("# mine\n")
        subprocess.run(["make", "-s", "-C", ROOT, "install",
                        "DESTDIR=" + where, "PREFIX=" + prefix], check=True,
                       stdout=subprocess.PIPE, timeout=DEADLINE * 4)
        with open(where + "/etc/mta/mta.conf") as f:
            assert f.read().endswith("# mine\n")  # a changed file stays
    finally:
        shutil.rmtree(where)
