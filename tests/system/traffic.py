"""Mail that can be counted: clients, a remote host, and the account at the
end.  For tests that kill, stop or disturb a system under load.

Every message has a token and a checksum; every attempt to submit it has a
number.  A client whose attempt got no answer tries again, as real ones do, so
after the end it is known of each copy where it came from:

  lost        an attempt that got its 250 and is not at its destination
  damaged     a copy whose checksum is wrong
  by client   copies of attempts that got no answer (RFC 5321 6.1)
  by sender   copies of one attempt at a remote host, beyond the first: it
              had been taken, but the sender's mark was not in the queue yet
  by server   copies of one attempt in a mailbox here, beyond the first
  torn        what a kill left of a copy in an mbox; it is there once more
"""

import asyncio
import collections
import contextlib
import glob
import hashlib
import os
import random
import re
import smtplib
import threading
import time

from harness import free_port

SIZES = [300, 1000, 4000, 20000, 300000]  # the last goes to a large segment
WEIGHTS = [30, 30, 30, 8, 2]

# Which destinations a message has, and the domain that stands for each.
# "grey" is refused for a while and then taken, so it keeps its segment from
# being removed; "bad" comes back to its sender as a notice; "team" is an alias
# of users here and one elsewhere (ALIASES).
DOMAINS = {"local": "here.test", "remote": "far.test", "grey": "grey.test",
           "bad": "bad.test", "team": "here.test"}
PLAIN = [("local",), ("remote",), ("local", "remote")]
LISTS = [("team",), ("team", "local", "remote")]
ALL = PLAIN + [("grey",), ("bad",), ("local", "grey"),
               ("local", "remote", "grey", "bad")]
NOTICES = "notices"  # the local user who sends it all
HERE = ("team0", "team1", "team2")  # members, and their mailboxes
MEMBERS = HERE + ("teamfar",)
ALIASES = "pair: team1, team2\nteam: team0, pair, team1, teamfar@far.test\n"


def places(where):
    """Where there is a copy of a message with these destinations."""
    return [p for w in where for p in (MEMBERS if w == "team" else (w,))]


def zones(address="127.0.0.1"):
    """For DnsServer: every remote domain has one MX, the Sink."""
    return {DOMAINS[d]: "@ MX 10 mx\nmx A " + address
            for d in ("remote", "grey", "bad")}


