"""The tools and `mta send --once`: each runs from start to end with one call
failed.  A tool says all it has to say and ends with 0, or it ends with a
status and a word on stderr; never by a signal, never with half the truth and
a 0."""

import os
import re
import signal
import subprocess
import time

from errno import ENOENT

from errors import HONEST, ONCE
from page import Page
from rig import PATIENCE, SPEED, Broken, Rig, harness
from running import Running

QUEUED = 3

# Without what the run itself has in it, such as times of waiting.
MOVING = re.compile(rb'"?(age|waits|next|left)"?[=:][^,\s]*|\d+ ?(s|m|h)\b')


class Tools(Running):
    """Whatever only looks: queue, log, config, fsm."""

    def begin(self):
        """A queue with mail in it, a log, and nobody at work."""
        self.rig = Rig(self.outside, self.args.shim, "serve",
                       {"dns.servers": ["127.0.0.1:1"], "serve.rdns": "off"})
        self.rig.start()
        for _ in range(QUEUED):
            for mail in self.rig.mails()[:2]:
                self.rig.submit(mail)
        self.rig.stop()
        self.id = self.rig.queued()[0]["id"]
        self.clean = {}

    def end(self, failed=False):
        rig, self.rig = self.rig, None
        if rig is not None:
            rig.cleanup()

    def command(self, part):
        return {"queue-list": ["queue", "list"],
                "queue-json": ["queue", "list", "--json"],
                "queue-show": ["queue", "show", self.id],
                "queue-cat": ["queue", "cat", self.id],
                "log-id": ["log", "--id", self.id],
                "log-follow": ["log", "-f"],
                "config-show": ["config", "--show"],
                "config-env": ["config", "--show"],
                "config-here": ["config", "--show"],
                "config-check": ["config", "--check"]}[part]

    def call(self, part):
        command = [harness.MTA, *self.command(part), "-c", self.rig.conf]
        env = self.rig.page.environment(self.args.shim)
        if part == "log-follow":
            return self.follow(command, env)
        if part == "config-env":
            env.update(self.setting_in_a_file())
        if part == "config-here":
            env["MTA_LOG_FILE"] = "a/file"
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=PATIENCE, env=env)

    def setting_in_a_file(self):
        """A secret, and a name of the host that has to be asked for."""
        path = os.path.join(self.rig.dir, "timeout")
        with open(path, "w") as f:
            f.write("7s\n")
        self.rig.settings.pop("hostname", None)
        self.rig.write_conf()
        return {"MTA_DNS_TIMEOUT_FILE": path}

    def follow(self, command, env):
        """The last lines, and those of the file that takes its place; then it
        is told to end, if it has not ended itself."""
        log = self.rig.log
        with open(log, "w") as f:
            f.write("".join("line %d\n" % i for i in range(40)))
        out = os.path.join(self.rig.dir, "out")
        with open(out, "wb") as o, open(out + ".err", "wb") as e:
            p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=o,
                                 stderr=e, env=env)
        try:
            self.until_said(p, out, b"line 39\n")
            os.unlink(log)
            with open(log, "w") as f:
                f.write("another\n")
            self.until_said(p, out, b"another\n")
        finally:
            if p.poll() is None:
                p.terminate()
            status = p.wait()
        with open(out, "rb") as o, open(out + ".err", "rb") as e:
            return subprocess.CompletedProcess(
                command, 0 if status == -signal.SIGTERM else status, o.read(),
                e.read())

    @staticmethod
    def until_said(p, path, what):
        def said():
            with open(path, "rb") as f:
                return f.read().endswith(what) or p.poll() is not None
        harness.until("mta log -f says %r" % what, said, PATIENCE)

    def counts(self, part):
        self.rig.page.arm(("path", ""))
        done = self.call(part)
        self.rig.page.disarm()
        if done.returncode != 0:
            raise Broken("%s: %s" % (part, done.stderr))
        self.clean[part] = MOVING.sub(b"", done.stdout)
        return self.rig.page.counts()

    def once(self, part, call, error, nth, waits):
        if part not in self.clean:
            self.counts(part)
        page = self.rig.page
        page.arm(("path", ""), call, error, nth)
        try:
            done = self.call(part)
        except subprocess.TimeoutExpired:
            raise Broken("does not end")
        finally:
            page.disarm()
            self.report.note(part, call, page)
        if done.returncode < 0:
            raise Broken("died of signal %d" % -done.returncode)
        if done.returncode > 0 and not done.stderr:
            raise Broken("status %d without a word" % done.returncode)
        if (call, error) == ("open", ENOENT):
            return page.hits > 0  # a segment that has just been removed
        if (part, call) == ("log-follow", "fstat") or \
                (part, call) == ("log-follow", "pread") or \
                call in ("gethostname", "getaddrinfo"):
            return page.hits > 0  # more lines; a name that asks for less
        if done.returncode == 0 and \
                MOVING.sub(b"", done.stdout) != self.clean[part]:
            raise Broken("status 0, but it said only %r" % done.stdout[-300:])
        return page.hits > 0

    def settle(self, part, call):
        pass

    def run(self, part):
        self.sweep_all(part, part, self.once, ONCE)


class Once(Running):
    """`mta send --once` for a few messages, beside a server at work."""

    def begin(self):
        self.rig = Rig(self.outside, self.args.shim, "serve")
        self.rig.forget()
        self.rig.start()
        self.rig.whole()
        self.rig.page = Page(os.path.join(self.rig.dir, "page.once"), SPEED)
        self.base, self.memory = self.rig.descriptors(), self.rig.memory()
        self.key = self.rig.key()

    def send(self):
        return subprocess.run(
            [harness.MTA, "send", "--once", "-c", self.rig.conf],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=PATIENCE,
            env=self.rig.page.environment(self.args.shim))

    def attempt(self, part, call, error, nth):
        """The failure, and then as often as it takes without one."""
        rig = self.rig
        mails = rig.mails()
        answers = [rig.submit(m) for m in mails]
        self.rig.page.arm(("path", {"once-parent": "", "once": "1"}[part]), call,
                      error, nth)
        try:
            done = self.send()
        except subprocess.TimeoutExpired:
            raise Broken("does not end")
        finally:
            self.rig.page.disarm()
        self.look_at(done)
        if rig.key() != self.key:
            raise Broken("another message queue, away from the collector")
        end = time.monotonic() + PATIENCE
        while rig.queued() and time.monotonic() < end:
            self.send()
        rig.judge(mails, answers, logged=False)
        rig.forget()

    def look_at(self, done):
        if done.returncode < 0:
            raise Broken("died of signal %d" % -done.returncode)
        if done.returncode not in (0, 75) and not done.stderr:
            raise Broken("status %d without a word" % done.returncode)
        if done.returncode == 0 and self.rig.queued():
            raise Broken("says that nothing is left: %s" % self.rig.queued())

    def once(self, part, call, error, nth, waits):
        self.attempt(part, call, error, nth)
        self.report.note(part, call, self.rig.page)
        return self.rig.page.hits > 0

    def counts(self, part):
        self.attempt(part, None, 0, 1)
        return self.rig.page.counts()

    def settle(self, part, call):
        pass

    def run(self, part):
        self.sweep_all(part, part, self.once, HONEST)


TOOLS = ("queue-list", "queue-json", "queue-show", "queue-cat", "log-id",
         "log-follow", "config-show", "config-env", "config-here",
         "config-check")
