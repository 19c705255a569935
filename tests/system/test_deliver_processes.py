"""The processes of local delivery: their master, the delivery process, mailbox
processes, user helper.  What dies is replaced and no mail is lost or doubled;
what each may do; how all of them end."""

import glob
import os
import pwd
import signal
import time

import pytest

from harness import (UNDER_VALGRIND, children_of, free_port, is_alive,
                     send_signal,
                     tree_of, until)
from processes import by_role, send_one
from test_run import give, ids_of

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = pwd.getpwnam("nobody")
OF_SYSTEM = ("games", "man", "news")  # users of every Debian
STOP = 2  # seconds of stop_timeout, where a test measures it
LATE = 10  # that a busy machine may need beside it; a hang is for ever


def family(m):
    """role -> pids of local delivery, once all are there."""
    helpers = m.settings["local.users"] == "passwd"

    def all_there():
        found = by_role(m.process.pid)
        master = found.get("deliver master", [None])[0]
        ours = {"deliver master": [master] if master else [],
                "deliver": found.get("deliver", []),
                "mailbox": found.get("mailbox", []),
                "user helper": [p for p in found.get("user helper", [])
                                if master and p in children_of(master)]}
        if [len(x) for x in ours.values()] == \
                [1, 1, m.settings.get("deliver.workers", 2), int(helpers)]:
            return {role: pids for role, pids in ours.items() if pids}
        return None
    return until("all processes of local delivery", all_there)


def pids(processes):
    return [pid for some in processes.values() for pid in some]


def zombies(pid):
    return [p for p in tree_of(pid)[1:] if not is_alive(p)]


def for_users(mta, users, command="run", **settings):
    """Mailboxes for all names, or for users of the system."""
    m = mta(command, dict(settings, **{"local.users": users}), start=False)
    os.chmod(m.mail, 0o1777)
    m.start()
    return m


# --- what dies --------------------------------------------------------------

@pytest.mark.parametrize("command", ["run", "serve"])
@pytest.mark.parametrize("users", [
    "any", pytest.param("passwd", marks=AS_ROOT)])
def test_each_is_killed_while_mail_flows(mta, command, users):
    """In turn, with mail before it, at once behind it, and when it is back:
    each message is there once."""
    m = for_users(mta, users, command)
    names = OF_SYSTEM if users == "passwd" else ("ann", "bob", "cy")
    sent = 0
    with m.raw() as c:
        for role in family(m):
            for i in range(len(family(m)[role])):
                before = family(m)
                for name in names:
                    send_one(m, name, c)
                os.kill(before[role][i], signal.SIGKILL)
                for name in names:
                    send_one(m, name, c)
                sent += 2
                after = until("another " + role, lambda: (
                    lambda now: now if before[role][i] not in now[role]
                    else None)(family(m)))
                assert (pids(after) == pids(before)) is False
    for name in names:
        m.copies(name, sent)
    until("no zombie", lambda: not zombies(m.process.pid))
    assert m.stop() == 0


def test_a_killed_mailbox_process_alone_is_replaced(mta):
    m = mta("run")
    before = family(m)
    os.kill(before["mailbox"][0], signal.SIGKILL)
    until("in the log", lambda: m.events(
        "deliver.process", state="died", pid=before["mailbox"][0], signal=9))
    after = until("another", lambda: (lambda now: now if before["mailbox"][0]
                                      not in now["mailbox"] else None)(
                                          family(m)))
    assert before["mailbox"][1] in after["mailbox"]
    assert before["deliver"] == after["deliver"]
    assert before["deliver master"] == after["deliver master"]


def test_a_delivery_process_that_cannot_live_costs_little(mta):
    """Killed again and again, it is forked once a second at the most."""
    m = mta("run")
    family(m)
    begin, killed = time.monotonic(), set()
    while len(killed) < 4:
        for pid in by_role(m.process.pid).get("deliver", []):
            send_signal(pid, signal.SIGKILL)
            killed.add(pid)
            until("it is gone", lambda: not is_alive(pid))
    assert time.monotonic() - begin > 1.5
    family(m)
    send_one(m)
    m.copies("ann")


def test_usr1_tries_all_now(mta):
    """The master passes it on."""
    m = mta("run", {"send.retry_min": "1h", "send.retry_max": "1h",
                    "local.mailbox": "maildir"})
    with open(m.mail + "/ann", "w"):  # no Maildir
        send_one(m)
    until("it waits", lambda: m.events("deliver.mailbox", mailbox="ann"))
    os.unlink(m.mail + "/ann")
    before = family(m)
    m.kill(signal.SIGUSR1)
    m.copies("ann")
    assert family(m) == before


# --- once -------------------------------------------------------------------

def leave_in_queue(m, n):
    """Mail for ann that nothing has delivered, and nothing that runs."""
    for pid in family(m)["deliver"]:
        os.kill(pid, signal.SIGSTOP)
    for _ in range(n):
        send_one(m)
    # An orphaned process group with a stopped member is continued: it first.
    for pid in family(m)["deliver"]:
        os.kill(pid, signal.SIGKILL)
    m.kill_all()


