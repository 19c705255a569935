#!/usr/bin/python3
"""Mail to OpenSMTPD, Exim and Postfix as Debian packs them, with the limits
that they have: OpenSMTPD takes 100 messages a session, Exim 1,000, and queues
what comes after the first 10 of a session.  Mail comes in bursts with pauses
between, each host is paused for a moment too, and the sender is killed again
and again.

    lost, returned or deferred  must be none
    twice                       only what was under way when it was killed

usage: counterparts.py [--messages N] [--kills N] [--seed N]; needs root and
tests/bench/unpack.sh.  Prints what it counts; exit status 1 if it is wrong."""

import argparse
import collections
import contextlib
import email
import email.utils
import glob
import os
import random
import signal
import sys
import threading
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, d) for d in ("bench", "system")]

import account  # noqa: E402  (the path must be set first)
import harness  # noqa: E402
import place  # noqa: E402
from peer_exim import Exim  # noqa: E402
from peer_opensmtpd import OpenSmtpd  # noqa: E402
from peer_postfix import Postfix  # noqa: E402
from peers import USERS  # noqa: E402
from test_hostile_hosts import sender_of  # noqa: E402

TRICKLE = 330  # messages at the end, more than 100 a host, one by one
WINDOW = 64  # deliveries in line at one host, at most


