"""What else goes on while a call fails: the rounds of these systems come
through code that an ordinary round never sees."""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import struct
import time

import certs
from auth import USER
from rig import LARGE, PATIENCE, Broken, Mail, Scene, harness

DEAD = 4194305  # no pid: larger than the system's largest
HOUR = 3600
HEADER, RECORD = 4096, 128  # octets of the headers of a segment, of a record


def size_of(path):
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


class Mbox(Scene):
    settings = {"local.mailbox": "mbox"}


class Locks(Mbox):
    """Lock files of programs that have died."""

    def before(self, rig):
        for user in self.users[:2]:
            path = os.path.join(rig.mail, user + ".lock")
            with contextlib.suppress(FileExistsError), open(path, "x") as f:
                f.write("%d\n" % DEAD)
            os.utime(path, (time.time() - HOUR,) * 2)


class Retry(Mbox):
    """A mailbox that is locked by somebody who lives: its copies wait until it
    is free."""

    def before(self, rig):
        self.lock = os.path.join(rig.mail, self.users[0] + ".lock")
        with open(self.lock, "w") as f:
            f.write("%d\n" % os.getpid())

    def after(self, rig):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.lock)
        return []


class Names(Scene):
    """Users of the system, who own their mailboxes; an address literal."""

    users = ("daemon", "bin", "games")
    settings = {"local.users": "passwd"}

    def before(self, rig):
        user = pwd.getpwnam(self.users[0])
        for sub in ("", "tmp", "new", "cur"):
            path = os.path.join(rig.mail, self.users[0], sub)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
                os.chown(path, user.pw_uid, user.pw_gid)

    def more(self, name):
        return [Mail(name, ("bin@[127.0.0.1]",), ("local",), "127.0.0.1",
                     900)]


class Boxes(Scene):
    """Mailboxes that were never used, one of them with a leftover, and a
    message for so many that they are made durable together."""

    settings = {"local.users": "any"}
    serial = 0

    def before(self, rig):
        for name in os.listdir(rig.mail):
            shutil.rmtree(os.path.join(rig.mail, name), ignore_errors=True)
        self.serial += 1
        self.users = ("a%d" % self.serial, "user2", "b%d" % self.serial)
        tmp = os.path.join(rig.mail, "c%d" % self.serial, "tmp")
        os.makedirs(tmp, 0o700)
        with open(os.path.join(tmp, "left"), "w"):
            pass
        os.utime(os.path.join(tmp, "left"), (time.time() - 72 * HOUR,) * 2)

    def more(self, name):
        boxes = ["%s%d" % (c, self.serial) for c in "cdefg"]
        return [Mail(name, tuple(b + "@here.test" for b in boxes),
                     tuple("local/" + b for b in boxes), "127.0.0.1", 900)]


class Lists(Scene):
    """An alias of many, one of whom is nobody: the sender is told; one that
    leads elsewhere, with an owner."""

    settings = {"local.recipient_delimiter": "+"}
    members = ("a", "b", "c", "d")

    def aliases(self):
        return "many: user1, %s\nhalf: many, nobody-there\n" \
            "far: user2, f@far.test\nowner-far: back\n" % ", ".join(
                self.members)

    def more(self, name):
        everybody = ("user1", *self.members)
        return [Mail(name, ("many@here.test",),
                     tuple("local/" + u for u in everybody), "127.0.0.1",
                     900),
                Mail(name + "f", ("far@here.test",), ("local", "remote"),
                     "127.0.0.1", 900),
                Mail(name + "h", ("half@here.test",),
                     ("bounce", *("local/" + u for u in everybody)),
                     "127.0.0.1", 900)]


class Wide(Scene):
    """In each round a new domain: its answer takes TCP, and its host has IPv6;
    and another that is not there: the answer about it is our own."""

    serial = 0

    def before(self, rig):
        self.serial += 1
        self.domain = "w%d.wide.test" % self.serial
        self.gone = "no@g%d.gone.test" % self.serial


class Crowd(Scene):
    """More clients than there may be."""

    settings = {"serve.max_clients": 2}

    def before(self, rig):
        with contextlib.ExitStack() as held:
            for _ in range(3):
                with contextlib.suppress(OSError):
                    s = held.enter_context(socket.create_connection(
                        ("127.0.0.1", rig.port), 2))
                    s.recv(100)


class Late(Scene):
    """A message that the remote host takes when it has to wait no more."""

    def more(self, name):
        return [Mail(name, ("late@far.test",), ("remote",), "127.0.0.1", 900)]

    def aside(self, rig):
        """What else happens to it while it waits; as after()."""
        return []


class LateLarge(Late):
    """And one in a segment of its own."""

    def more(self, name):
        large = Mail(name + "e", ("late@far.test",), ("remote",), "127.0.0.1",
                     LARGE)
        return super().more(name) + [large]


class Reclaim(Late):
    """It waits among others that are done, in the segment of a worker that was
    killed: it is copied away."""

    @staticmethod
    def segments(rig):
        """Those of many messages."""
        return [path for path in glob.glob(os.path.join(
            rig.queue, "remote", "*.seg")) if size_of(path) > 2**20]

    def before(self, rig):
        rig.outside.late = True

    def after(self, rig):
        more = self.aside(rig)
        rig.outside.late = False
        return more

    def aside(self, rig):
        before = self.segments(rig)
        os.kill(rig.whole()["worker"], signal.SIGKILL)
        # It looks what it can reclaim when mail has gone.
        last = Mail("m%d-f" % rig.serial, ("u@" + self.domain,), ("remote",),
                    "127.0.0.1", 900)
        rig.expect([last])
        answers = rig.submit(last)
        try:
            harness.until("a segment less", lambda: not all(
                map(os.path.exists, before)), 1 if rig.page.hits else PATIENCE)
        except AssertionError:
            if not rig.page.hits:
                raise
        return [(last, answers)]


