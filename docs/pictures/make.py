#!/usr/bin/python3
"""Pictures of terminals for the README: real sessions of the built binary,
with hosts and a DNS of our own, written as SVG.

usage: make.py [NAME...]   write docs/pictures/NAME.svg, all without a name
       make.py --check     each picture is there and shown, and no other one

Ids and times are those of the session, so that no two runs are equal; only its
directory and its ports, which are found at random, are replaced by those of a
usual system.  Pictures are made again when the output of a command changes."""

import contextlib
import glob
import html
import os
import pty
import pwd
import re
import shlex
import shutil
import smtplib
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))

from dnsserver import DnsServer  # noqa: E402
from harness import MTA, Mta, connect, free_port, until  # noqa: E402
from peer import Peer  # noqa: E402

COLUMNS = 126

# --- a terminal ---------------------------------------------------------------

TOKEN = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|(\r\n|\n)|(\r)|([^\x1b\r\n]+)")


class Terminal:
    """Lines of (text, style) runs; style is a set of numbers of SGR."""

    def __init__(self):
        self.lines, self.style = [[]], frozenset()

    def put(self, text):
        used = sum(len(run) for run, _ in self.lines[-1])
        while text:
            if used == COLUMNS:
                self.lines.append([])
                used = 0
            part, text = text[:COLUMNS - used], text[COLUMNS - used:]
            self.lines[-1].append((part, self.style))
            used += len(part)

    def select(self, numbers):
        for n in (int(x or 0) for x in numbers.split(";")):
            self.style = frozenset() if n == 0 else self.style | {n}

    def feed(self, text):
        for sgr, letter, newline, back, plain in TOKEN.findall(text):
            if letter == "m":
                self.select(sgr)
            elif newline:
                self.lines.append([])
            elif back or letter == "K":
                self.lines[-1] = []
            elif plain:
                self.put(plain)
        return self

    def type(self, command):
        """What a person typed, in bold, behind a prompt."""
        self.style = frozenset({32})
        self.put("$ ")
        self.style = frozenset({1})
        self.put(command)
        self.style = frozenset()
        self.lines.append([])
        return self


def decoded(fd, data=None, seconds=60):
    """All that comes from the master of a terminal until it is closed; also
    in data, as it comes."""
    data, end = bytearray() if data is None else data, time.monotonic() + seconds
    with contextlib.suppress(OSError):  # EIO: the last process has gone
        while time.monotonic() < end:
            part = os.read(fd, 65536)
            if not part:
                break
            data += part
    return data.decode("utf-8", "replace")


def spawn(argv, **more):
    """A process on a terminal of its own; (process, descriptor)."""
    ours, theirs = pty.openpty()
    with contextlib.suppress(ImportError):
        import fcntl
        import struct
        import termios
        fcntl.ioctl(theirs, termios.TIOCSWINSZ,
                    struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs,
                               stderr=theirs, **more)
    os.close(theirs)
    return process, ours


# --- SVG ------------------------------------------------------------------------

CHAR, LINE, PAD = 7.8, 18, 14
FILL = {31: "#b3261e", 32: "#1a7f37", 33: "#8a5a00", 34: "#0550ae",
        35: "#8250df", 36: "#116a75"}
STYLE = """<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,\
"DejaVu Sans Mono",monospace;fill:#1f2328;white-space:pre}</style>"""


def svg_run(x, y, text, style):
    fill = next((FILL[n] for n in style if n in FILL), None)
    more = ' fill="%s" style="fill:%s"' % (fill, fill) if fill else ""
    if 2 in style:
        more += ' opacity=".65"'
    if 1 in style:
        more += ' font-weight="bold"'
    return '<text x="%g" y="%g" textLength="%g" xml:space="preserve"%s>%s' \
        "</text>" % (x, y, len(text) * CHAR, more, html.escape(text))


