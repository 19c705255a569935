"""What each process may do, by docs/privileges.md: ids, capabilities, what is
in force, what it holds open; and links that users plant where mail is made.

What the rows refuse is tried from inside by tests/unit/test_base_sandbox.c."""

import ctypes
import glob
import os
import pathlib
import pwd
import re
import stat

import pytest

from auth import USER, AuthPeer
from harness import DEADLINE, UNDER_VALGRIND, until
from processes import by_role, send_one

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
AS_IT_IS = pytest.mark.skipif(UNDER_VALGRIND, reason="looks at the process")
SANITIZED = "/san-" in os.environ.get("MTA", "")  # without Landlock
NOBODY = pwd.getpwnam("nobody")
CHOWN, DAC_READ_SEARCH, SETGID, SETUID = 1 << 0, 1 << 2, 1 << 6, 1 << 7
LIBC = ctypes.CDLL(None, use_errno=True)
CREATE_RULESET = 444  # on every architecture
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 1 << 18
CONFINED = {"log": "collector", "worker": "worker", "deliver": "deliver",
            "mailbox": "mailbox", "send": "sender", "user helper": "helper",
            "token": "token"}
EVERY = {"supervisor", "log", "serve", "worker", "deliver master", "deliver",
         "mailbox", "send"}


def give(m):
    """All of the system to nobody, as an administrator would."""
    os.chmod(m.dir, 0o755)
    for path in (m.dir, m.mail):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)


def status_of(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":", 1) for line in f)


def ids(status, field):
    return [int(x) for x in status[field].split()]


def family(m, users):
    wanted = EVERY | ({"user helper"} if users == "passwd" else set())

    def all_there():
        found = by_role(m.process.pid)
        return found if set(found) >= wanted and all(
            len(found[x]) == 2 for x in ("worker", "mailbox")) else None
    return until("all processes", all_there)


def confined(m, found):
    """Each has logged what is in force."""
    for role, process in CONFINED.items():
        until(process, lambda: len(m.events("sandbox.on", process=process)) >=
              len(found.get(role, [])))
    return m.events("sandbox.on")


# --- the table --------------------------------------------------------------

@AS_ROOT
@AS_IT_IS
@pytest.mark.parametrize("users", ["any", "passwd"])
def test_ids_and_capabilities(mta, users):
    m = mta("run", {"user": "nobody", "local.users": users}, start=False)
    give(m)
    os.chmod(m.mail, 0o1777)
    m.start()
    found = family(m, users)
    confined(m, found)
    nobody, root = NOBODY.pw_uid, 0
    for role, pids in found.items():
        for pid in pids:
            s = status_of(pid)
            caps = int(s["CapPrm"], 16)
            assert s["NoNewPrivs"].strip() == "1", role
            if role == "mailbox" and users == "passwd":
                assert ids(s, "Uid")[0] == ids(s, "Uid")[2] == root
                assert caps == CHOWN | DAC_READ_SEARCH | SETGID | SETUID
            elif role == "supervisor":
                assert ids(s, "Uid") == [root] * 4
            elif role == "deliver master":
                assert ids(s, "Uid") == [root, nobody, root, nobody]
            else:
                assert ids(s, "Uid") == [nobody] * 4, role
                assert ids(s, "Gid") == [NOBODY.pw_gid] * 4, role
                assert set(ids(s, "Groups")) <= {NOBODY.pw_gid}, role
                assert caps == int(s["CapEff"], 16) == 0, role
            if role in CONFINED:
                assert s["Seccomp"].strip() == "2", role


