"""A running system with something to fail in it, and who watches it.

A round is what a few clients and a remote host do with it: messages small
and large, to mailboxes, to the remote host and to both, one that bounces.
Every message has a token and a checksum; a client that is not answered 250
keeps its message and tries again, as RFC 5321 has it.  What a round must be
like, whatever failed in it, is in Rig.judge()."""

import collections
import contextlib
import glob
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))

import harness  # noqa: E402
from auth import USER, AuthPeer  # noqa: E402
from dnsserver import DnsServer  # noqa: E402
from page import Page  # noqa: E402
from peer import Peer  # noqa: E402
from pki import Authority  # noqa: E402
from processes import by_role, is_ready, threads  # noqa: E402
from traffic import compose, examine  # noqa: E402

import random  # noqa: E402

# What a process is called here and in the parts of faults.py.
ROLES = {"log": "collector", "serve": "master", "worker": "worker",
         "deliver master": "dmaster", "deliver": "deliver",
         "mailbox": "mailbox", "send": "sender"}
SOME = {"signer": "signer", "token": "token"}  # where the scene has them
ANY_CERTIFICATE = ssl._create_unverified_context()
SPEED = 20  # the clock of what is tried, so that retries come soon
PATIENCE = 45  # seconds; nothing may take longer, on a busy machine
LARGE = 300000  # octets: not kept in memory
MANY = "\n".join("* 0 MX 20 %s%d" % ("m" * 50, i) for i in range(40))
ZONES = {"far.test": "@ MX 10 mx\nmx A 127.0.0.1",
         "wide.test": "* 0 MX 10 mx\nmx 0 A 127.0.0.1\nmx 0 AAAA ::1\n" + MANY,
         "127.in-addr.arpa": "2.0.0 PTR client.far.test.",
         "client.far.test": "@ A 127.0.0.2"}

Mail = collections.namedtuple("Mail", "token rcpts where source size")


class Broken(Exception):
    """A promise that was not kept."""


class Scene:
    """What a round is like; others are in scenes.py."""

    settings = {}
    roles = ()  # of SOME
    host = "clear"  # of Outside.host()
    starttls = False  # do clients ask for it?
    domain = "far.test"  # of the remote host
    gone = "no@far.test"  # who bounces
    users = ("user1", "user2", "back")
    members = ()  # more users

    def aliases(self):
        """More of them."""
        return ""

    def prepare(self, rig):
        """Files and settings, before the first start."""

    def before(self, rig):
        pass

    def check(self, messages):
        """What came to the remote host in a round."""

    def more(self, name):
        """Further messages of a round."""
        return []

    def after(self, rig):
        """All is submitted, but perhaps not delivered.  Mail that it submits
        itself, and how that was answered."""
        return []


class Outside:
    """The remote hosts and the name server, for all systems of a run."""

    def __enter__(self):
        self.hosts = {}
        self.ca = Authority()
        self.dns = DnsServer(ZONES)
        self.late = False  # mail for late@ has to wait
        self.dns.__enter__()
        self.peer = self.host("clear")
        return self

    def __exit__(self, *how):
        for peer in self.hosts.values():
            peer.close()
        self.dns.__exit__(*how)
        self.ca.__exit__(*how)

    def host(self, kind):
        """One without TLS, with TLS, or that wants a login by token."""
        if kind not in self.hosts:
            answers = {"RCPT": self.on_rcpt}
            self.hosts[kind] = AuthPeer("XOAUTH2", USER, answers=answers) \
                if kind == "login" else Peer(
                    answers=answers, tls=self.ca.context("mx.far.test")
                    if kind == "tls" else None)
        return self.hosts[kind]

    def on_rcpt(self, _, line):
        if self.late and "<late@" in line:
            return "450 4.2.0 later"
        return "550 5.1.1 no such user" if "<no@" in line else "250 2.1.5 ok"