def svg(terminal, title):
    lines = terminal.lines
    while lines and not lines[-1]:
        lines.pop()
    width = max(COLUMNS // 2, max(sum(len(t) for t, _ in line)
                                  for line in lines)) * CHAR + 2 * PAD
    height = len(lines) * LINE + 2 * PAD
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" '
           'width="%g" height="%g" role="img">' % (width, height, width,
                                                   height),
           "<title>%s</title>" % html.escape(title), STYLE,
           '<rect x=".5" y=".5" width="%g" height="%g" rx="8" fill="#f6f8fa" '
           'stroke="#d0d7de"/>' % (width - 1, height - 1)]
    for n, line in enumerate(lines):
        x, y = PAD, PAD + n * LINE + 13
        for text, style in line:
            if text.strip():
                lead = len(text) - len(text.lstrip())
                out.append(svg_run(x + lead * CHAR, y, text.strip(), style))
            x += len(text) * CHAR
    return "\n".join(out + ["</svg>", ""])


# --- scenes ---------------------------------------------------------------------

ZONES = {
    "example.com": "@ MX 10 mx\nmx A 192.0.2.7\n"
                   "@ TXT \"v=spf1 mx -all\"\n"
                   "_dmarc TXT \"v=DMARC1; p=quarantine\"",
    "example.net": "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.2\n"
                   "mx2 A 127.0.0.3",
    "example.org": "@ MX 10 mail\nmail A 127.0.0.4",
    "example.edu": "@ MX 10 mail\nmail A 127.0.0.5",
    "2.0.192.in-addr.arpa": "7 PTR mx.example.com.",
}


def mail_from(m, sender, to, subject):
    with smtplib.SMTP("127.0.0.1", m.port, local_hostname="app") as s:
        s.sendmail(sender, to, "From: %s\r\nTo: %s\r\nSubject: %s\r\n\r\n"
                   "Hello.\r\n" % (sender, to[0], subject))


class System:
    """A relay for example.com with mail that waits for several reasons."""

    def __init__(self):
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        self.port = port = free_port("127.0.0.2")
        keep = self.stack.enter_context
        full = {
            "DOT": ["250 2.0.0 Ok: queued as 4bV2mZ"],
            "RCPT": lambda s, line: "452 4.2.2 mailbox is over its quota"
            if "<joe@" in line else "250 2.1.5 Ok"}
        keep(Peer("127.0.0.2", port, answers=full))
        keep(Peer("127.0.0.3", port, answers=full))
        keep(Peer("127.0.0.4", port, answers={
            "RCPT": lambda s, line: "451 4.7.1 Greylisted, come back in 5 "
            "minutes"}))
        dns = keep(DnsServer(ZONES))
        self.m = m = keep(Mta(start=False, settings={
            "hostname": "mx.example.com", "log.level": "info",
            "user": "nobody" if os.getuid() == 0 else "",
            "dns.servers": [dns.address], "send.port": port,
            "local.domains": ["example.com", "localhost"],
            "rewrite.root": "ann@example.com",
            "send.retry_min": "5m", "send.retry_max": "4h"}))
        if os.getuid() == 0:
            os.chmod(m.dir, 0o755)
            os.chown(m.mail, pwd.getpwnam("nobody").pw_uid, -1)
        m.start()
        mail_from(m, "shop@example.com", ["joe@example.net",
                                          "eve@example.net"], "Your order")
        mail_from(m, "news@example.com", ["max@example.org"], "News")
        mail_from(m, "ann@example.com", ["kim@example.edu"], "Lunch")
        until("all have been tried", lambda: m.queued() and all(
            r["reply"] for q in m.queued() for r in q["recipients"]))
        return self

    def __exit__(self, *details):
        return self.stack.__exit__(*details)

    def shows(self, *commands):
        """Commands as a person types them, on a terminal."""
        env = dict(os.environ, MTA_CONFIG=self.m.conf, TERM="xterm",
                   PATH=os.path.dirname(MTA) + ":" + os.environ["PATH"])
        env.pop("NO_COLOR", None)
        t = Terminal()
        for n, command in enumerate(commands):
            if n > 0:
                t.lines.append([])
            process, fd = spawn([MTA] + shlex.split(command)[1:], env=env,
                                cwd=self.m.dir)
            text = decoded(fd)
            os.close(fd)
            process.wait()
            t.type(command).feed(
                text.replace(os.path.join(self.m.dir, "mta.conf"),
                             "/etc/mta/mta.conf")
                .replace(self.m.mail, "/var/mail")
                .replace(self.m.queue, "/var/spool/mta")
                .replace(":%d" % self.port, ":25")
                .replace("port %d" % self.port, "port 25"))
            while not t.lines[-1]:
                t.lines.pop()
            t.lines.append([])
        return t