@AS_ROOT
@AS_IT_IS
def test_token_process_and_its_program(mta):
    """As the user, without a way to the queue or to root; so is what it
    runs."""
    with AuthPeer("XOAUTH2", secret="t") as peer:
        m = mta("run", {"user": "nobody", "send.tls": "none",
                        "send.relay_host": "[127.0.0.1]:%d" % peer.port,
                        "send.relay_user": USER}, start=False)
        place = pathlib.Path(m.dir, "bin")
        place.mkdir()
        seen, program = place / "seen", place / "get"
        m.settings["send.relay_token"] = "command:%s" % program
        m.write_conf()
        program.write_text("#!/bin/sh\n{ cat /proc/$$/status; ls %s/remote"
                           " && echo LISTED; } > %s 2>&1\necho t\n"
                           % (m.queue, seen))
        program.chmod(0o755)
        # A directory of the user would not be kept from it.
        os.chmod(m.dir, 0o755)
        os.chown(m.mail, NOBODY.pw_uid, NOBODY.pw_gid)
        seen.touch()
        seen.chmod(0o666)
        m.start()
        pid = until("started", lambda: by_role(m.process.pid).get("token"))[0]
        line = until("confined", lambda: m.events("sandbox.on",
                                                  process="token"))[0]
        s = status_of(pid)
        assert ids(s, "Uid") == [NOBODY.pw_uid] * 4
        assert int(s["CapPrm"], 16) == 0 and s["Seccomp"].strip() == "2"
        with m.smtp() as c:
            c.sendmail("a@src.test", ["u@x.test"], b"Subject: x\r\n\r\nx\r\n")
        until("delivered", lambda: peer.messages)
    text = seen.read_text()
    assert "Uid:" + "\t%d" % NOBODY.pw_uid * 4 in text, text
    assert "NoNewPrivs:\t1" in text and "Seccomp:\t2" in text
    if int(line["landlock"]) > 0:
        assert "LISTED" not in text and "Permission denied" in text


@AS_IT_IS
@pytest.mark.parametrize("as_root", [
    pytest.param(True, marks=AS_ROOT), False])
def test_both_are_in_force(mta, as_root):
    """Landlock where this kernel has it.  One of the two there must be."""
    def drop():
        if not as_root and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY.pw_gid)
            os.setuid(NOBODY.pw_uid)
    m = mta("run", {} if as_root else {"user": ""}, start=False, limit=drop)
    if not as_root and os.geteuid() == 0:
        give(m)
    m.start()
    lines = confined(m, family(m, "any"))
    abi = LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    for line in lines:
        assert line["seccomp"] == "yes" or int(line["landlock"]) > 0
        assert line["seccomp"] == "yes"
        if SANITIZED:
            assert "sanitizer" in line["error"]
        else:
            assert int(line["landlock"]) == max(abi, 0)
            assert ("error" in line) == (abi < 1)
    with m.raw() as c:
        send_one(m, "ann", c)
    m.copies("ann")


# --- what they hold ---------------------------------------------------------

def listening():
    """Inodes of TCP sockets that listen."""
    found = set()
    for name in ("tcp", "tcp6"):
        with open("/proc/net/" + name) as f:
            found |= {x.split()[9] for x in f.readlines()[1:]
                      if x.split()[3] == "0A"}
    return found


def kind(m, link, listeners):
    """Of what a descriptor leads to, in a word."""
    inode = re.fullmatch(r"socket:\[(\d+)\]", link)
    if inode:
        return "listener" if inode[1] in listeners else "socket"
    for name, path in (("log", m.log), ("local", m.queue + "/local"),
                       ("remote", m.queue + "/remote"),
                       ("run", m.queue + "/run"), ("mail", m.mail)):
        if link == path or link.startswith(path + "/"):
            return name
    if link.startswith(("pipe:", "anon_inode:", "/dev/null", "/memfd:mta",
                        m.stderr)):
        return "own"
    return link


# run: the control sockets' locks, and log.writers, which is held by all who
# log.  Queues: locks and FIFOs too.
HOLDS = {
    "supervisor": {"listener", "log", "run"},
    "log": {"log", "run"},
    "serve": {"listener", "run"},
    "worker": {"listener", "run", "local", "remote"},
    "deliver master": {"run"},
    "deliver": {"run", "local", "remote"},
    "mailbox": {"local", "mail"},
    "send": {"run", "local", "remote"},
    "user helper": set(),
}


