"""Hosts, good and bad, in one thread: each says what its habit tells it and
keeps a record of every visit, with times."""

import contextlib
import re
import socket
import struct

from table import LOST, Deed, judge

GOOD = {"GREETING": "220 host.test ESMTP", "HELO": "250 host.test",
        "MAIL": "250 2.1.0 ok", "RCPT": "250 2.1.5 ok", "DATA": "354 go",
        "DOT": "250 2.0.0 taken", "BDAT": "250 2.0.0 taken",
        "RSET": "250 2.0.0 ok", "QUIT": "221 2.0.0 bye",
        "NOOP": "250 2.0.0 ok"}
PATH = re.compile(rb"<([^@>]*)@([^>]*)>")
LOUD = ("GREETING", "EHLO", "HELO", "MAIL", "RCPT", "DATA", "DOT", "BDAT")


class Visit:
    """One session, as its host saw it."""

    def __init__(self, start):
        self.start, self.end = start, None
        self.delivered, self.deeds = 0, []
        self.answered = False  # some command of a letter had a reply
        self.mails = []        # (time, token) of each MAIL

    def __repr__(self):
        return "[%s]" % "; ".join(map(repr, self.deeds)) or "[]"


class Conversation:
    def __init__(self, host, sock):
        self.host, self.sock, self.world = host, sock, host.world
        self.visit = Visit(self.world.now())
        host.visits.append(self.visit)
        self.buffer, self.mode, self.wanted = bytearray(), "line", 0
        self.held, self.dead, self.closed = None, False, False
        self.reset()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.world.watch(sock, self.read)
        self.step("GREETING")

    def reset(self):
        self.token, self.taken = None, []
        self.answered_token, self.crooked = None, False

    # --- octets ---

    def read(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.buffer += data
        if self.dead:
            self.look_behind()
        else:
            self.work()

    def close(self):
        if self.closed:
            return
        self.closed = True
        if self.held in ("DOT", "BDAT"):
            self.take(True)  # it has the text, whoever hears that
        if self.visit.end is None:
            self.visit.end = self.world.now()
        self.world.unwatch(self.sock)
        self.sock.close()
        self.host.talks.discard(self)

    def work(self):
        while not (self.held or self.dead or self.closed):
            if self.mode == "line":
                at = self.buffer.find(b"\n")
                if at < 0:
                    return
                line = bytes(self.buffer[:at]).rstrip(b"\r")
                del self.buffer[:at + 1]
                self.command(line)
            elif self.mode == "dot":
                at = self.buffer.find(b"\r\n.\r\n")
                if at < 0:
                    return
                del self.buffer[:at + 5]
                self.mode = "line"
                self.step("DOT", self.token)
            else:
                if len(self.buffer) < self.wanted:
                    return
                del self.buffer[:self.wanted]
                self.mode = "line"
                self.step("BDAT", self.token)

    def look_behind(self):
        """The line is dead: whose commands were on their way?"""
        for local, _ in re.findall(rb"MAIL FROM:<([^@>]*)@([^>]*)>",
                                   bytes(self.buffer)):
            if self.visit.deeds and local.decode() != \
                    self.visit.deeds[-1].token:
                self.visit.deeds[-1].behind.add(local.decode())

    # --- commands ---

    def command(self, line):
        verb = line.split(b" ", 1)[0].split(b":", 1)[0].upper().decode(
            "ascii", "replace")
        path = PATH.search(line)
        if verb == "MAIL":
            token = path[1].decode() if path else ""
            self.visit.mails.append((self.world.now(), token))
            self.reset()
            self.step("MAIL", token)
        elif verb == "RCPT":
            if self.token is None:
                self.say("503 5.5.1 MAIL first")
            else:
                self.step("RCPT", self.token, b"@".join(
                    path.groups()).decode())
        elif verb == "DATA":
            if not self.taken:
                self.say("554 5.5.1 no valid recipients"
                         if self.token is not None else "503 5.5.1 no")
            else:
                self.step("DATA", self.token)
        elif verb == "BDAT" and "CHUNKING" in self.host.extensions:
            self.wanted, self.mode = int(line.split()[1]), "chunk"
            if self.token is not None and self.taken:
                self.early("BDAT")
        elif verb in ("EHLO", "HELO"):
            self.reset()
            self.step(verb)
        else:
            if verb == "RSET":
                self.reset()
            self.say(GOOD.get(verb, "502 5.5.1 what?"))
            if verb == "QUIT":
                self.hang_up()

    def early(self, step):
        """A host that hangs up at BDAT does not read the chunk first."""
        act = self.host.habit.act(self, "BDAT early", self.token, None)
        if act is not None:
            self.mode = "line"
            self.do(step, self.token, None, act)

    def step(self, step, token=None, rcpt=None):
        if step == "BDAT" and not self.taken:
            self.say("554 5.5.1 no valid recipients" if self.token is not None
                     else "503 5.5.1 MAIL first")
            self.reset()
            return
        self.do(step, token, rcpt,
                self.host.habit.act(self, step, token, rcpt))

    def do(self, step, token, rcpt, act):
        """act: None, or ("say", text), ("drop",), ("silence",),
        ("nonsense", text), ("wait", seconds), ("take and drop",)."""
        kind = act[0] if act else "say"
        if kind == "wait":
            self.held = step
            self.world.after(act[1], self.go_on, step, token, rcpt)
            return
        text = act[1] if act and len(act) > 1 else self.good(step)
        if kind == "take and drop":
            self.take(False)
            kind = "drop"
        bad = kind != "say" or text[0] in "45"
        if bad:
            self.deed(step, token, rcpt, text[:3] if kind == "say" else kind,
                      text if kind in ("say", "nonsense") else "")
        if kind == "drop":
            self.hang_up()
        elif kind == "silence":
            self.dead = True
            self.look_behind()
        else:
            self.say(text)
            if step in LOUD[3:]:
                self.visit.answered = True
                self.answered_token = token
            if text.startswith("421"):
                self.hang_up()
            elif not bad:
                self.accept(step, token, rcpt)
            elif step in ("DOT", "BDAT"):
                self.reset()
            else:
                self.crooked |= kind == "nonsense"

    def go_on(self, step, token, rcpt):
        if not (self.closed or self.dead):
            self.held = None
            self.do(step, token, rcpt, None)
            self.work()

    def deed(self, step, token, rcpt, what, text):
        d = Deed(self.world.now(), step, what, text)
        d.token, d.rcpt = token, rcpt
        d.delivered = self.visit.delivered
        d.unanswered = self.answered_token != token
        d.some_taken = bool(self.taken)
        d.chunks_work = self.host.chunks_work
        d.after = any(x.what in LOST for x in self.visit.deeds)
        self.visit.deeds.append(d)
        if token:
            self.host.deeds.append(d)
            self.host.on_deed(d)

    def accept(self, step, token, rcpt):
        if step == "MAIL":
            self.token = token
        elif step == "RCPT":
            self.taken.append(rcpt)
        elif step == "DATA":
            self.mode = "dot"
            self.buffer[:0] = b"\r\n"  # an empty message is its dot alone
        elif step in ("DOT", "BDAT"):
            self.take(True)
            self.host.chunks_work |= step == "BDAT"
            self.reset()

    def take(self, sure):
        """Not sure: the sender cannot know that it was taken."""
        sure = sure and not self.crooked
        self.visit.delivered += sure
        for rcpt in self.taken:
            self.host.taken.append((self.world.now(), self.token, rcpt, sure))

    def good(self, step):
        if step == "EHLO":
            return "\r\n".join("250-" + x for x in ["host.test"] +
                               list(self.host.extensions)) + "\r\n250 OK"
        return GOOD[step]

    def say(self, text):
        try:
            self.sock.sendall(text.encode() + b"\r\n")
        except OSError:
            self.close()

    def hang_up(self):
        """So that what was said arrives: a close with octets unread would be
        a reset, which overtakes replies."""
        self.dead = True
        if self.visit.end is None:
            self.visit.end = self.world.now()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self.look_behind()

    def established(self):
        with contextlib.suppress(OSError):
            return self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO,
                                        1)[0] == 1
        return False