def first_try():
    """conf/try.sh, which `make run` starts, and the message that it offers;
    as a user without rights where we are root."""
    where = tempfile.mkdtemp(prefix="mta-picture-")
    os.chmod(where, 0o755)
    who = pwd.getpwnam("nobody") if os.getuid() == 0 else None
    shutil.copy(MTA, os.path.join(where, "mta"))
    shutil.copy(os.path.join(ROOT, "conf", "try.sh"), where)
    port = free_port()
    more = {}
    if who:
        os.chown(where, who.pw_uid, who.pw_gid)
        more = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
    process, fd = spawn(["./try.sh"], cwd=where, env=dict(
        os.environ, TRY_PORT=str(port), MTA="./mta"), **more)
    said, before = bytearray(), ""
    reader = threading.Thread(target=decoded, args=(fd, said))
    reader.start()
    try:
        connect("127.0.0.1", port).close()
        name = pwd.getpwuid(who.pw_uid if who else os.getuid()).pw_name
        with open(os.path.join(where, "local", "first.eml"), "rb") as f:
            mail = f.read().replace(b"\n", b"\r\n")
        with smtplib.SMTP("127.0.0.1", port, local_hostname="localhost") as s:
            s.sendmail("first@localhost", [name + "@localhost"], mail)
        until("the first message", lambda: glob.glob(os.path.join(
            where, "local", "mail", name, "new", "*")))
        until("its line in the log", lambda: re.search(
            rb"deliver\.delivered[^\n]*\n", said))
        before = bytes(said).decode()[:bytes(said).rindex(b"\n")]
    finally:
        process.terminate()
        process.wait()
        reader.join()
        os.close(fd)
        shutil.rmtree(where, ignore_errors=True)
    return Terminal().type("make run").feed(
        re.sub(r"\b%s\b" % name, "ann", before.replace(str(port), "2525")))


def story(system):
    """Of the message whose recipients did not fare alike."""
    message = next(q for q in system.m.queued()
                   if q["sender"] == "shop@example.com")
    until("its history", lambda: b"deferred" in system.m.tool(
        "queue", "show", message["id"]).stdout)  # ten times a second
    return system.shows("mta queue show " + message["id"])


PICTURES = {
    "run": ("make run: a system to try, and its first message", None),
    "queue-list": ("mta queue list: what waits, and why",
                   lambda s: s.shows("mta queue list")),
    "queue-show": ("mta queue show: the story of one message", story),
    "route": ("mta route: where an address goes, and what decides",
              lambda s: s.shows("mta route max@example.net",
                                "mta route root@example.com")),
    "check": ("mta check: what keeps mail from coming and going",
              lambda s: s.shows("mta check --address 192.0.2.7")),
}


# --- the program ----------------------------------------------------------------

def path_of(name):
    return os.path.join(HERE, name + ".svg")


def write(name, terminal):
    with open(path_of(name), "w", encoding="utf-8") as f:
        f.write(svg(terminal, PICTURES[name][0]))


def check():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        readme = f.read()
    there = {os.path.basename(p)[:-4] for p in glob.glob(path_of("*"))}
    shown = set(re.findall(r"\(docs/pictures/([\w-]+)\.svg\)", readme))
    faults = ["docs/pictures/%s.svg: make pictures writes it, and it is "
              "missing" % n for n in sorted(set(PICTURES) - there)]
    faults += ["docs/pictures/%s.svg: not in the list of make.py" % n
               for n in sorted(there - set(PICTURES))]
    faults += ["README.md: docs/pictures/%s.svg is not shown" % n
               for n in sorted(set(PICTURES) - shown)]
    faults += ["README.md: docs/pictures/%s.svg is not in the list of make.py"
               % n for n in sorted(shown - set(PICTURES))]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


def main():
    if sys.argv[1:] == ["--check"]:
        return check()
    wanted = sys.argv[1:] or list(PICTURES)
    if "run" in wanted:
        write("run", first_try())
    if wanted != ["run"]:
        with System() as system:
            for name in wanted:
                if PICTURES[name][1] is not None:
                    write(name, PICTURES[name][1](system))
    return 0


if __name__ == "__main__":
    sys.exit(main())