class Rotate(Scene):
    """Another log file."""

    def before(self, rig):
        rig.news()
        with contextlib.suppress(FileNotFoundError):
            os.rename(rig.log, rig.log + ".1")
        rig.read_to["log"] = 0
        os.kill(rig.process.pid, signal.SIGHUP)
        with contextlib.suppress(AssertionError):
            harness.until("a log", lambda: os.path.exists(rig.log) and
                          os.path.getsize(rig.log) > 0, 1)


class Tls(Scene):
    """Nothing goes in clear, neither from clients nor to the remote host, whose
    certificate is looked at."""

    host, starttls = "tls", True
    settings = {"send.tls": "verify",
                "serve.extra_commands": ["STARTTLS"]}

    def prepare(self, rig):
        cert, key = certs.make(rig.dir, "mx.here.test")
        rig.settings.update({"serve.tls_cert": [cert], "serve.tls_key": [key],
                             "send.tls_ca": rig.outside.ca.path})


class Signed(Scene):
    """Whatever comes to the remote host is signed."""

    roles = ("signer",)

    def prepare(self, rig):
        key = os.path.join(rig.dir, "dkim.key")
        certs.openssl("genpkey", "-algorithm", "ed25519", "-out", key)
        os.chmod(key, 0o600)
        rig.settings["dkim.keys"] = ["here.test:s:" + key]

    def check(self, messages):
        for m in messages:
            if not m.data.startswith(b"DKIM-Signature:"):
                raise Broken("unsigned at the remote host: %s" % m)


class Token(Scene):
    """In each round the next hop wants another token; what the sender has is
    good no more."""

    roles, host = ("token",), "login"
    settings = {"send.tls": "none", "send.relay_user": USER}

    def prepare(self, rig):
        program = os.path.join(rig.dir, "secrets", "token")
        self.file = program + ".txt"
        os.mkdir(os.path.dirname(program))
        with open(program, "w") as f:
            f.write("#!/bin/sh\nexec cat %s\n" % self.file)
        os.chmod(program, 0o755)
        rig.settings.update({
            "send.relay_host": "[127.0.0.1]:%d" % rig.peer.port,
            "send.relay_token": "command:" + program})
        self.renew(rig)

    def renew(self, rig):
        rig.peer.secret = "token-%d" % time.monotonic_ns()
        with open(self.file + ".new", "w") as f:
            f.write(rig.peer.secret + "\n")
        os.rename(self.file + ".new", self.file)

    def before(self, rig):
        with contextlib.suppress(AssertionError):
            harness.until("no session", lambda: not rig.peer.open, PATIENCE)
        self.renew(rig)


SCENES = {"mbox": Mbox, "locks": Locks, "retry": Retry, "names": Names,
          "boxes": Boxes, "lists": Lists, "wide": Wide, "crowd": Crowd,
          "reclaim": Reclaim, "rotate": Rotate, "tls": Tls, "signer": Signed,
          "token": Token}


# --- before a start: prepare(rig) ---------------------------------------------

def fresh(rig):
    """No run/: all that is there only once is made again."""
    shutil.rmtree(os.path.join(rig.queue, "run"), ignore_errors=True)


def new_queue(rig):
    shutil.rmtree(rig.queue, ignore_errors=True)


def crc32c(data):
    crc = 0xffffffff
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def records(raw):
    """(where, length) of the records of a segment (docs/spool.md)."""
    at = HEADER
    while raw[at:at + 4] == b"\xa7msg":
        length, = struct.unpack_from("<Q", raw, at + 8)
        yield at, length
        at += length


def tear(path):
    """Behind the last record one that did not get to the disk whole.  In the
    segment of a large message it had got there, and has rotted since."""
    with open(path, "r+b") as f:
        raw = f.read()
        found = list(records(raw))
        if not found:
            return
        at, length = found[-1]
        f.seek(at + length)
        f.write(raw[at:at + RECORD + 64].ljust(length, b"\0"))
        if length < LARGE:
            return
        state = struct.pack("<QI", at + 2 * length, 0)
        f.seek(64)
        f.write(state + struct.pack("<I", crc32c(raw[16:24] + state)))


def wreck(rig):
    """All were killed at once, in the middle of things, and once before."""
    rig.outside.late = True
    rig.start()
    rig.whole()
    mails = rig.mails()
    for mail in mails:
        rig.submit(mail)
    mails += [mail for mail, _ in rig.scene.aside(rig)]
    rig.kill_all()
    for path in glob.glob(os.path.join(rig.queue, "remote", "*.bad")):
        os.unlink(path)  # of the wreck before
    for path in glob.glob(os.path.join(rig.queue, "remote", "*.seg")):
        tear(path)
    path = os.path.join(rig.queue, "remote", "0123456789ab.new")
    with open(path, "w"):
        os.utime(path, (time.time() - 2 * HOUR,) * 2)
    rig.outside.late = False
    rig.text = ""
    return mails
