"""What else goes on while a call fails: the rounds of these systems come
through code that an ordinary round never sees."""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import time

from rig import Mail, Scene, harness

DEAD = 4194305  # no pid: larger than the system's largest
HOUR = 3600


def size_of(path):
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


class Mbox(Scene):
    settings = {"serve.mailbox": "mbox"}


class Locks(Mbox):
    """Lock files of programs that have died."""

    def before(self, rig):
        for user in self.users[:2]:
            path = os.path.join(rig.mail, user + ".lock")
            with contextlib.suppress(FileExistsError), open(path, "x") as f:
                f.write("%d\n" % DEAD)
            os.utime(path, (time.time() - HOUR,) * 2)


class Retry(Mbox):
    """A mailbox that is locked by somebody who lives: its copies go to the
    queue, and the sender tries until it is free."""

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
    settings = {"serve.users": "passwd"}

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


class Reclaim(Late):
    """It waits among others that are done, in the segment of a worker that was
    killed: it is copied away."""

    @staticmethod
    def segments(rig):
        """Those of many messages."""
        return {path for path in glob.glob(os.path.join(
            rig.queue, "segments", "*.seg")) if size_of(path) > 2**20}

    def before(self, rig):
        rig.outside.late = True

    def after(self, rig):
        before = self.segments(rig)
        os.kill(rig.roles()["worker"], signal.SIGKILL)
        # It looks what it can reclaim when mail has gone.
        last = Mail("m%d-f" % rig.serial, ("u@" + self.domain,), ("remote",),
                    "127.0.0.1", 900)
        rig.expect([last])
        answers = rig.submit(last)
        with contextlib.suppress(AssertionError):
            harness.until("a segment less", lambda: not before.issubset(
                self.segments(rig)), 1)
        rig.outside.late = False
        return [(last, answers)]


class Rotate(Scene):
    """Another log file."""

    def before(self, rig):
        rig.news()
        with contextlib.suppress(FileNotFoundError):
            os.rename(rig.log, rig.log + ".1")
        rig.read_to["log"] = 0
        os.kill(rig.roles()["collector"], signal.SIGHUP)
        with contextlib.suppress(AssertionError):
            harness.until("a log", lambda: os.path.exists(rig.log), 1)


SCENES = {"mbox": Mbox, "locks": Locks, "retry": Retry, "names": Names,
          "wide": Wide, "crowd": Crowd, "reclaim": Reclaim, "rotate": Rotate}


# --- before a start: prepare(rig) ---------------------------------------------

def fresh(rig):
    """No run/: all that is there only once is made again."""
    shutil.rmtree(os.path.join(rig.queue, "run"), ignore_errors=True)


def new_queue(rig):
    shutil.rmtree(rig.queue, ignore_errors=True)


def wreck(rig):
    """All were killed at once, in the middle of things, and once before."""
    rig.outside.late = True
    rig.start()
    rig.whole()
    mails = rig.mails()
    for mail in mails:
        rig.submit(mail)
    for pid in harness.tree_of(rig.process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    rig.process.wait()
    rig.process = None
    path = os.path.join(rig.queue, "segments", "0123456789ab.new")
    with open(path, "w"):
        os.utime(path, (time.time() - 2 * HOUR,) * 2)
    rig.outside.late = False
    rig.text = ""
    return mails
