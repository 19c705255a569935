"""Faults while something happens to a running system: a process is killed and
another takes its place, the settings are read again, the whole is started or
told to stop."""

import contextlib
import os
import resource
import shutil
import signal
import time

from errors import HONEST, ONCE
from rig import PATIENCE, Broken, Rig, harness
from running import Running
from scenes import SCENES, LateLarge, Reclaim, Scene, fresh, new_queue, wreck


def kill(role):
    def event(rig):
        pid = rig.roles()[role]
        os.kill(pid, signal.SIGKILL)
        harness.until("the %s is gone" % role, lambda: not
                      harness.is_alive(pid), PATIENCE)
    return event


def reload(rig):
    """Over when there is another sender, for that is what it does to it, or
    when it was refused."""
    before = rig.roles()["sender"]
    rig.renew()
    harness.until("a sender with the new settings", lambda:
                  rig.roles().get("sender", before) != before or
                  "nothing has changed" in rig.news(), PATIENCE)


# name -> (whose calls, what happens)
EVENTS = {
    "worker-start": (("parent", "master"), kill("worker")),
    "collector-start": (("parent", "supervisor"), kill("collector")),
    "sender-start": (("parent", "supervisor"), kill("sender")),
    "master-start": (("parent", "supervisor"), kill("master")),
    "dmaster-start": (("parent", "supervisor"), kill("dmaster")),
    "deliver-start": (("parent", "dmaster"), kill("deliver")),
    "mailbox-start": (("parent", "dmaster"), kill("mailbox")),
    "deliver-dies": (("pid", "dmaster"), kill("deliver")),
    "mailbox-dies": (("pid", "dmaster"), kill("mailbox")),
    "mailbox-lost": (("pid", "deliver"), kill("mailbox")),
    "worker-dies": (("pid", "master"), kill("worker")),
    "sender-dies": (("pid", "supervisor"), kill("sender")),
    "collector-dies": (("pid", "supervisor"), kill("collector")),
    "signer-start": (("parent", "supervisor"), kill("signer")),
    "signer-dies": (("pid", "supervisor"), kill("signer")),
    "signer-lost": (("pid", "sender"), kill("signer")),
    "token-start": (("parent", "supervisor"), kill("token")),
    "token-dies": (("pid", "supervisor"), kill("token")),
    "token-lost": (("pid", "sender"), kill("token")),
    "reload-supervisor": (("pid", "supervisor"), reload),
    "reload-master": (("pid", "master"), reload),
}


def scene_of(part):
    """With the process that the part is about."""
    for role in ("signer", "token"):
        if role in part.split("-"):
            return SCENES[role]()
    return Scene()


class Events(Running):
    """Something happens, a call fails meanwhile, then all must be well."""

    def target(self, part):
        (kind, role), _ = EVENTS[part]
        return kind, self.rig.whole()[role]

    def happen(self, part):
        EVENTS[part][1](self.rig)
        self.rig.whole()

    def left_over(self):
        """Who is killed leaves the segment that it was making behind; the
        sender removes it in an hour."""
        return [p for p in super().left_over() if not p.endswith(".new")]

    def counts(self, part):
        page = self.rig.page
        page.arm(self.target(part))
        self.happen(part)
        self.rig.round()
        page.disarm()
        return page.counts()

    def once(self, part, call, error, nth, waits):
        rig = self.rig
        rig.page.arm(self.target(part), call, error, nth)
        self.happen(part)
        rig.round()
        rig.page.disarm()
        self.report.note(part, call, rig.page)
        return rig.page.hits > 0

    def run(self, part):
        self.scene = scene_of(part)
        others_stay = part.endswith("-start") or part.startswith("reload")
        self.sweep_all(part, part, self.once, HONEST if others_stay else ONCE)


