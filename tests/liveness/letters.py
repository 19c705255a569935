"""Letters of a run, and how they are submitted."""

import harness


class Letter:
    def __init__(self, token, rcpts, sender=None, size=300):
        self.token, self.rcpts, self.size = token, rcpts, size
        self.sender = sender or token
        self.arrival = self.id = None
        self.slack = 0  # seconds beyond what the table allows

    def text(self):
        line = b"x" * 70 + b"\r\n"
        return b"Subject: %s\r\n\r\n" % self.token.encode() + \
            line * (self.size // 72 + 1) + b".\r\n"


class Client:
    """Submits at once; a connection for a batch."""

    def __init__(self, m, world):
        self.m, self.world, self.raw = m, world, None

    def submit(self, letter):
        if self.raw is None:
            self.raw = self.m.raw()
            self.raw.say("EHLO client.test")
        commands = ["MAIL FROM:<%s@here.test>" % letter.sender]
        commands += ["RCPT TO:<%s>" % r for r in letter.rcpts] + ["DATA"]
        self.raw.send("\r\n".join(commands) + "\r\n")
        codes = [self.raw.reply()[0] for _ in commands]
        assert codes == [250] * (len(commands) - 1) + [354], codes
        self.raw.send(letter.text())
        code, lines = self.raw.reply()
        assert code == 250, (code, lines)
        letter.id = lines[-1].split()[-1]
        letter.arrival = self.world.now()

    def rest(self):
        if self.raw is not None:
            self.raw.close()
        self.raw = None


def sender_pid(m):
    """The child of the supervisor that has threads; None: just now none."""
    for p in harness.children_of(m.process.pid):
        if len(harness.children_of(p)) == 0:
            try:
                with open("/proc/%d/status" % p) as f:
                    if "Threads:\t1\n" not in f.read():
                        return p
            except FileNotFoundError:
                pass
    return None