def once(m, *flags):
    """Exit status of one pass."""
    m.command, m.flags = "deliver", ["--once", *flags]
    m.start(wait=False)
    status = m.process.wait(timeout=60)
    m.process = None
    return status


def test_once(mta):
    m = mta("run")
    leave_in_queue(m, 5)
    assert once(m) == 0
    assert len(m.mailbox("ann")) == 5
    assert m.queued() == []
    assert once(m) == 0
    assert m.errors() == ""


@pytest.mark.skipif(UNDER_VALGRIND, reason="another status")
def test_once_with_mail_that_cannot_be_delivered(mta):
    m = mta("run")
    leave_in_queue(m, 2)
    with open(m.mail + "/ann", "w"):  # neither Maildir
        os.chmod(m.mail + "/ann", 0)
    m.settings["local.mailbox"] = "maildir"
    m.write_conf()
    assert once(m) == 75
    assert len(m.queued()) == 2
    os.unlink(m.mail + "/ann")


def test_a_second_consumer_is_refused(mta):
    m = mta("run")
    family(m)
    done = m.tool("deliver", "--once", check=False)
    assert done.returncode == 69, done
    assert b"another mta delivers from" in done.stderr
    send_one(m)
    m.copies("ann")


def test_a_second_system_on_a_queue_takes_nothing(mta):
    """It is refused before it replaces a socket, and names the way out."""
    m = mta("run")
    until("both queues are taken", lambda: m.events("deliver.start") and
          m.events("send.start"))
    submit = os.stat(m.queue + "/submit").st_ino
    for command in (["run", "--bind", "127.0.0.1:%d" % free_port()], ["send"]):
        done = m.tool(*command, check=False)
        assert done.returncode == 69, done
        assert b"another mta delivers from" in done.stderr
        assert b"stop it, or set queue_dir" in done.stderr
    assert os.stat(m.queue + "/submit").st_ino == submit
    m.tool("check", "--health")


def test_a_sender_alone_warns_of_local_mail(mta):
    m = mta("run")
    leave_in_queue(m, 1)
    m.command = "send"
    m.start()
    until("it warns", lambda: m.events("queue.unattended", queue="local"))
    assert m.errors().count("run mta deliver") == 1
    assert m.stop() == 0
    assert once(m) == 0
    m.command, m.flags = "send", ["--once"]
    m.start()
    assert m.process.wait(timeout=60) == 0
    m.process = None
    assert len(m.events("queue.unattended")) == 1


# --- the end ----------------------------------------------------------------

@pytest.mark.parametrize("whom", ["supervisor", "all"])
def test_stop_finishes_what_is_in_hand(mta, whom):
    """Also where a service manager signals all processes at once."""
    m = mta("run")
    family(m)
    with m.raw() as c:
        for i in range(50):
            send_one(m, "ann%d" % (i % 7), c)
    everything = tree_of(m.process.pid)
    for pid in everything if whom == "all" else everything[:1]:
        send_signal(pid, signal.SIGTERM)
    assert m.stop() == 0
    assert not any(is_alive(p) for p in everything)
    in_mailboxes = sum(len(m.mailbox("ann%d" % i)) for i in range(7))
    assert in_mailboxes + len(m.queued()) == 50
    assert m.errors() == ""


@pytest.mark.parametrize("role", ["mailbox", "deliver", "deliver master",
                                  "user helper"])
def test_a_stuck_process_does_not_delay_the_stop(mta, role):
    m = for_users(mta, "passwd" if role == "user helper" else "any",
                  **{"stop_timeout": "%ds" % STOP})
    everything = tree_of(m.process.pid)
    for pid in family(m)[role]:
        os.kill(pid, signal.SIGSTOP)
    if role == "mailbox":
        with m.raw() as c:
            for i in range(10):
                send_one(m, "ann%d" % i, c)
    begin = time.monotonic()
    assert m.stop() == 0
    assert time.monotonic() - begin < STOP + LATE
    until("all gone", lambda: not any(is_alive(p) for p in everything))


def test_nothing_outlives_a_killed_master(mta):
    m = mta("run")
    before = family(m)
    os.kill(before["deliver master"][0], signal.SIGKILL)
    until("its children end", lambda: not any(
        is_alive(p) for p in pids(before)))
    family(m)
    send_one(m)
    m.copies("ann")


# --- reload -----------------------------------------------------------------

def test_a_new_generation(mta):
    """It begins when the old one has ended; mail flows."""
    m = mta("run")
    before, sent = family(m), 0
    with m.raw() as c:
        for n in (3, 1, 2):
            for _ in range(5):
                send_one(m, "ann", c)
                sent += 1
            m.settings["deliver.workers"] = n
            m.write_conf()
            m.kill(signal.SIGHUP)
            after = until("another generation", lambda: (
                lambda now: None if set(pids(now)) & set(pids(before))
                else now)(family(m)))
            assert not any(is_alive(p) for p in pids(before))
            before = after
            c.sock.settimeout(60)
            c.close()
            c = m.raw()
    m.copies("ann", sent)
    until("no zombie", lambda: not zombies(m.process.pid))
    assert m.errors() == ""