@AS_ROOT
@AS_IT_IS
@pytest.mark.parametrize("users", ["any", "passwd"])
def test_each_holds_what_its_row_has(mta, users):
    m = mta("run", {"local.users": users}, start=False)
    os.chmod(m.mail, 0o1777)
    m.start()
    found = family(m, users)
    confined(m, found)
    with m.smtp() as s:
        for i in range(4):
            s.sendmail("a@client.test", ["games@here.test", "x@far.test"],
                       b"Subject: x\r\n\r\nx\r\n")
    m.copies("games", 4)
    listeners = listening()
    for role, pids in family(m, users).items():
        for pid in pids:
            held = set()
            for fd in glob.glob("/proc/%d/fd/*" % pid):
                try:
                    held.add(kind(m, os.readlink(fd), listeners))
                except OSError:
                    pass  # closed meanwhile
            assert held <= HOLDS[role] | {"socket", "own"}, role
            if role in ("supervisor", "serve", "worker"):
                assert "listener" in held, role


# --- planted by the user of the service -------------------------------------

class Victim:
    """A directory of root with a file, which must stay as they are."""

    def __init__(self, m):
        self.dir = m.dir + ".victim"
        os.mkdir(self.dir, 0o755)
        self.file = self.dir + "/file"
        with open(self.file, "w") as f:
            f.write("root:x:0:0\n")
        os.chmod(self.file, 0o644)
        self.before = self.seen()

    def seen(self):
        found = []
        for path in (self.dir, self.file):
            st = os.lstat(path)
            found.append((st.st_uid, st.st_gid, st.st_mode, st.st_size,
                          st.st_mtime_ns, st.st_ctime_ns))
        return found, os.listdir(self.dir)

    def check(self):
        assert self.seen()[1] == self.before[1]
        assert self.seen()[0] == self.before[0]


@pytest.fixture
def victim():
    made = []

    def make(m):
        made.append(Victim(m))
        return made[-1]
    yield make
    for v in made:
        for path in glob.glob(v.dir + "/*"):
            os.unlink(path)
        os.rmdir(v.dir)


@AS_ROOT
@pytest.mark.parametrize("name", ["", "/local", "/remote", "/run"])
def test_a_link_at_the_start_is_refused(mta, victim, name):
    """By the user of the service, who owns the directory it is in."""
    m = mta("run", {"user": "nobody"}, start=False)
    give(m)
    v = victim(m)
    if name:
        os.mkdir(m.queue, 0o711)
        os.chown(m.queue, NOBODY.pw_uid, NOBODY.pw_gid)
    os.symlink(v.dir, m.queue + name)
    os.lchown(m.queue + name, NOBODY.pw_uid, NOBODY.pw_gid)
    m.start(wait=False)
    assert m.process.wait(DEADLINE) != 0
    m.process = None
    assert "link" in m.errors(), m.errors()
    v.check()


# --- planted by users -------------------------------------------------------

USERS = {"alice": 64001, "bob": 64002}


def with_accounts(m):
    """A function that gives a process a file of users of its own."""
    path = m.dir + "/passwd"
    with open("/etc/passwd") as f, open(path, "w") as out:
        out.write(f.read())
        for name, uid in USERS.items():
            home = "%s/home/%s" % (m.dir, name)
            os.makedirs(home)
            os.chown(home, uid, uid)
            os.chmod(home, 0o700)
            out.write("%s:x:%d:%d::%s:/bin/sh\n" % (name, uid, uid, home))
    os.chmod(path, 0o644)

    def enter():
        calls = (LIBC.unshare(CLONE_NEWNS),
                 LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None),
                 LIBC.mount(path.encode(), b"/etc/passwd", None, MS_BIND,
                            None))
        if calls != (0, 0, 0):
            raise OSError(ctypes.get_errno(), "a file of users")
    return enter


def two_users(mta, **settings):
    m = mta("run", dict({"user": "nobody", "local.users": "passwd",
                         "local.mailbox": "auto"}, **settings), start=False)
    os.chmod(m.dir, 0o755)
    os.chmod(m.mail, 0o1777)
    os.makedirs(m.queue, 0o711)
    os.chown(m.queue, NOBODY.pw_uid, NOBODY.pw_gid)
    m.limit = with_accounts(m)
    return m


def as_user(name, fn, *args):
    """Done with the ids of a user."""
    os.setegid(USERS[name])
    os.seteuid(USERS[name])
    try:
        fn(*args)
    finally:
        os.seteuid(0)
        os.setegid(0)


def maildir(m, name):
    box = "%s/%s" % (m.mail, name)
    for path in (box, box + "/tmp", box + "/new", box + "/cur"):
        as_user(name, os.mkdir, path, 0o700)
    return box