class Start(Running):
    """The n-th call fails while all starts.  The whole comes up, or it ends
    soon, with a status and a word on stderr."""

    WHO = {"start-supervisor": "", "start-collector": "1",
           "start-master": "2", "start-worker": "2.1",
           "start-dmaster": "3", "start-deliver": "3.1",
           "start-mailbox": "3.2", "start-sender": "4"}
    # The first child has looked at the keys.
    WITH = {"start-signer": "6", "start-token": "4"}

    def begin(self):
        self.rig = Rig(self.outside, self.args.shim, scene=self.scene)
        if harness.has_ipv6():
            self.rig.settings["serve.listen"] += ["[::1]:%d" % self.rig.port]
            self.rig.write_conf()
        self.rig.forget()

    def end(self, failed=False):
        rig, self.rig = self.rig, None
        if rig is not None:
            rig.page.disarm()
            rig.cleanup()

    def has_ended(self):
        """It may, if it says why."""
        status = self.rig.process.poll()
        if status is None:
            return False
        self.rig.process = None
        if status <= 0:
            raise Broken("ended at the start with %d" % status)
        if "mta" not in self.rig.news():
            raise Broken("ended with %d, without a word" % status)
        return True

    def up(self):
        """Is it up?  False: it has ended instead."""
        rig = self.rig
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.has_ended():
                return False
            if rig.is_whole(rig.roles()):
                with contextlib.suppress(OSError):
                    harness.socket.create_connection(
                        ("127.0.0.1", rig.port)).close()
                    return True
            time.sleep(0.005)
        raise Broken("neither up nor ended: %s" % rig.roles())

    def old_arrives(self):
        if self.old:
            self.rig.judge(self.old, [], logged=False)
            self.rig.forget()
        self.old = []

    def work(self):
        """A round, unless a service that had just begun ends the whole."""
        try:
            self.old_arrives()
            self.rig.round()
        except Broken:
            if not self.has_ended():
                raise
            if not self.old:
                self.rig.forget()
            return
        self.over(self.rig)

    def prepare(self):
        """What is there before; returns mail that must come."""
        return []

    def attempt(self, part, call, error, nth):
        rig = self.rig
        rig.text = ""
        self.old = self.prepare()
        where = {**self.WHO, **self.WITH}[part]
        rig.page.arm(("path", where), call, error, nth)
        rig.start(wait=False)
        if self.up():
            self.work()
        rig.page.disarm()
        if self.old:  # it was given up
            rig.start()
            rig.whole()
            self.old_arrives()
            self.over(rig)
        if rig.kernel_objects():  # of one that ended; the next tidies up
            rig.start()
            rig.whole()
            self.over(rig)
        if rig.kernel_objects():
            raise Broken("left in the kernel: %s" % rig.kernel_objects())

    @staticmethod
    def over(rig):
        """The failure may come as late as this."""
        status = rig.stop()
        if status != 0 and not (rig.page.hits and "mta" in rig.news()):
            raise Broken("stopped with status %d" % status)

    def once(self, part, call, error, nth, waits):
        self.attempt(part, call, error, nth)
        self.report.note(part, call, self.rig.page)
        return self.rig.page.hits > 0

    CALLS, ERRORS = tuple(HONEST), HONEST

    def counts(self, part):
        self.attempt(part, None, 0, 1)
        return {call: n for call, n in self.rig.page.counts().items()
                if call in self.CALLS}

    def settle(self, part, call):
        pass

    def run(self, part):
        self.scene = scene_of(part)
        self.sweep_all(part, part, self.once, self.ERRORS)


