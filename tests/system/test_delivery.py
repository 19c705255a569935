"""What local delivery promises, fault by fault (docs/faults.md, "Aliases,
mailboxes, privileges"): users of their own, aliases, locks, mailboxes that
hang, that are full, or that are not what they should be."""

import ctypes
import fcntl
import glob
import mailbox
import os
import re
import shutil
import signal
import stat
import statistics
import subprocess
import tempfile
import threading
import time

import pytest

from dnsserver import DnsServer
from harness import UNDER_VALGRIND, Raw, until
from peer import Peer
from test_submit import Local, send, submit_socket

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
MEASURES = pytest.mark.skipif(UNDER_VALGRIND or "NAPS" in os.environ,
                              reason="it measures")
ANN, BOB, VMAIL, GROUP = 64201, 64202, 64203, 64208
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 1 << 18
ELSEWHERE = {"far.test": "@ A 127.0.0.1", "client.test": "@ A 127.0.0.1"}


def make(mta, settings=None, command="run", files=None, **more):
    """A system whose settings and files may name its directory as %s."""
    m = mta(command, settings, start=False, **more)
    os.chmod(m.dir, 0o755)  # users must get to their mailboxes
    for name, text in (files or {}).items():
        with open(os.path.join(m.dir, name), "w", encoding="utf-8") as f:
            f.write(text.replace("%s", m.dir))
    for key, value in m.settings.items():
        if isinstance(value, str):
            m.settings[key] = value.replace("%s", m.dir)
    m.write_conf()
    return m


def with_aliases(mta, text, settings=None, **more):
    files = dict(more.pop("files", {}), aliases=text)
    return make(mta, dict({"local.aliases": "%s/aliases"}, **(settings or {})),
                files=files, **more)


def hand_in(m, rcpts, text=b"Subject: x\r\n\r\nx\r\n", sender="a@client.test",
            source=None):
    """The answer to the first refused RCPT, or else to the dot."""
    with Raw("127.0.0.1", m.port, source=source) as c:
        c.say("EHLO client.test")
        assert c.say("MAIL FROM:<%s>" % sender)[0] == 250
        c.send("".join("RCPT TO:<%s>\r\n" % r for r in rcpts))
        answers = [c.reply() for _ in rcpts]
        refused = [a for a in answers if a[0] != 250]
        if refused:
            return refused[0]
        assert c.say("DATA")[0] == 354
        c.send(text + b".\r\n")
        return c.reply()


def sent(m, *rcpts, **how):
    code, words = hand_in(m, rcpts, **how)
    assert code == 250, words
    return words[0].split()[-1]


def waiting(m, status="4."):
    """{address: its recipient} of local mail that was tried in vain."""
    return {r["address"]: r for q in m.queued() if q["queue"] == "local"
            for r in q["recipients"] if r["state"] in ("pending", "held") and
            r["reply"] and r["status"].startswith(status)}


def again(m):
    """All that waits is tried now."""
    m.kill(signal.SIGUSR1)


def mbox_of(m, user):
    """The messages in an mbox, as another program sees them."""
    box = mailbox.mbox(os.path.join(m.mail, user), create=False)
    try:
        return [x.as_bytes() for x in box]
    except (FileNotFoundError, mailbox.NoSuchMailboxError):
        return []
    finally:
        box.close()


def in_mbox(m, user):
    try:
        with open(os.path.join(m.mail, user), "rb") as f:
            return len(re.findall(rb"(?m)^From ", f.read()))
    except FileNotFoundError:
        return 0


def lock(m, user):
    """Another program's lock of an mbox; returns what unlocks it."""
    path = os.path.join(m.mail, user) + ".lock"
    with open(path, "x", encoding="ascii") as f:
        f.write("%d\n" % os.getpid())
    return lambda: os.unlink(path)