def plant_in_maildir(part):
    def plant(m, v):
        box = maildir(m, "alice")
        as_user("alice", os.rmdir, box + part)
        as_user("alice", os.symlink, v.dir, box + part)
    plant.__name__ = "link_as" + part.replace("/", "_")
    return plant


def link_as_maildir(m, v):
    as_user("alice", os.symlink, v.dir, m.mail + "/alice")


def link_as_mbox(m, v):
    as_user("alice", os.symlink, v.file, m.mail + "/alice")


def hard_link_as_mbox(m, v):
    os.link(v.file, m.mail + "/alice")  # as before protected_hardlinks
    v.before = v.seen()


def link_as_lock(m, v):
    """Nothing goes through it; it is a lock, and never ends."""
    open(m.mail + "/alice", "w").close()
    os.chmod(m.mail + "/alice", 0o600)
    os.chown(m.mail + "/alice", USERS["alice"], USERS["alice"])
    as_user("alice", os.symlink, v.file, m.mail + "/alice.lock")


@AS_ROOT
@pytest.mark.parametrize("plant", [
    plant_in_maildir("/new"), plant_in_maildir("/tmp"), link_as_maildir,
    link_as_mbox, hard_link_as_mbox,
    pytest.param(link_as_lock, marks=pytest.mark.slow)],
    ids=lambda p: p.__name__)
def test_a_link_of_a_user_leads_nowhere(mta, victim, plant):
    """Nothing is written, chowned or chmodded through it; the mail waits, and
    the log says why; another's mail does not wait for it."""
    m = two_users(mta)
    v = victim(m)
    plant(m, v)
    m.start()
    with m.raw() as c:
        send_one(m, "alice", c)
        send_one(m, "bob", c)
    m.copies("bob")
    told = until("it waits", lambda: m.events("deliver.mailbox") +
                 m.events("deliver.deferred"), 60)[0]
    assert told["mailbox"] == "alice" and told["status"][0] == "4", told
    why = told.get("error", told.get("reply"))
    assert plant is link_as_lock or m.mail + "/alice" in why, told
    v.check()
    until("it is in the slot", lambda: [
        r["state"] for q in m.queued() for r in q["recipients"]] ==
        ["pending"])


@pytest.mark.parametrize("how", [
    "renamed", pytest.param("mounted", marks=AS_ROOT)])
@pytest.mark.parametrize("users", [
    "any", pytest.param("passwd", marks=AS_ROOT)])
def test_another_mail_dir(mta, how, users):
    """The rules of a mailbox process lead to the one that was there."""
    m = mta("run", {"local.users": users}, start=False)
    os.chmod(m.mail, 0o1777)
    m.start()
    with m.raw() as c:
        send_one(m, "games", c)
        m.copies("games")
        if how == "renamed":
            os.rename(m.mail, m.mail + ".old")
            os.mkdir(m.mail)
        elif LIBC.mount(b"none", m.mail.encode(), b"tmpfs", 0, None) != 0:
            pytest.skip("cannot mount")
        try:
            os.chmod(m.mail, 0o1777)
            send_one(m, "games", c)
            m.copies("games")
        finally:
            if how == "mounted":
                assert m.stop() == 0
                assert LIBC.umount(m.mail.encode()) == 0


@AS_ROOT
@pytest.mark.parametrize("where", ["mail_dir", "home"])
def test_each_user_reads_the_own_mail(mta, where):
    m = two_users(mta, **({"local.mail_dir": "~/Maildir"}
                          if where == "home" else {}))
    m.start()
    with m.raw() as c:
        for name in USERS:
            send_one(m, name, c)
    for name, uid in USERS.items():
        box = "%s/home/%s/Maildir" % (m.dir, name) if where == "home" \
            else "%s/%s" % (m.mail, name)
        path = until("a letter of " + name,
                     lambda: glob.glob(box + "/new/*"))[0]
        st = os.stat(path)
        assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (uid, 0o600)
        as_user(name, lambda: open(path).close())
        other = next(x for x in USERS if x != name)
        with pytest.raises(PermissionError):
            as_user(other, open, path)