def test_other_tables_make_no_generation(mta):
    m = mta("run", start=False)
    m.aliases = m.dir + "/aliases"
    m.settings["local.aliases"] = m.aliases
    m.write_conf()
    for i in range(2):
        with open(m.aliases + ".new", "w") as f:
            f.write("info: ann%d\n" % i)
        os.rename(m.aliases + ".new", m.aliases)
        if i == 0:
            m.start()
            before = family(m)
        else:
            m.kill(signal.SIGHUP)
            until("reload", lambda: m.events("config.reload"))

        def arrives():
            send_one(m, "info")
            m.settle()
            return m.mailbox("ann%d" % i)
        until("the new table", arrives)
    assert family(m) == before


# --- privileges -------------------------------------------------------------

@AS_ROOT
@pytest.mark.parametrize("users", ["any", "passwd"])
def test_ids(mta, users):
    """Root's is the master, which acts as the user, and mailbox processes of
    users of the system."""
    m = mta("run", {"user": "nobody", "local.users": users}, start=False)
    give(m, "nobody")
    os.chmod(m.mail, 0o1777)
    m.start()
    found = family(m)
    send_one(m, "games")
    until("a mailbox", lambda: glob.glob(m.mail + "/games/new/*"))
    nobody = NOBODY.pw_uid
    assert ids_of(found["deliver master"][0])["Uid"] == [0, nobody, 0, nobody]
    for role in ("deliver", "user helper"):
        for pid in found.get(role, []):
            got = ids_of(pid)
            assert got["Uid"] == [nobody] * 4
            assert got["Gid"] == [NOBODY.pw_gid] * 4
            assert set(got["Groups"]) <= {NOBODY.pw_gid}
    owner = "games" if users == "passwd" else "nobody"
    assert os.stat(m.mail + "/games").st_uid == pwd.getpwnam(owner).pw_uid
    assert m.stop() == 0
    assert m.errors() == ""


@AS_ROOT
def test_as_an_ordinary_user(mta):
    """All of it, without root: one mailbox, of the caller."""
    def drop():
        os.setgroups([])
        os.setgid(NOBODY.pw_gid)
        os.setuid(NOBODY.pw_uid)
    m = mta("run", {"user": "", "local.users": "passwd"}, start=False,
            limit=drop)
    give(m, "nobody")
    os.chmod(m.conf, 0o644)
    m.start()
    found = family(m)
    for pid in pids(found):
        assert ids_of(pid)["Uid"] == [NOBODY.pw_uid] * 4
    send_one(m, "nobody")
    m.copies("nobody")
    for role in ("mailbox", "deliver"):
        os.kill(found[role][0], signal.SIGKILL)
        until("it is gone", lambda: not is_alive(found[role][0]))
        family(m)
    send_one(m, "nobody")
    m.copies("nobody", 2)
    assert m.stop() == 0
    assert m.errors() == ""


@pytest.mark.skipif(UNDER_VALGRIND, reason="has descriptors of its own")
@pytest.mark.parametrize("users", ["any", "passwd"])
def test_no_descriptor_is_inherited(mta, users):
    """A process behind a pair has that pair alone; the delivery process no
    listener, and no line but its own."""
    m = for_users(mta, users)
    send_one(m, "games" if users == "passwd" else "ann")
    m.settle()
    found = family(m)

    def targets(pid):
        return [os.readlink(path) for path in
                glob.glob("/proc/%d/fd/*" % pid) if os.path.lexists(path)
                and int(os.path.basename(path)) > 2]
    for pid in found["mailbox"] + found.get("user helper", []):
        sockets = [t for t in targets(pid) if t.startswith("socket:")]
        assert len(sockets) == 1, targets(pid)
    listeners = set()
    with open("/proc/net/tcp") as f:
        for line in f.readlines()[1:]:
            row = line.split()
            if row[1].endswith(":%04X" % m.port):
                listeners.add("socket:[%s]" % row[9])
    assert listeners
    for pid in pids(found):
        assert not listeners & set(targets(pid)), pid
    lines = [t for t in targets(found["deliver master"][0])
             if t.startswith("socket:")]
    assert len(lines) == 2, lines  # to the supervisor, to the delivery process


# --- too few ----------------------------------------------------------------

def test_without_descriptors_another_try_follows(mta):
    """A master that cannot make a pair says so and goes on."""
    import resource
    m = mta("run")
    found = family(m)
    master = found["deliver master"][0]
    before = resource.prlimit(master, resource.RLIMIT_NOFILE)
    resource.prlimit(master, resource.RLIMIT_NOFILE, (3, before[1]))
    os.kill(found["mailbox"][0], signal.SIGKILL)
    until("it is said", lambda: [
        e for e in m.events("deliver.process")
        if "make a pair of sockets" in e.get("error", "")])
    resource.prlimit(master, resource.RLIMIT_NOFILE, before)
    family(m)
    send_one(m)
    m.copies("ann")
