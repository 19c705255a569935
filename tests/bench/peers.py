"""Servers to measure, each in a directory of its own on the same file system.

All listen on the same port, one after another; accept mail for any
recipient; store durably; look nothing up; write their log at its default
level.  What becomes of accepted mail is the mode:

    hold     it stays in the queue, untouched
    maildir  it goes into a Maildir of each of a hundred users
    relay    all of it goes to one next hop
    mx       it goes to the MX of each domain, by DNS
    stuck    the next hop refuses, so it stays and is tried again much later

"tuned" takes settings that suit the work; without, those of the package.
"""

import mmap
import os
import shutil
import struct
import subprocess
import time

import account
import harness

PORT = 2525
NEXT_HOP = "127.0.0.2"  # of mode relay; port 25
NOBODY = "127.0.0.9"    # nothing listens there: mode stuck
USERS = 100             # of mode maildir: user0 to user99


class Peer:
    name = title = "?"
    started_by = None  # the process that start() began, if it stays

    def __init__(self, place, mode, tuned=True, **more):
        """more: settings of a single peer, as workers= and routes= of mta;
        next_hop=, limit= (connections at once) for those that need it."""
        self.place, self.mode, self.tuned, self.more = place, mode, tuned, more
        self.port = PORT
        self.dir = place.room(self.name)
        self.group = account.Group(self.name)
        self.shared = mmap.mmap(-1, 8)  # with children, see become()

    @property
    def mail(self):
        """Where the mailboxes are."""
        return self.dir + "/mail"

    @property
    def next_hop(self):
        """Where mail goes in modes relay and stuck."""
        return NOBODY if self.mode == "stuck" else \
            self.more.get("next_hop", NEXT_HOP)

    def become(self):
        """For a child before its exec: part of the peer from here on."""
        self.group.enter()
        if self.shared[:8] == bytes(8):
            self.shared[:8] = struct.pack("d", time.monotonic())

    def start_timed(self):
        """start(); returns when its first program was executed: what goes
        before, the move into a control group above all, is our time."""
        self.shared[:8] = bytes(8)
        self.start()
        return struct.unpack("d", self.shared[:8])[0]

    def spawn(self, *cmd, **options):
        return subprocess.Popen(cmd, preexec_fn=self.become,
                                stdin=subprocess.DEVNULL, **options)

    def run(self, *cmd, **options):
        """A command of the peer's own that ends; its CPU counts."""
        return subprocess.run(cmd, preexec_fn=self.become, check=True,
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, **options)

    def wait(self):
        try:
            with harness.Raw("127.0.0.1", self.port):
                pass
        except AssertionError:
            raise AssertionError("%s did not start: %s" % (
                self.name, self.complaint()))

    def complaint(self):
        done = subprocess.run(["tail", "-n", "20", self.log()], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout

    def syncs(self, work):
        return account.count_syncs(self.group,
                                   os.path.join(self.place.top, "strace"),
                                   work)

    def ready(self):
        """start() and wait until a client is greeted."""
        self.prepare()
        self.start()
        self.wait()
        return self

    def prepare(self):
        """Write the settings."""

    def cleanup(self):
        """Undo what prepare() mounted."""

    def close(self):
        self.group.kill()
        if self.started_by is not None:
            self.started_by.wait()
        self.cleanup()
        shutil.rmtree(self.dir, ignore_errors=True)
        os.sync()  # or who comes next pays for what this one left behind

    def __enter__(self):
        try:
            return self.ready()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()


class Mta(Peer):
    name, title = "mta", "mta"

    @staticmethod
    def version():
        return subprocess.run([harness.MTA, "version"], text=True, check=True,
                              stdout=subprocess.PIPE).stdout.split()[-1]

    def log(self):
        return self.dir + "/log"

    def settings(self):
        serve = ['listen = ["127.0.0.1:%d"];' % self.port, 'rdns = "off";',
                 'users = "any";', 'mail_dir = "%s/mail";' % self.dir,
                 'local_domains = ["localhost", "local.test"];',
                 'aliases = "";']
        send = ['tls = "none";', 'retry_min = "10d";', 'retry_max = "10d";']
        dns = []
        for key in ("workers", "max_clients"):
            if key in self.more:
                serve.append("%s = %d;" % (key, self.more[key]))
        if "routes" in self.more:
            send.append('routes = [ "%s" ];' % '", "'.join(
                self.more["routes"]))
        if self.mode == "mx":
            dns.append('servers = ["127.0.0.53"];')
        else:
            hop = self.next_hop
            send.append('relay_host = "[%s]:25";' % hop)
        return serve, send, dns

    def prepare(self):
        os.makedirs(self.mail, exist_ok=True)
        serve, send, dns = self.settings()
        with open(self.dir + "/mta.conf", "w") as f:
            f.write('hostname = "mx.here.test";\nqueue_dir = "%s/queue";\n'
                    'log = { file = "%s"; };\nserve = { %s };\nsend = { %s };'
                    '\ndns = { %s };\n' % (self.dir, self.log(),
                                           " ".join(serve), " ".join(send),
                                           " ".join(dns)))

    def start(self):
        """The mode may have changed since prepare()."""
        self.prepare()
        command = "serve" if self.mode == "hold" else "run"
        self.started_by = self.spawn(harness.MTA, command, "-c",
                                     self.dir + "/mta.conf")

    def stop(self):
        self.started_by.terminate()
        self.started_by.wait()

    def list_queue(self):
        return [harness.MTA, "queue", "list", "-c", self.dir + "/mta.conf"]