class Host:
    """One address.  It listens, is away ("refuse"), or takes no SYN
    ("black hole")."""

    def __init__(self, world, address, port, habit):
        self.world, self.address, self.port = world, address, port
        self.habit, self.extensions = habit, habit.extensions
        self.visits, self.deeds, self.taken = [], [], []
        self.talks, self.most, self.chunks_work = set(), 0, False
        self.listener, self.filler = None, None
        self.on_deed = lambda d: None
        self.state = "away"

    def key(self):
        return "%s:%d" % (self.address, self.port)

    def listen(self, backlog=64):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((self.address, self.port))
        s.listen(backlog)
        return s

    def be(self, state):
        """"there", "away" or "hole"; conversations under way go on."""
        if self.listener is not None:
            self.world.unwatch(self.listener)
            self.listener.close()
        for f in self.filler or ():
            f.close()
        self.listener = self.filler = None
        self.state = state
        if state == "there":
            self.listener = self.listen()
            self.listener.setblocking(False)
            self.world.watch(self.listener, self.accept)
        elif state == "hole":
            self.listener, self.filler = self.listen(0), []
            for _ in range(2):  # the line of those to be accepted is full
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex((self.address, self.port))
                self.filler.append(s)

    def accept(self):
        with contextlib.suppress(BlockingIOError, ConnectionError):
            sock, _ = self.listener.accept()
            open_now = sum(t.established() for t in self.talks) + 1
            self.most = max(self.most, open_now)
            self.talks.add(Conversation(self, sock))

    def close(self):
        self.be("away")
        for t in list(self.talks):
            with contextlib.suppress(OSError):
                t.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                  struct.pack("ii", 1, 0))
            t.close()


def blames(host, token, rcpt, until):
    """How many attempts the table counts for this recipient, by what the host
    did until then."""
    n = 0
    for d in host.deeds:
        if d.token == token and d.when <= until:
            whose = judge(d)[0]
            n += whose in ("message", "pace") and d.rcpt in (None, rcpt) or \
                whose in ("message", "pace") and d.step == "RCPT" or \
                whose == "recipient" and d.rcpt == rcpt
    return n