def change(path, *changes):
    """Lines of a configuration, each of which must be there."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


class LimitedOpenSmtpd(OpenSmtpd):
    domain = "opensmtpd.test"

    def configure(self):
        super().configure()
        change(self.root + "/etc/smtpd.conf",
               ("smtp limit max-mails 1000000\n", ""))

    def flush(self):
        """It delivers by itself."""


class LimitedExim(Exim):
    domain = "exim.test"

    def configure(self):
        super().configure()
        change(self.root + "/etc/exim4/exim4.conf",
               ("smtp_accept_max_per_connection = 0",
                "smtp_accept_max_per_connection = 1000"),
               ("smtp_accept_queue_per_connection = 0",
                "smtp_accept_queue_per_connection = 10"),
               ("localhost : local.test", "localhost : " + self.domain))

    def flush(self):
        """What it has only queued."""
        self.run(*self.inside("/usr/sbin/exim4", "-qf"))


class NamedPostfix(Postfix):
    domain = "postfix.test"

    def settings(self):
        return super().settings().replace("local.test", self.domain)

    def flush(self):
        """It delivers by itself."""


class Load:
    """Sends numbered messages, from a few senders, in bursts."""

    def __init__(self, m, domains, chance):
        self.m, self.domains, self.chance = m, domains, chance
        self.sent = {}  # number: domain

    def send_one(self, smtp, n):
        domain = self.domains[n % len(self.domains)]
        size = self.chance.choice([100, 100, 2000, 30000])
        text = b"Subject: n%d\r\nX-Size: %d\r\n\r\n" % (n, size)
        text += (b"x" * 68 + b"\r\n") * (size // 70 + 1)
        smtp.sendmail("s%d@here.test" % (n % 5),
                      ["user%d@%s" % (n % USERS, domain)], text)
        self.sent[n] = domain

    def bursts(self, numbers):
        """With pauses between, in which sessions end or do not."""
        numbers = list(numbers)
        while numbers:
            burst = self.chance.choice([1, 5, 50, 200])
            with self.m.smtp() as smtp:
                for n in numbers[:burst]:
                    self.send_one(smtp, n)
            del numbers[:burst]
            time.sleep(self.chance.choice([0, 0.05, 0.5, 1.5]))

    def trickle(self, numbers):
        """One after the other, so that sessions never end for lack of mail:
        only a limit of the host ends them."""
        with self.m.smtp() as smtp:
            for n in numbers:
                self.send_one(smtp, n)
                time.sleep(0.01)


def copies(peer):
    """(number, whole, when it came) of each message in its mailboxes."""
    for path in glob.glob(peer.mail + "/user*/new/*"):
        with open(path, "rb") as f:
            message = email.message_from_bytes(f.read())
        size = int(message["X-Size"])
        body = message.get_payload().replace("\n", "\r\n").replace(
            "\r\r\n", "\r\n")
        whole = body.strip() == (("x" * 68 + "\r\n")
                                 * (size // 70 + 1)).strip()
        date = message.get_all("Received")[0].rsplit(";", 1)[1]
        yield (int(message["Subject"][1:]), whole,
               email.utils.parsedate_to_datetime(date).timestamp())


class Trouble:
    """Kills of the sender and pauses of hosts while the load runs."""

    def __init__(self, m, hosts, kills, chance):
        self.m, self.hosts, self.left = m, hosts, kills
        self.chance, self.kills = chance, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def pause(self, host):
        pids = host.group.pids()
        for pid in pids:
            harness.send_signal(pid, signal.SIGSTOP)
        self.over.wait(self.chance.uniform(0.1, 1))
        for pid in pids:
            harness.send_signal(pid, signal.SIGCONT)

    def run(self):
        while self.left > 0 and not self.over.wait(
                self.chance.uniform(0.3, 2)):
            if self.chance.random() < 0.3:
                self.pause(self.chance.choice(self.hosts))
            else:
                self.kills.append(time.time())
                harness.send_signal(sender_of(self.m), signal.SIGKILL)
                self.left -= 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def wrong(m, hosts, sent, kills):
    """What is not as promised, in words."""
    found = {h: collections.defaultdict(list) for h in hosts}
    for h in hosts:
        for n, whole, when in copies(h):
            found[h][n].append(when)
            if not whole or sent.get(n) != h.domain:
                yield "%s: message %d is not what was sent" % (h.name, n)
        lost = [n for n, d in sent.items()
                if d == h.domain and n not in found[h]]
        if lost:
            yield "%s: lost %s" % (h.name, lost)
        twice = {n: sorted(w) for n, w in found[h].items() if len(w) > 1}
        print("%s: %d messages, %d of them twice, %d sessions" % (
            h.name, len(found[h]), len(twice), len(m.events(
                "send.connect",
                address="127.0.0.1:%d" % h.port))))
        if len(twice) > WINDOW * len(kills):
            yield "%s: %d twice for %d kills" % (h.name, len(twice),
                                                 len(kills))
        for n, when in twice.items():  # the copy before the last
            if not any(k - 30 < when[-2] < k + 2 for k in kills):
                yield "%s: %d came twice, at %s, and nothing was killed" % (
                    h.name, n, when)
    for name in ("send.bounced", "send.deferred", "queue.unreadable"):
        for e in m.events(name):
            yield "%s %s" % (name, e)
    for n in range(5):
        for notice in m.mailbox("s%d" % n):
            yield "returned: %r" % notice


def settle(m, hosts, sent):
    """Until our queue is empty and each mailbox has what is for it."""
    with contextlib.suppress(AssertionError):  # wrong() says what is lost
        harness.until("our queue is empty", lambda: m.queued() == [], 120)
    for h in hosts:
        own = {n for n, d in sent.items() if d == h.domain}

        def arrived(h=h, own=own):
            h.flush()
            return own <= {n for n, _, _ in copies(h)} or None
        with contextlib.suppress(AssertionError):  # wrong() says which
            harness.until("mailboxes of " + h.name, arrived, 60)


def play(options, hosts):
    chance = random.Random(options.seed)
    routes = ["%s=%s" % (h.domain, h.hop_text) for h in hosts]
    with harness.Mta("run", {"send.routes": routes,
                             "local.domains": ["here.test"]}) as m:
        begin = time.monotonic()
        load = Load(m, [h.domain for h in hosts], chance)
        with Trouble(m, hosts, options.kills,
                     random.Random(options.seed + 1)) as trouble:
            load.bursts(range(options.messages - TRICKLE))
            harness.until("the kills", lambda: trouble.left == 0 or None, 120)
        load.trickle(range(options.messages - TRICKLE, options.messages))
        settle(m, hosts, load.sent)
        print("%d messages, %d kills, seed %d: %.0f s, %d deferred, %d left"
              % (len(load.sent), len(trouble.kills), options.seed,
                 time.monotonic() - begin, len(m.events("send.deferred")),
                 len(m.queued())))
        return list(wrong(m, hosts, load.sent, trouble.kills))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    base = os.path.join(harness.ROOT, "build")
    place.enter([os.path.abspath(__file__), "--seed", str(options.seed),
                 *sys.argv[1:]], base)
    account.Group.run = os.path.basename(os.environ[place.TOP])
    here = place.Place(0)
    with contextlib.ExitStack() as stack:
        hosts = []
        for i, kind in enumerate((LimitedOpenSmtpd, LimitedExim,
                                  NamedPostfix)):
            h = kind(here, "maildir")
            h.port += i
            hosts.append(stack.enter_context(h))
            h.hop_text = "[127.0.0.1]:%d" % h.port
        faults = play(options, hosts)
    for fault in faults[:40]:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