def compose(token, attempt, size, chance):
    body = b"%08x" % chance.getrandbits(32) * (size // 8 + 1)
    text = b"".join(body[i:i + 72] + b"\r\n" for i in range(0, size, 72))
    digest = hashlib.sha256(text).hexdigest()
    return ("Subject: %s\r\nX-Attempt: %d\r\nX-Sum: %s\r\n\r\n"
            % (token, attempt, digest)).encode() + text


def field(name, text):
    found = re.search(rb"^%s: (\S+)$" % name, text, re.M)
    return found and found.group(1).decode()


def key_of(text):
    """(token, attempt), from the header of a message or of its notice."""
    token, attempt = field(b"Subject", text), field(b"X-Attempt", text)
    return (token, int(attempt)) if token and attempt else None


def examine(raw):
    """The key of a message as it arrived, or None if it is damaged."""
    raw = raw.replace(b"\r\n", b"\n")
    head, _, body = raw.partition(b"\n\n")
    digest = hashlib.sha256(body.replace(b"\n", b"\r\n")).hexdigest()
    return key_of(head) if field(b"X-Sum", head) == digest else None


class Sink(threading.Thread):
    """The remote host: keeps the keys of what it took."""

    def __init__(self, host="127.0.0.1", port=0, grey_tries=3):
        super().__init__(daemon=True)
        self.host, self.grey_tries = host, grey_tries
        self.port = port or free_port(host)
        self.got = collections.defaultdict(collections.Counter)
        self.tries = collections.Counter()
        self.damaged = 0
        self.ready = threading.Event()

    def run(self):
        asyncio.run(self.main())

    async def main(self):
        server = await asyncio.start_server(self.serve, self.host, self.port,
                                            limit=1 << 20)
        self.ready.set()
        async with server:
            await server.serve_forever()

    async def serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self.dialogue(reader, writer)
        writer.close()

    async def dialogue(self, reader, writer):
        writer.write(b"220 sink.test ESMTP\r\n")
        rcpts = []
        while True:
            line = await reader.readline()
            verb = line[:4].upper()
            if not line or verb == b"QUIT":
                return
            if verb == b"EHLO":
                writer.write(b"250-sink.test\r\n250 PIPELINING\r\n")
            elif verb == b"RCPT":
                writer.write(self.answer(line, rcpts))
            elif verb == b"DATA" and rcpts:
                writer.write(b"354 go\r\n")
                raw = await reader.readuntil(b"\r\n.\r\n")
                self.keep(raw[:-3].replace(b"\r\n..", b"\r\n."), rcpts)
                writer.write(b"250 2.0.0 taken\r\n")
                rcpts = []
            elif verb == b"DATA":
                writer.write(b"554 5.5.1 no valid recipients\r\n")
            else:
                rcpts = []
                writer.write(b"250 2.0.0 ok\r\n")

    def answer(self, line, rcpts):
        address = line.partition(b"<")[2].partition(b">")[0].decode()
        domain = address.rpartition("@")[2]
        if domain == DOMAINS["bad"]:
            return b"550 5.1.1 nobody here\r\n"
        if domain == DOMAINS["grey"]:
            self.tries[address] += 1
            if self.tries[address] <= self.grey_tries:
                return b"451 4.7.1 later\r\n"
        rcpts.append("grey" if domain == DOMAINS["grey"] else
                     "teamfar" if address.startswith("teamfar@") else "remote")
        return b"250 2.1.5 ok\r\n"

    def keep(self, raw, rcpts):
        key = examine(raw)
        if key is None:
            self.damaged += 1
        else:
            for place in rcpts:
                self.got[place][key] += 1


class Client(threading.Thread):
    """Submits one message after the other until it is told: enough."""

    def __init__(self, m, number, seed, mixes=PLAIN, pause=0):
        super().__init__(daemon=True)
        self.m, self.number, self.mixes, self.pause = m, number, mixes, pause
        self.chance = random.Random("%d/%d" % (seed, number))
        self.acked = {}  # token -> (attempt, destinations, id)
        self.tried = collections.Counter()  # token -> attempts
        self.where = {}  # token -> destinations
        self.smtp = None
        self.enough = threading.Event()

    def unknown(self):
        """Attempts without an answer, and the copies they may have made: one
        at each destination."""
        n = {t: k - (t in self.acked) for t, k in self.tried.items()}
        return sum(n.values()), sum(k * len(places(self.where[t]))
                                    for t, k in n.items())

    def connect(self):
        while self.smtp is None and not self.enough.is_set():
            try:
                self.smtp = smtplib.SMTP("127.0.0.1", self.m.port,
                                         local_hostname="client.test",
                                         timeout=60)
                self.smtp.ehlo()
            except (OSError, smtplib.SMTPException):
                self.drop()
                time.sleep(0.02)  # nobody listens yet: killed just now

    def drop(self):
        if self.smtp is not None:
            self.smtp.close()
        self.smtp = None

    def transaction(self, rcpts, raw):
        """The id of the message; raises without a 250."""
        steps = [lambda: self.smtp.mail(NOTICES + "@here.test")]
        steps += [lambda r=r: self.smtp.rcpt(r) for r in rcpts]
        steps.append(lambda: self.smtp.data(raw))
        for step in steps:
            code, words = step()
            if code != 250:
                raise smtplib.SMTPResponseException(code, words)
        return words.split()[-1].decode()

    def submit(self, token, where, size):
        """One attempt.  The addresses say whose they are to the Sink."""
        self.tried[token] += 1
        self.where[token] = where
        attempt = self.tried[token]
        user = {"local": "user%d" % self.chance.randrange(5), "team": "team"}
        rcpts = ["%s@%s" % (user.get(w, "%s-%d" % (token, attempt)),
                            DOMAINS[w]) for w in where]
        try:
            self.acked[token] = (attempt, where, self.transaction(
                rcpts, compose(token, attempt, size, self.chance)))
        except (OSError, smtplib.SMTPException):
            self.drop()

    def run(self):
        serial = 0
        while not self.enough.is_set():
            serial += 1
            token = "c%d-%d" % (self.number, serial)
            where = self.chance.choice(self.mixes)
            size = self.chance.choices(SIZES, WEIGHTS)[0]
            while token not in self.acked and not self.enough.is_set():
                self.connect()
                if self.smtp is not None:
                    self.submit(token, where, size)
            if self.chance.random() < 0.1:
                self.drop()
            if self.pause:
                self.enough.wait(self.chance.random() * self.pause)
        self.drop()


class Account:
    """What became of it all.  The system has stopped, its queue is empty."""

    def __init__(self, m, clients, sink):
        self.damaged, self.torn = sink.damaged, 0
        self.acked = {t: a for c in clients for t, a in c.acked.items()}
        self.unknown, self.unknown_copies = (
            sum(n) for n in zip(*(c.unknown() for c in clients)))
        at = dict(sink.got, **self.mailboxes(m))
        self.lost = [(token, place)
                     for token, (attempt, where, _) in self.acked.items()
                     for place in places(where)
                     if (token, attempt) not in at.get(place, ())]
        self.by = collections.Counter(client=0, sender=0, server=0)
        for place, copies in at.items():
            self.count(place, copies)
        self.unlogged = self.without_line(m)

    def mailboxes(self, m):
        """Copies by place, and notices by what they speak of."""
        at = collections.defaultdict(collections.Counter)
        for user, raw, is_mbox in self.copies(m):
            key = self.key_of_notice(raw) if user == NOTICES else examine(raw)
            if key is None:
                self.torn += is_mbox
                self.damaged += not is_mbox
                continue
            at["bad" if user == NOTICES else user if user in HERE else
               "local"][key] += 1
        return at

    @staticmethod
    def copies(m):
        """(user, message, is it one of an mbox) of all mailboxes."""
        for path in glob.glob(os.path.join(m.mail, "*", "new", "*")):
            with open(path, "rb") as f:
                yield path.split(os.sep)[-3], f.read(), False
        for path in filter(os.path.isfile, glob.glob(m.mail + "/*")):
            with open(path, "rb") as f:
                parts = (b"\n" + f.read()[:-1]).split(b"\nFrom ")[1:]
            for part in parts:
                yield os.path.basename(path), part.partition(b"\n")[2], True

    @staticmethod
    def key_of_notice(raw):
        """The header of what bounced is the last part of its notice."""
        return key_of(raw[raw.rfind(b"message/rfc822"):] if
                      b"message/rfc822" in raw else
                      raw[raw.rfind(b"text/rfc822-headers"):])

    def count(self, place, copies):
        maker = "server" if place in ("local", *HERE) else "sender"
        for (token, attempt), n in copies.items():
            self.by[maker] += n - 1
            if token not in self.acked or self.acked[token][0] != attempt:
                self.by["client"] += 1

    def without_line(self, m):
        """Accepted messages that the log does not know.  Processes whose
        supervisor and collector were both killed say their last on stderr."""
        with open(m.log, errors="replace") as f:
            text = f.read() + m.errors()
        seen = set(re.findall(r" serve\.accepted .*?\bid=(\S+)", text))
        return [x for _, _, x in self.acked.values() if x not in seen]

    def __str__(self):
        return ("%d messages acknowledged, %d attempts without an answer\n"
                "lost %d, damaged %d, without a line in the log %d; "
                "duplicates: by client %d, by sender %d, by server %d" % (
                    len(self.acked), self.unknown, len(self.lost),
                    self.damaged, len(self.unlogged), self.by["client"],
                    self.by["sender"], self.by["server"]))