class Rig(harness.Mta):
    def __init__(self, outside, shim, command="run", settings=None, scene=None):
        """settings: more of them; scene: see scenes.py."""
        scene = scene or Scene()
        self.outside, self.shim, self.serial = outside, shim, 0
        self.scene, self.peer = scene, outside.host(scene.host)
        self.attempts = collections.Counter()  # by their answers
        self.refused_twice = False  # a worker cannot take back what it stored
        self.unanswered = set()  # tokens of mail that may come twice
        self.duplicates = collections.Counter()  # by where they are
        self.read_to = {"log": 0, "stderr": 0}
        self.text = ""  # of log and stderr, of this round
        self.chance = random.Random(1)
        self.history = set()  # what may be delivered
        super().__init__(command, dict({
            "dns.servers": [outside.dns.address],
            "send.port": self.peer.port,
            "log.level": "info",
            "serve.workers": 1,
            "deliver.workers": 1,
            "send.workers": 1,
            "serve.rdns": "warn",
            "serve.relay_networks": ["127.0.0.1/32"],
            "serve.session_timeout": "1h",
            "send.retry_min": "1s", "send.retry_max": "1s",
        }, **(settings or {}), **scene.settings),
            start=False)
        self.page = Page(os.path.join(self.dir, "page"), SPEED)
        for name, text in (
                ("aliases", "two: %s\n" % scene.users[1] + scene.aliases()),
                ("users", "\n".join(scene.users + scene.members) + "\n")):
            with open(os.path.join(self.dir, name), "w") as f:
                f.write(text)
        self.settings["local.aliases"] = os.path.join(self.dir, "aliases")
        if "local.users" not in scene.settings:
            self.settings["local.users"] = "file:" + os.path.join(
                self.dir, "users")
        scene.prepare(self)
        self.write_conf()

    def start(self, wait=True):
        with open(self.stderr, "ab") as err:
            self.process = subprocess.Popen(
                [harness.MTA, self.command, "-c", self.conf],
                stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                preexec_fn=self.limit, env=self.page.environment(self.shim))
        if wait:
            harness.connect("127.0.0.1", self.port).close()
        return self

    # --- what runs --------------------------------------------------------

    def roles(self):
        """role -> pid, of those that are there now and know their work."""
        found = {"supervisor": self.process.pid}
        for role, pids in by_role(self.process.pid).items():
            name = ROLES.get(role) or SOME.get(role)
            if name:
                found[name] = pids[0]
        if "sender" in found and threads(found["sender"]) < 2:
            del found["sender"]
        if "collector" in found and not any(name.endswith("/log.lock")
                                            for name in open_files(
                                                found["collector"])):
            del found["collector"]
        return found

    def is_whole(self, found):
        want = {"supervisor", *ROLES.values(), *self.scene.roles}
        if self.command == "serve":
            want.remove("sender")
        return want <= set(found)

    def whole(self):
        def all_there():
            found = self.roles()
            return self.is_whole(found) and is_ready(found["worker"]) and found
        return harness.until("all processes: %s" % self.roles(), all_there,
                             PATIENCE)

    # --- a round ----------------------------------------------------------

    def mails(self):
        self.serial += 1
        names = ["m%d-%s" % (self.serial, k) for k in "abcde"]
        scene = self.scene
        both = (scene.users[0] + "@here.test", "u@" + scene.domain)
        made = [Mail(names[0], both, ("local", "remote"), "127.0.0.1", 900),
                Mail(names[1], (scene.gone,), ("bounce",), "127.0.0.1", 900),
                Mail(names[2], ("two@here.test",), ("local",), "127.0.0.2",
                     3000),
                Mail(names[3], both, ("local", "remote"), "127.0.0.1", LARGE)]
        made += scene.more(names[4])
        self.expect(made)
        return made

    def expect(self, mails):
        """From here on, for the whole may end before all are submitted, and
        what was taken comes when it is started again."""
        self.history |= {(m.token, w) for m in mails for w in m.where}

    def attempt(self, mail, timeout=PATIENCE):
        """Submit once: "250", the code of a refusal, "closed" or "silence".
        Who hears one refusal asks for nothing more."""
        answer = "closed"
        try:
            with contextlib.ExitStack() as stack:
                s = stack.enter_context(socket.create_connection(
                    ("127.0.0.1", self.port), timeout, (mail.source, 0)))
                answer = self.dialogue(stack, s, mail)
        except socket.timeout:
            answer = "silence"
        except OSError:
            pass
        self.attempts[answer] += 1
        if answer in ("closed", "silence"):
            self.unanswered.add(mail.token)
        return answer

    def dialogue(self, stack, sock, mail):
        sender = self.scene.users[2].encode() + b"@here.test"
        body = b"From: <%s>\r\n" % sender
        body += compose(mail.token, 1, mail.size, self.chance)
        hello = b"EHLO client.test"
        said = [hello] + [b"STARTTLS", hello] * self.scene.starttls
        said += [b"MAIL FROM:<%s>" % sender]
        said += [b"RCPT TO:<%s>" % r.encode() for r in mail.rcpts]
        said += [b"DATA", body + b"."]
        link, want = sock.makefile("rwb"), b"220"
        for before, line in zip([b""] + said, said + [b"QUIT"]):
            answer = reply(link)
            if answer != want:
                return answer.decode() or "closed"
            if before == b"STARTTLS":
                sock = stack.enter_context(ANY_CERTIFICATE.wrap_socket(sock))
                link = sock.makefile("rwb")
            want = {b"STARTTLS": b"220", b"DATA": b"354"}.get(line, b"250")
            link.write(line + b"\r\n")
            if line != b"QUIT":
                link.flush()
        with contextlib.suppress(OSError):  # it has its 250
            link.flush()
            reply(link)
        return "250"

    def submit(self, mail):
        """Until it is taken."""
        answers = []
        end = time.monotonic() + PATIENCE
        while not answers or answers[-1] != "250":
            if time.monotonic() > end:
                raise Broken("%s is not taken: %s ..." % (mail.token,
                                                          answers[:9]))
            answers.append(self.attempt(mail))
            if answers[-1] not in ("250", "closed") and \
                    answers[-1][0] != "4":
                raise Broken("%s answered %s" % (mail.token, answers[-1]))
            if answers[-1] != "250":
                time.sleep(0.01)
        return answers

    def boxes(self):
        """(path, message) of Maildirs; (None, message) of each mbox, where
        one may be seen as it is written."""
        for path in glob.glob(os.path.join(self.mail, "*", "new", "*")) + \
                glob.glob(os.path.join(self.mail, "*")):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                with open(path, "rb") as f:
                    raw = f.read()
                if raw.startswith(b"From "):
                    for part in (b"\n" + raw[:-1]).split(b"\nFrom ")[1:]:
                        yield None, part.partition(b"\n")[2]
                elif path.count("/") > self.mail.count("/") + 1:
                    yield path, raw

    def copies(self):
        """(token, where) -> how many intact copies are there."""
        found = collections.Counter()
        for path, raw in self.boxes():
            self.count(found, raw, path)
        with self.peer.lock:
            messages = list(self.peer.messages)
        self.scene.check(messages)
        for m in messages:
            key = examine(m.data)
            if key is None:
                raise Broken("damaged at the remote host: %s" % m)
            found[key[0], "remote"] += 1
        return found

    def count(self, found, raw, path):
        if b"\nAuto-Submitted:" in raw[:2000]:
            token = re.search(rb"^Subject: (m\S+)\r?$", raw, re.M)
            found[token and token.group(1).decode(), "bounce"] += 1
            return
        key = examine(raw)
        if key is None and path is not None:
            raise Broken("damaged in %s" % path)
        if key is None:
            return
        box = "local/" + (path or "").removeprefix(self.mail + "/").split(
            "/")[0]
        found[key[0], box if (key[0], box) in self.history else "local"] += 1

    def forget(self):
        """Start the next round with empty mailboxes: all is read, as far as
        Maildirs are concerned."""
        for path in glob.glob(os.path.join(self.mail, "*", "new", "*")):
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, path.replace("/new/", "/cur/") + ":2,S")
        for path in glob.glob(os.path.join(self.mail, "*")):
            with contextlib.suppress(IsADirectoryError, FileNotFoundError):
                if not path.endswith(".lock"):
                    os.unlink(path)
        with self.peer.lock:
            self.peer.messages.clear()
            self.peer.sessions.clear()

    def news(self):
        """What log and stderr got since the last look."""
        text = ""
        for name, path in (("log", self.log), ("stderr", self.stderr)):
            with contextlib.suppress(FileNotFoundError):
                with open(path, "rb") as f:
                    f.seek(self.read_to[name])
                    raw = f.read()
                    self.read_to[name] += len(raw)
                    text += raw.decode("utf-8", "replace")
        self.text += text
        return self.text

    def round(self):
        """Submit, wait, judge."""
        self.text = ""
        self.scene.before(self)
        mails = self.mails()
        answers = [self.submit(m) for m in mails]
        for mail, answer in self.scene.after(self):
            mails.append(mail)
            answers.append(answer)
        self.judge(mails, answers)
        self.forget()

    def judge(self, mails, answers, logged=True):
        wanted = collections.Counter(
            (m.token, w) for m in mails for w in m.where)
        end = time.monotonic() + PATIENCE
        while wanted - self.copies():
            if time.monotonic() > end:
                raise Broken("lost: %s" % sorted(wanted - self.copies()))
            time.sleep(0.005)
        found = self.copies()
        strange = set(found) - self.history
        if strange:
            raise Broken("nobody sent or may bounce: %s" % strange)
        for (token, w), n in (found - wanted).items():
            self.duplicates[w.partition("/")[0]] += n
            if w.startswith("local") and self.is_twice(token):
                raise Broken("%d copies too many of %s, %s" % (n, token, w))
        if re.search("Sanitizer|runtime error:", self.news()):
            raise Broken("the sanitizers say: " + self.text[-3000:])
        if not logged:
            return
        for m, a in zip(mails, answers):
            if a[0] != "250" and not re.search(r" (warn|error) |^mta: ",
                                               self.news(), re.M):
                harness.until("a line in the log about %s" % a, lambda: (
                    re.search(r" (warn|error) |^mta: |serve.disconnect",
                              self.news(), re.M)), PATIENCE)
        harness.until("a line in the log for each message", lambda:
                      self.news().count(" serve.accepted ") >= len(mails),
                      PATIENCE)

    def is_twice(self, token):
        """May nothing explain a second copy here?  A client submits again what
        had no answer; a crash may double what goes to an mbox."""
        return token not in self.unanswered and \
            self.settings.get("local.mailbox") != "mbox" and \
            not (self.refused_twice and self.page.then_hits)

    # --- between rounds ---------------------------------------------------

    def leftovers(self):
        """Files that nobody needs any more."""
        return glob.glob(os.path.join(self.mail, "*", "tmp", "*")) + \
            glob.glob(os.path.join(self.mail, "*.lock")) + \
            [p for p in glob.glob(os.path.join(self.queue, "[lr]*", "*"))
             if p.endswith((".new", ".bad"))] + \
            glob.glob(os.path.join(self.queue, "run", "*.new"))

    def descriptors(self):
        """role -> what it has open, names of segments left out."""
        return {role: collections.Counter(
            re.sub(r"\[\d+\]|[0-9a-z]{12}\.(seg|new)| \(deleted\)", "*", name)
            for name in open_files(pid)) for role, pid in self.roles().items()}

    def memory(self):
        """role -> KiB of its own."""
        found = {}
        for role, pid in self.roles().items():
            with contextlib.suppress(OSError):
                with open("/proc/%d/status" % pid) as f:
                    found[role] = int(re.search(r"RssAnon:\s+(\d+)",
                                                f.read()).group(1))
        return found

    def key(self):
        """Of the message queue of the log."""
        with open(os.path.join(self.queue, "run", "log.key")) as f:
            return f.read()

    def kernel_objects(self):
        """Lines of ipcs with the key of this queue directory."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            with open(os.path.join(self.queue, "run", "log.key")) as f:
                key = int(f.read().split()[0], 16)
            for kind in ("msg", "shm"):
                with open("/proc/sysvipc/" + kind) as f:
                    found += [line for line in f.readlines()[1:]
                              if int(line.split()[0]) == key]
        return found

    def cleanup(self):
        for line in self.kernel_objects() if self.process is None else []:
            raise Broken("left in the kernel: " + line)
        super().cleanup()


def reply(link):
    """The code of the next reply, or b"" at the end."""
    while True:
        line = link.readline()
        if line[3:4] != b"-":
            return line[:3]


def open_files(pid):
    names = []
    for link in glob.glob("/proc/%d/fd/*" % pid):
        with contextlib.suppress(OSError):
            names.append(os.readlink(link))
    return names


def copy_evidence(rig, to):
    if to:
        shutil.copytree(rig.dir, to, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("wake", "page", "submit",
                                                  "*.sock"))
