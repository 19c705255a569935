"""Servers to measure, each in a directory of its own on the same file system.

All listen on the same port, one after another; accept mail for any
recipient; store durably; look nothing up; write their log at its default
level.  What becomes of accepted mail is the mode:

    hold     it stays in the queue, untouched
    maildir  it goes into a Maildir of each of a hundred users
    mbox     it goes into an mbox of each of them
    alias    the same as maildir, with an alias "list" for a thousand users
    half     what is for users here as maildir, the rest as relay
    relay    all of it goes to one next hop
    mx       it goes to the MX of each domain, by DNS
    stuck    the next hop refuses, so it stays and is tried again much later

"tuned" takes settings that suit the work; without, those of the package.

With serve_tls= a server offers STARTTLS with the certificate of
place.certificate(); with send_tls= mail leaves over TLS alone, to whatever
certificate; with sign= mail of sender@signed.test is signed by DKIM.
"""

import mmap
import os
import shutil
import struct
import subprocess
import time

import account
import harness
import settings

PORT = 2525
NEXT_HOP = "127.0.0.2"  # of mode relay; port 25
NOBODY = "127.0.0.9"    # nothing listens there: mode stuck
USERS = 100             # of mode maildir: user0 to user99
MEMBERS = 1000          # of the alias: user0 to user999
SIGNED = "signed.test"  # the domain that has a key for DKIM, RSA-2048
SELECTOR = "bench"


class Peer:
    name = title = "?"
    holds = True       # mail in its queue, untouched, when told to
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

    @property
    def serves_tls(self):
        return self.more.get("serve_tls", False)

    @property
    def sends_tls(self):
        return self.more.get("send_tls", False)

    @property
    def signs(self):
        return self.more.get("sign", False)

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
        """The end of its log and of what it wrote to stderr."""
        done = subprocess.run(["tail", "-n", "20", self.log(),
                               self.dir + "/stderr"], text=True,
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
    holds = False
    binary = harness.MTA
    keys = None  # the settings that the binary has, once it was asked

    @classmethod
    def version(cls):
        return subprocess.run([cls.binary, "version"], text=True, check=True,
                              stdout=subprocess.PIPE).stdout.split()[-1]

    def log(self):
        return self.dir + "/log"

    def settings(self):
        wanted = {"hostname": "mx.here.test", "user": "root",
                  "queue_dir": self.dir + "/queue", "log.file": self.log(),
                  "serve.listen": ["127.0.0.1:%d" % self.port],
                  "serve.rdns": "off",
                  "local.domains": ["localhost", "local.test"],
                  "local.mail_dir": self.mail, "local.users": "any",
                  "local.aliases": "", "send.tls": "none",
                  "send.retry_min": "10d", "send.retry_max": "10d"}
        if self.mode == "mbox":
            wanted["local.mailbox"] = "mbox"
        if self.mode == "alias":
            wanted["local.aliases"] = self.dir + "/aliases"
        for key in ("workers", "max_clients"):
            if key in self.more:
                wanted["serve." + key] = self.more[key]
        if self.serves_tls:
            cert, key = self.place.certificate()
            wanted.update({"serve.extra_commands": ["STARTTLS"],
                           "serve.tls_cert": [cert], "serve.tls_key": [key]})
        if self.sends_tls:
            wanted["send.tls"] = self.sends_tls
        if self.signs:
            wanted["dkim.keys"] = ["%s:%s:%s" % (
                SIGNED, SELECTOR, self.place.dkim_key())]
        if "routes" in self.more:
            wanted["send.routes"] = self.more["routes"]
        if self.mode == "mx":
            wanted["dns.servers"] = ["127.0.0.53"]
        else:
            wanted["send.relay_host"] = "[%s]:25" % self.next_hop
        return wanted

    def prepare(self):
        os.makedirs(self.mail, exist_ok=True)
        if self.keys is None:
            type(self).keys = settings.known(self.binary)
        with open(self.dir + "/aliases", "w") as f:
            f.write("list: " + ", ".join("user%d" % i
                                         for i in range(MEMBERS)) + "\n")
        with open(self.dir + "/mta.conf", "w") as f:
            f.write(settings.text_of(self.settings(), self.keys))

    def start(self):
        """The mode may have changed since prepare()."""
        self.prepare()
        command = "serve" if self.mode == "hold" else "run"
        self.started_by = self.spawn(self.binary, command, "-c",
                                     self.dir + "/mta.conf")

    def stop(self):
        self.started_by.terminate()
        self.started_by.wait()

    def tool(self, *words):
        return [self.binary, *words, "-c", self.dir + "/mta.conf"]

    def list_queue(self):
        return self.tool("queue", "list")

    def sendmail(self):
        return [self.binary, "sendmail", "-C", self.dir + "/mta.conf"]


def build(kind, path):
    """A build of mta, for a comparison of two."""
    return type(kind, (Mta,), {"name": kind, "title": kind, "binary": path,
                               "keys": None})