def wrong_owner(m, user):
    """A mailbox of somebody else; returns what repairs that."""
    path = os.path.join(m.mail, user)
    os.makedirs(path, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(path, 64999, 64999)
        os.chmod(path, 0o755)
        return lambda: os.chown(path, 0, 0)
    os.chmod(path, 0o500)
    return lambda: os.chmod(path, 0o700)


# --- aliases ----------------------------------------------------------------

def names(n):
    return ["u%d" % i for i in range(n)]


def test_an_mbox_alias_of_100(mta):
    """Each has a slot and its own locks: those that are free get theirs at
    once, the others when they are unlocked, and none twice."""
    users = names(100)
    m = with_aliases(mta, "list: " + ", ".join(users) + "\n",
                     {"local.mailbox": "mbox"}).start()
    locked = {u: lock(m, u) for u in users[::25]}
    sent(m, "list@here.test")
    free = set(users) - set(locked)
    until("those that are free", lambda: all(in_mbox(m, u) for u in free))
    assert not any(in_mbox(m, u) for u in locked)
    for unlock in locked.values():
        unlock()
    until("the others", lambda: all(in_mbox(m, u) for u in users))
    m.empty_local()
    assert {in_mbox(m, u) for u in users} == {1}


@pytest.mark.parametrize("n", [20, 300, 1000])
def test_members_that_fail_are_retried_alone(mta, n):
    """No limit of the server's that delivery does not have; a retry names the
    mailbox: the others, and an alias that has changed, are not asked again."""
    users = names(n)
    text = "list: " + ", ".join(users) + "\n"
    m = with_aliases(mta, text, {"send.retry_max": "1s"}).start()
    broken = users[::n // 3]
    repair = [wrong_owner(m, u) for u in broken]
    sent(m, "list@here.test")
    good = [u for u in users if u not in broken]
    until("the others", lambda: all(m.mailbox(u) for u in good), 60)
    until("tried", lambda: len(waiting(m, "4.3.5")) == len(broken))
    with open(m.dir + "/aliases", "w", encoding="ascii") as f:
        f.write("list: nobody-any-more\n")
    again(m)
    m.settle()
    for work in repair:
        work()
    again(m)
    until("repaired", lambda: all(m.mailbox(u) for u in broken))
    m.empty_local()
    assert {len(m.mailbox(u)) for u in users} == {1}
    assert m.events("deliver.bounced") == []
    assert len(m.events("deliver.expanded")) == 1


def test_a_full_disk_makes_nothing_twice(mta):
    """As with an alias of 20, of which a full disk made 172 copies."""
    with small_mail(mta, "size=700k") as m:
        users = names(20)
        with open(m.dir + "/aliases", "w", encoding="ascii") as f:
            f.write("list: " + ", ".join(users) + "\n")
        m.settings["local.aliases"] = m.dir + "/aliases"
        m.write_conf()
        m.start()
        with open(m.mail + "/ballast", "wb") as f:
            f.write(b"x" * 400000)
        sent(m, "list@here.test", text=b"Subject: x\r\n\r\n" +
             (b"y" * 70 + b"\r\n") * 400)
        until("no room", lambda: waiting(m, "4.3.1"))
        m.settle()
        before = sum(len(m.mailbox(u)) for u in users)
        assert before < 20
        for _ in range(3):
            again(m)
            m.settle()
        os.unlink(m.mail + "/ballast")
        again(m)
        m.empty_local()
        assert [len(m.mailbox(u)) for u in users] == [1] * 20


def test_a_forwarding_alias_is_one_recipient(mta):
    """However often it is named, and however many ways lead there."""
    with DnsServer(ELSEWHERE) as dns, Peer() as far:
        m = with_aliases(
            mta, "away: x@far.test\nother: away, y@far.test, X@far.test\n",
            {"dns.servers": [dns.address], "send.port": far.port}).start()
        sent(m, *(["away@here.test"] * 990 + ["other@here.test"] * 10))
        until("there", lambda: far.messages)
        m.empty_local()
        until("gone", lambda: not m.queued())
        rcpts = [r for x in far.messages for r in x.rcpts]
        assert sorted(re.findall("<(.*)>", r)[0].lower() for r in rcpts) == \
            ["x@far.test", "y@far.test"]


def test_equal_targets_are_one(mta):
    """Members of two lists that are named in one message."""
    m = with_aliases(mta, "one: ann, bob\ntwo: bob, cy, one\n").start()
    sent(m, "one@here.test", "two@here.test", "ann@here.test",
         "cy+x@here.test")
    for user in ("ann", "bob", "cy"):
        m.copies(user)


def test_unknown_members_are_returned_alone(mta):
    """The sender is told of that member, and the log; the check names it."""
    m = with_aliases(mta, "half: ann, zoe\n", {"local.users": "file:%s/users"},
                     files={"users": "ann\njoe\n"})
    check = m.tool("config", "--check", check=False)
    assert b"zoe" in check.stdout + check.stderr
    m.start()
    sent(m, "half@here.test", sender="joe@here.test")
    m.copies("ann")
    [notice] = m.copies("joe")
    assert b"Status: 5.1.1" in notice and b"zoe" in notice
    assert b"Return-Path: <>" in notice
    m.empty_local()
    assert [e["to"] for e in m.events("deliver.bounced")] == ["zoe@here.test"]


def test_owner_of_a_list_gets_its_notices(mta):
    """owner-NAME is the reverse-path of what leaves by NAME."""
    with DnsServer(ELSEWHERE) as dns, Peer(
            answers={"RCPT": "550 5.1.1 no"}) as far:
        m = with_aliases(
            mta, "list: ann, x@far.test\nowner-list: chief\n",
            {"dns.servers": [dns.address], "send.port": far.port}).start()
        sent(m, "list@here.test", sender="joe@here.test")
        [copy] = m.copies("ann")
        assert copy.startswith(b"Return-Path: <owner-list@here.test>\n")
        [notice] = until("the notice", lambda: m.mailbox("chief"))
        assert b"x@far.test" in notice
        assert m.copies("joe", 0) == []
        assert any("<owner-list@here.test>" in line
                   for lines in far.lines() for line in lines)


def test_a_forwarded_copy_names_its_alias(mta):
    """Delivered-To in front; when it comes back it ends instead of going
    round."""
    with DnsServer(ELSEWHERE) as dns, Peer() as far:
        m = with_aliases(mta, "away: x@far.test\n", {
            "dns.servers": [dns.address], "send.port": far.port}).start()
        sent(m, "away@here.test")
        until("there", lambda: far.messages)
        text = far.messages[0].data
        assert b"Delivered-To: away@here.test\r\n" in text.split(
            b"\r\n\r\n")[0] + b"\r\n"
        sent(m, "away@here.test", sender="joe@here.test", text=text)
        [notice] = m.copies("joe")
        assert b"Status: 5.4.6" in notice
        assert len(far.messages) == 1


def test_circles_end(mta):
    m = with_aliases(mta, "a: b, b\nb: c\nc: a\nd: d, e\ne: d\nx: y\ny: x\n",
                     {"local.users": "file:%s/users"},
                     files={"users": "joe\nd\n"}).start()
    sent(m, "a@here.test", sender="joe@here.test")
    [notice] = m.copies("joe")
    assert b"Status: 5.4.6" in notice
    assert hand_in(m, ["x@here.test"])[0] == 554  # seen without an expansion
    sent(m, "d@here.test", "e@here.test")
    m.copies("d")


def test_included_lists_and_the_null_device(mta):
    m = with_aliases(mta, "team: :include:%s/team\nbit: /dev/null\n"
                     "some: /dev/null, ann\n",
                     files={"team": "# who\nann, bob\n\"cy\"\n"}).start()
    sent(m, "team@here.test")
    for user in ("ann", "bob", "cy"):
        m.copies(user)
    sent(m, "bit@here.test", "some@here.test")
    m.copies("ann", 2)
    m.empty_local()
    assert [e["mailbox"] for e in m.events("deliver.delivered")
            if e["to"] == "bit@here.test"] == ["/dev/null"]
    assert not os.path.exists(m.mail + "/null")


def test_too_many_targets_are_refused_for_that_recipient(mta):
    m = with_aliases(mta, "list: " + ", ".join(names(20)) + "\n",
                     {"local.max_targets": 10}).start()
    sent(m, "list@here.test", "bob@here.test", sender="joe@here.test")
    m.copies("bob")
    [notice] = m.copies("joe")
    assert b"Status: 5.4.6" in notice and b"list@here.test" in notice
    assert not any(m.mailbox(u) for u in names(20))


def test_extensions(mta):
    """user+extension is the user's, unless there is an alias for the whole."""
    m = with_aliases(mta, "ann+vip: bob\n", {"local.users": "file:%s/users"},
                     files={"users": "ann\nbob\n"}).start()
    sent(m, "ann+x@here.test")
    [copy] = m.copies("ann")
    assert b"\nDelivered-To: ann+x@here.test\n" in copy
    sent(m, "ann+vip@here.test")
    m.copies("bob")
    assert hand_in(m, ["zoe+x@here.test"])[0] == 550


# --- names ------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["mbox", "maildir"])
@pytest.mark.parametrize("name", ["z.lock", "Z.LOCK", "z.lock+x"])
def test_the_name_of_a_lock_is_no_user(mta, kind, name):
    """Told at RCPT, and not by a notice to a sender that may be forged."""
    m = make(mta, {"local.mailbox": kind}).start()
    assert hand_in(m, [name + "@here.test"])[0] == 550
    assert os.listdir(m.mail) == []


@pytest.mark.parametrize("users,boxes", [
    ("alice@a.test\nalice@b.test\n", {"a.test/alice", "b.test/alice"}),
    ("alice\nalice@b.test\n", {"alice", "b.test/alice"}),
    ("alice\n", {"alice"})])
def test_a_user_of_two_domains(mta, users, boxes):
    """They share a mailbox only when a bare name says so."""
    m = make(mta, {"local.domains": ["a.test", "b.test"],
                   "local.users": "file:%s/users"},
             files={"users": users}).start()
    sent(m, "alice@a.test")
    sent(m, "Alice@B.test")
    m.empty_local()
    found = {os.path.relpath(os.path.dirname(os.path.dirname(p)), m.mail): 0
             for p in glob.glob(m.mail + "/**/new/*", recursive=True)}
    assert set(found) == boxes
    assert len(glob.glob(m.mail + "/**/new/*", recursive=True)) == 2


def test_own_address_literal_stays_here(mta):
    """Also when the copy has to be tried again: nothing goes out by SMTP."""
    m = make(mta).start()
    repair = wrong_owner(m, "joe")
    sent(m, "joe@[127.0.0.1]")
    until("it waits", lambda: waiting(m, "4.3.5"))
    again(m)
    m.settle()
    repair()
    again(m)
    m.copies("joe")
    assert not m.events("send.connect")
    assert len(m.events("serve.accepted")) == 1


# --- users of their own -------------------------------------------------------

def mount(source, target, flags=MS_BIND):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), None, flags, None) != 0:
        raise OSError(ctypes.get_errno(), "mount " + target)