class Fresh(Start):
    """What is there only once is made again, and few descriptors at first;
    only the calls that have to do with it."""

    CALLS = ("open", "openat", "flock", "mkdir", "mkdirat", "mkfifo",
             "pwritev", "fsync", "ftruncate", "rename", "renameat", "fchmod",
             "msgget", "msgctl", "shmget", "shmctl", "getrlimit",
             "setrlimit")
    WHO = {"fresh-" + part.partition("-")[2]: path
           for part, path in Start.WHO.items()}

    def counts(self, part):
        """Whoever comes first makes it: another one each time."""
        counts = super().counts(part)
        return {call: max(3, counts.get(call, 0)) for call in self.CALLS}

    def begin(self):
        super().begin()
        self.rig.limit = lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE,
            (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    def prepare(self):
        fresh(self.rig)
        return []


class Wreck(Start):
    """All were killed before, with mail in every state; the calls with which
    the queue is read and mended."""

    CALLS = ("malloc", "calloc", "open", "close", "readdir", "pread",
             "pwritev", "fsync", "fdatasync", "ftruncate", "rename", "unlink",
             "flock", "stat", "fstat", "shmctl")
    WHO = {"wreck-" + part.partition("-")[2]: path
           for part, path in Start.WHO.items()}

    SCENE = LateLarge

    def begin(self):
        self.rig = Rig(self.outside, self.args.shim, scene=self.SCENE())
        self.rig.forget()

    def prepare(self):
        return wreck(self.rig)


class Copied(Wreck):
    """With a copy that reclaim has made among it."""

    WHO = {"copied-sender": "4"}
    CALLS = ("malloc", "calloc", "pwritev")
    SCENE = Reclaim


class Drop(Start):
    """The same for a system that begins as root and becomes somebody else;
    only the calls that have to do with it."""

    WHO = {"drop-supervisor": "", "drop-collector": "1", "drop-master": "2",
           "drop-dmaster": "3", "drop-deliver": "3.1", "drop-mailbox": "3.2",
           "drop-sender": "4"}
    CALLS = ("fchown", "fchmod", "mkdirat", "openat", "getpwnam", "getpwuid", "getgrnam",
             "setuid", "setgid", "seteuid", "setegid", "initgroups", "setgroups", "msgctl",
             "shmctl")

    SETTINGS = {"user": "nobody", "group": "nogroup"}

    def begin(self):
        self.rig = Rig(self.outside, self.args.shim, settings=self.SETTINGS)
        self.rig.forget()
        os.chmod(self.rig.dir, 0o755)
        shutil.chown(self.rig.mail, "nobody")

    def prepare(self):
        new_queue(self.rig)
        return []


class DropUid(Drop):
    """To somebody without a name."""

    WHO = {"uid-" + part.partition("-")[2]: path
           for part, path in Drop.WHO.items()}
    SETTINGS = {"user": "65534", "group": "65534"}


class DropLog(Drop):
    """Its log file is made by root, for somebody else."""

    WHO = {"log-collector": "1"}
    CALLS = ("open", "close", "fchown")

    def prepare(self):
        super().prepare()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.rig.log)
        self.rig.read_to["log"] = 0
        return []


class Resolv(Start):
    """Name servers of the system, who are not asked: all goes to one host."""

    WHO = {"resolv-sender": "4", "resolv-worker": "2.1"}
    CALLS = ("fopen", "calloc")

    def begin(self):
        self.rig = Rig(self.outside, self.args.shim, settings={
            "dns.servers": [], "serve.rdns": "off",
            "send.relay_host": "[127.0.0.1]:%d" % self.outside.peer.port})
        self.rig.forget()


class Stop(Start):
    """The n-th call fails after SIGTERM.  All ends within its time."""

    def attempt(self, part, call, error, nth):
        rig = self.rig
        rig.text = ""
        rig.start()
        role = part.partition("-")[2]
        pid = rig.whole()[role]
        rig.round()
        rig.page.arm(("pid", pid), call, error, nth)
        status = rig.stop()
        rig.page.disarm()
        if status != 0 and role == "supervisor" and call is None:
            raise Broken("stopped with status %d" % status)
        self.tidy(rig, call)

    def tidy(self, rig, call):
        """What a failed stop leaves, the next start and stop remove."""
        if rig.kernel_objects() and call is not None:
            rig.start()
            rig.whole()
            rig.stop()
        if rig.kernel_objects():
            raise Broken("left in the kernel: %s" % rig.kernel_objects())


STOPS = ("stop-supervisor", "stop-collector", "stop-master", "stop-worker",
         "stop-dmaster", "stop-deliver", "stop-mailbox", "stop-sender",
         "stop-signer", "stop-token")