def own_host(m, files):
    """For the new process: files of the host are those of its directory."""
    def enter():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        mount("none", "/", MS_REC | MS_PRIVATE)
        for target, source in files.items():
            mount(os.path.join(m.dir, source), target)
    return enter


def of_root(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def two_users(mta, mail_dir="%s/mail", aliases="", **settings):
    """Users of a host of its own, with its passwd, group, aliases and
    /var/mail; the mail system runs as its service user."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    m = make(mta, dict({"user": "vmail", "local.users": "passwd",
                        "local.aliases": "/etc/aliases",
                        "local.mail_dir": mail_dir}, **settings),
             files={"passwd": of_root("/etc/passwd") +
                    "ann:x:%d:%d::%%s/home/ann:/bin/sh\n"
                    "bob:x:%d:%d::%%s/home/bob:/bin/sh\n"
                    "vmail:x:%d:%d::/nonexistent:/bin/false\n"
                    % (ANN, ANN, BOB, BOB, VMAIL, VMAIL),
                    "group": of_root("/etc/group") +
                    "ann:x:%d:\nbob:x:%d:\nvmail:x:%d:\n" % (ANN, BOB, VMAIL),
                    "aliases": aliases})
    for name, uid in (("ann", ANN), ("bob", BOB)):
        os.makedirs(m.dir + "/home/" + name)
        os.chown(m.dir + "/home/" + name, uid, uid)
        os.chmod(m.dir + "/home/" + name, 0o700)
    files = {"/etc/passwd": "passwd", "/etc/group": "group"}
    if os.path.exists("/etc/aliases"):
        files["/etc/aliases"] = "aliases"
    else:
        m.settings["local.aliases"] = m.dir + "/aliases"
        m.write_conf()
    if mail_dir == "/var/mail":
        files["/var/mail"] = "mail"
    m.limit = own_host(m, files)
    return m


def as_user(uid, work):
    """What work() returns when that user does it: "ok", or a name of errno."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            work()
            os.write(w, b"ok")
        except OSError as e:
            os.write(w, str(e.errno).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        return f.read().decode()


def read_all(paths):
    def work():
        for p in paths:
            with open(p, "rb") as f:
                assert f.read()
    return work


def box_files(top, user):
    return glob.glob("%s/%s/new/*" % (top, user))


@AS_ROOT
@pytest.mark.parametrize("where,mode", [
    ("var", 0o2775), ("var", 0o1777), ("var", 0o755), ("home", 0o755)])
def test_two_users_read_their_own_mail_only(mta, where, mode):
    m = two_users(mta, "/var/mail" if where == "var" else "~/Maildir")
    os.chown(m.mail, 0, 8 if mode == 0o2775 else 0)
    os.chmod(m.mail, mode)
    m.start()
    sent(m, "ann@here.test", "bob@here.test")
    sent(m, "bob@here.test")
    m.empty_local()
    paths = {}
    for name, n in (("ann", 1), ("bob", 2)):
        paths[name] = box_files(m.mail, name) if where == "var" else \
            glob.glob("%s/home/%s/Maildir/new/*" % (m.dir, name))
        assert len(paths[name]) == n
    for name, uid in (("ann", ANN), ("bob", BOB)):
        assert {os.stat(p).st_uid for p in paths[name]} == {uid}
        assert as_user(uid, read_all(paths[name])) == "ok"
        for p in paths[name]:  # as a mail reader does
            assert as_user(uid, lambda p=p: os.rename(
                p, p.replace("/new/", "/cur/") + ":2,S")) == "ok"
    moved = [p.replace("/new/", "/cur/") + ":2,S" for p in paths["bob"]]
    assert as_user(ANN, read_all(moved)) != "ok"
    assert as_user(VMAIL, read_all(moved)) != "ok"
    assert m.errors() == ""


@AS_ROOT
def test_two_users_with_an_mbox_each(mta):
    """Debian's /var/mail: root:mail 2775, and files of the users that the
    group mail may lock and write."""
    m = two_users(mta, "/var/mail", **{"local.mailbox": "mbox"})
    os.chown(m.mail, 0, 8)
    os.chmod(m.mail, 0o2775)
    m.start()
    for _ in range(3):
        sent(m, "ann@here.test", "bob@here.test")
    m.empty_local()
    for name, uid in (("ann", ANN), ("bob", BOB)):
        path = m.mail + "/" + name
        seen = os.stat(path)
        assert (seen.st_uid, seen.st_gid) == (uid, 8)
        assert stat.S_IMODE(seen.st_mode) == 0o660
        assert as_user(uid, read_all([path])) == "ok"
        assert len(mbox_of(m, name)) == 3
    assert as_user(ANN, read_all([m.mail + "/bob"])) != "ok"
    assert sorted(os.listdir(m.mail)) == ["ann", "bob"]


DEBIAN = """# /etc/aliases
mailer-daemon: postmaster
postmaster: root
nobody: root
hostmaster: root
webmaster: root
www: root
ftp: root
abuse: root
noc: root
security: root
root: ann
script: |/usr/bin/program
"""


@AS_ROOT
def test_debians_files_as_they_are(mta):
    """Its aliases, /var/mail and the users of the system.  An alias for a
    program, which another mail system would run, waits and is reported."""
    m = two_users(mta, "/var/mail", DEBIAN)
    del m.settings["local.aliases"]
    if not os.path.exists("/etc/aliases"):
        pytest.skip("no /etc/aliases here to put ours in its place")
    m.write_conf()
    os.chown(m.mail, 0, 8)
    os.chmod(m.mail, 0o2775)
    m.start()
    sent(m, "postmaster@here.test", "root@here.test", "abuse@here.test")
    sent(m, "webmaster@here.test")
    m.empty_local()
    assert len(box_files(m.mail, "ann")) == 2
    sent(m, "script@here.test")
    until("it waits", lambda: "script@here.test" in waiting(m, "4.3.5"))
    assert "script" in m.errors()
    assert hand_in(m, ["no-such-user@here.test"])[0] == 550


@AS_ROOT
@pytest.mark.parametrize("place", ["", "/new", "/tmp", "/cur"])
def test_a_planted_link_leads_nowhere(mta, place):
    """A user puts a link where root would write."""
    m = two_users(mta)
    os.chmod(m.mail, 0o755)
    m.start()
    sent(m, "ann@here.test")
    m.empty_local()
    target = m.dir + "/target"
    os.mkdir(target)
    os.chown(target, ANN, ANN)
    box = m.mail + "/ann"
    if place == "":
        shutil.rmtree(box)
        os.symlink(target, box)
    else:
        shutil.rmtree(box + place)
        os.symlink(target, box + place)
        os.lchown(box + place, ANN, ANN)
    sent(m, "ann@here.test", "bob@here.test")
    until("the other", lambda: box_files(m.mail, "bob"))
    if place == "/cur":  # nothing is written there
        m.settle()
    elif place == "/tmp":  # nor there, where drafts need no names
        until("an end", lambda: waiting(m) or len(box_files(
            m.mail, "ann")) == 2)
    else:
        [r] = until("it waits", lambda: list(waiting(m).values()))
        assert m.dir not in r["reply"], "a path, which notices would show"
    assert os.listdir(target) == []
    assert os.stat(target).st_uid == ANN


@AS_ROOT
def test_nothing_that_exists_is_given_away(mta):
    """The mailbox of another, or a file of root's, under the name of a user
    whose mail comes."""
    m = two_users(mta)
    os.chmod(m.mail, 0o755)
    os.mkdir(m.mail + "/ann", 0o700)
    os.chown(m.mail + "/ann", BOB, BOB)
    with open(m.mail + "/bob", "w", encoding="ascii") as f:
        f.write("root's\n")
    os.chmod(m.mail + "/bob", 0o600)
    m.start()
    sent(m, "ann@here.test", "bob@here.test")
    until("both wait", lambda: len(waiting(m)) == 2)
    assert os.stat(m.mail + "/ann").st_uid == BOB
    assert os.listdir(m.mail + "/ann") == []
    assert os.stat(m.mail + "/bob").st_uid == 0
    assert of_root(m.mail + "/bob") == "root's\n"
    assert m.events("deliver.bounced") == []


@AS_ROOT
def test_as_root_without_a_user_it_does_not_start(mta):
    m = make(mta, {"user": "mta-no-such-user"})
    m.start(wait=False)
    assert m.process.wait(30) != 0
    m.process = None
    assert "mta-no-such-user" in m.errors()


# --- what hangs ---------------------------------------------------------------

class Stuck:
    """A file system whose server does not answer: who looks into it hangs."""

    def __init__(self, path):
        self.path = path
        os.makedirs(path)
        self.fd = os.open("/dev/fuse", os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        options = "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % \
            self.fd
        if libc.mount(b"none", path.encode(), b"fuse", 0,
                      options.encode()) != 0:
            error = ctypes.get_errno()
            os.close(self.fd)
            pytest.skip("no FUSE: " + os.strerror(error))

    def end(self):
        """Whoever hangs there gets an error."""
        os.close(self.fd)
        subprocess.run(["umount", "-l", self.path], check=True)


class Frozen:
    """A file system that takes no writes for now: who writes there hangs, and
    cannot be killed."""

    def __init__(self, path):
        self.path = path
        os.makedirs(path)
        self.image = tempfile.mktemp(prefix="mta-test-image-")
        try:
            for cmd in (["truncate", "-s", "8m", self.image],
                        ["mkfs.ext4", "-q", self.image],
                        ["mount", "-o", "loop", self.image, path],
                        ["fsfreeze", "-f", path]):
                subprocess.run(cmd, check=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
        except (OSError, subprocess.CalledProcessError) as e:
            subprocess.run(["umount", path], check=False,
                           stderr=subprocess.DEVNULL)
            pytest.skip("no loop file system: %s" % e)

    def end(self):
        subprocess.run(["fsfreeze", "-u", self.path], check=True)
        subprocess.run(["umount", "-l", self.path], check=True)
        os.unlink(self.image)


def in_maildir(m, user):
    return len(m.mailbox(user))


def seconds_to_arrive(m, user, count=in_maildir):
    n = count(m, user)
    begin = time.monotonic()
    sent(m, user + "@here.test")
    until("mail for " + user, lambda: count(m, user) > n, 60)
    return time.monotonic() - begin


def others_while_one_hangs(m):
    """The seconds that mail for others takes, from the start of the system
    on, at both processes; behind them what it takes when that is over, which
    is for the machine and its other work."""
    m.start()
    took = []
    for users in "uv":
        sent(m, "hung@here.test")
        took += [seconds_to_arrive(m, "%s%d" % (users, i)) for i in range(8)]
    usual = [seconds_to_arrive(m, "w%d" % i) for i in range(8)]
    print("seconds:", ["%.3f" % t for t in took + usual])
    return took, max(usual)


@AS_ROOT
@MEASURES
@pytest.mark.parametrize("kind", [Stuck, Frozen])
def test_a_mailbox_that_hangs_delays_no_other(mta, kind):
    """Others' mail comes within a second, at whichever process they are, even
    when that process was only just started; what hangs is named in the log,
    and comes when it hangs no more.  (The machine itself may stand still: not
    three times.)"""
    m = make(mta, {"stop_timeout": "3s"})
    hung = kind(m.mail + "/hung")
    tries = 1
    try:
        took, usual = others_while_one_hangs(m)
        while max(took) >= 1 + usual and tries < 3:
            assert m.stop() == 0
            took, usual = others_while_one_hangs(m)
            tries += 1
        assert statistics.median(took) < 0.5 + usual
        assert max(took) < 1 + 4 * usual
        until("the log names it", lambda: m.events("deliver.stuck",
                                                   mailbox="hung"))
        until("only its mail is left", lambda: len(m.queued()) == 2 * tries)
    finally:
        hung.end()
    if kind is Stuck:
        again(m)
        m.copies("hung", 2 * tries)
    assert m.stop() == 0


@MEASURES
@pytest.mark.parametrize("how", ["dotlock", "fcntl"])
def test_a_lock_that_is_held_delays_no_other(mta, how):
    m = make(mta, {"local.mailbox": "mbox"}).start()
    sent(m, "ann@here.test")
    until("the first", lambda: in_mbox(m, "ann") == 1)
    m.empty_local()
    if how == "fcntl":
        held = open(m.mail + "/ann", "r+b")
        fcntl.lockf(held, fcntl.LOCK_EX)
        unlock = held.close
    else:
        unlock = lock(m, "ann")
    took = []
    for i in range(10):
        sent(m, "ann@here.test")
        begin = time.monotonic()
        sent(m, "u%d@here.test" % i)
        until("others", lambda i=i: in_mbox(m, "u%d" % i))
        took.append(time.monotonic() - begin)
    assert in_mbox(m, "ann") == 1
    unlock()
    until("all", lambda: in_mbox(m, "ann") == 11)
    usual = max(seconds_to_arrive(m, "w%d" % i, in_mbox) for i in range(5))
    assert statistics.median(took) < 0.5 + usual, (took, usual)
    assert max(took) < 3 + 4 * usual, (took, usual)
    m.empty_local()
    assert in_mbox(m, "ann") == 11


# --- one who makes much work ----------------------------------------------------

class Others(threading.Thread):
    """A client that sends one small message after the other."""

    def __init__(self, m, rcpt):
        super().__init__(daemon=True)
        self.m, self.rcpt, self.took, self.over = m, rcpt, [], False

    def run(self):
        while not self.over:
            begin = time.monotonic()
            sent(self.m, self.rcpt)
            self.took.append(time.monotonic() - begin)
            time.sleep(0.01)  # its pace


@MEASURES
@pytest.mark.parametrize("rcpts,size", [
    (["big%d@here.test" % i for i in range(200)], 500000),
    (["list@here.test"] * 200, 1000)], ids=["200 mailboxes", "alias of 1000"])
def test_a_stranger_stops_no_worker(mta, rcpts, size):
    """Much to deliver, or much to expand, is no work of the server's."""
    m = with_aliases(mta, "list: " + ", ".join(names(1000)) + "\n",
                     {"serve.workers": 1}).start()
    others = [Others(m, "ann@here.test"), Others(m, "x@far.test")]
    for o in others:
        o.start()
    until("they send", lambda: all(len(o.took) > 3 for o in others))
    before = [len(o.took) for o in others]
    sent(m, *rcpts, text=b"Subject: x\r\n\r\n" + (b"y" * 76 + b"\r\n") *
         (size // 78))
    m.settle()
    for o in others:
        o.over = True
    for o in others:
        o.join()
    meanwhile = sum((o.took[n:] for o, n in zip(others, before)), [])
    print("slowest of %d: %.3f s" % (len(meanwhile), max(meanwhile)))
    assert max(meanwhile) < 10  # and not half a minute
    boxes = {"big%d" % i for i in range(200)} if size > 1000 else \
        set(names(1000))
    assert {len(m.mailbox(b)) for b in boxes} == {1}


# --- no room --------------------------------------------------------------------

class small_mail:
    """A system whose mailboxes are on a small file system of their own."""

    def __init__(self, mta, options):
        if os.geteuid() != 0:
            pytest.skip("needs root")
        self.m = make(mta, {"send.retry_max": "1s"})
        self.mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", self.m.mail],
            stderr=subprocess.PIPE, check=False)

    def __enter__(self):
        if self.mounted.returncode != 0:
            pytest.skip("cannot mount: " + self.mounted.stderr.decode())
        return self.m

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.m.mail], check=True)


def test_full_mailboxes_wait_and_are_told_at_rcpt(mta):
    """The disk of the mailboxes is full, that of the queue is not: what had
    its 250 waits; then 452 for users here, until there is room."""
    with small_mail(mta, "size=1m") as m:
        m.start()
        sent(m, "ann@here.test")
        m.copies("ann")
        with open(m.mail + "/ballast", "wb", 0) as f:
            with pytest.raises(OSError):
                while True:
                    f.write(b"x" * 65536)
        sent(m, "ann@here.test", text=b"Subject: waits\r\n\r\nx\r\n")
        until("it waits", lambda: waiting(m, "4.3.1"))
        code, words = hand_in(m, ["bob@here.test"])
        assert (code, words[0].split()[0]) == (452, "4.3.1")
        assert hand_in(m, ["x@far.test"])[0] == 250  # the queue has room
        with Local(submit_socket(m)) as c:  # a program has no queue
            send(c, to="eve@here.test")
        os.unlink(m.mail + "/ballast")
        again(m)
        until("it came", lambda: len(m.mailbox("ann")) == 2)
        until("taken again", lambda: hand_in(m, ["bob@here.test"])[0] == 250)
        m.copies("bob")
        m.copies("eve")
        assert m.events("deliver.bounced") == []
        assert os.listdir(m.mail + "/ann/tmp") == []


@AS_ROOT
@pytest.mark.parametrize("fault", ["no right", "none", "made again",
                                   "mounted over"])
def test_mail_waits_for_its_directory(mta, fault):
    """What the administrator repairs counts at once, without a restart."""
    m = make(mta, {"user": "nobody"})
    for path in (m.dir, m.mail):
        shutil.chown(path, "nobody")
    if fault == "no right":
        os.chown(m.mail, 0, 0)
        os.chmod(m.mail, 0o700)
    m.start()
    if fault == "no right":
        sent(m, "ann@here.test")
        until("it waits", lambda: waiting(m))
        shutil.chown(m.mail, "nobody")
    else:
        sent(m, "bob@here.test")
        m.copies("bob")
        shutil.rmtree(m.mail)
        if fault == "none":
            sent(m, "ann@here.test")
            m.settle()
        os.makedirs(m.mail, exist_ok=True)
        if fault == "mounted over":
            subprocess.run(["mount", "-t", "tmpfs", "none", m.mail],
                           check=True)
        shutil.chown(m.mail, "nobody")
    try:
        if fault in ("made again", "mounted over"):
            sent(m, "ann@here.test")
        again(m)
        m.copies("ann")
    finally:
        if fault == "mounted over":
            subprocess.run(["umount", "-l", m.mail], check=True)
