"""What system tests share: a running mta of their own, and patience.

Every test gets its own directory and free ports, waits by retrying with a
deadline (never by sleeping a fixed time), and ends what it started by pid.
"""

import atexit
import collections
import contextlib
import errno
import functools
import glob
import json
import os
import random
import shutil
import signal
import smtplib
import socket
import struct
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
MTA = os.environ.get("MTA", os.path.join(ROOT, "mta"))
TOOLS = os.environ.get("TOOLS", os.path.join(ROOT, "build", "tools"))
DEADLINE = float(os.environ.get("TEST_DEADLINE", "30"))
UNDER_VALGRIND = "VALGRIND_MTA" in os.environ


def until(what, check, deadline=DEADLINE):
    """Call check() until it returns something true; return that.  Looks come
    less often the longer it takes: they compute, and others have to wait for
    that."""
    begin = time.monotonic()
    _polling.append(what)
    try:
        while True:
            value = check()
            if value:
                return value
            took = time.monotonic() - begin
            if took > deadline:
                raise AssertionError("not within %g s: %s" % (deadline, what))
            time.sleep(min(max(0.005, took / 5), 0.05))
    finally:
        _polling.pop()


_polling = []  # what is looked at again if it is not as wanted


def is_free(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError as e:
            return e.errno == errno.EADDRNOTAVAIL  # no IPv6 here
    return True


def reserve(port):
    """Keep a port from the tests beside us, also while nobody listens there;
    for as long as any test needs it, but not for ever."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        s.bind("\0mta-test-port-%d" % port)
    except OSError:
        s.close()
        return False
    if len(_reserved) == _reserved.maxlen:
        _reserved.popleft().close()
    _reserved.append(s)
    return True


_reserved = collections.deque(maxlen=200)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as s:
            s.bind(("::1", 0))
    except OSError:
        return False
    return True


def free_port(host="127.0.0.1"):
    """A TCP port nobody uses on that address nor on ::1.  It is below those
    that the system gives to clients, so that no connection of another test
    takes it before our server does."""
    while True:
        port = random.randrange(10000, 32000)
        if reserve(port) and is_free(host, port) and is_free("::1", port):
            return port


def connect(host, port, deadline=DEADLINE, source=None):
    """A connected socket, retrying while the server is not there yet."""
    def attempt():
        try:
            return socket.create_connection(
                (host, port), timeout=DEADLINE,
                source_address=(source, 0) if source else None)
        except (ConnectionRefusedError, ConnectionResetError):
            return None
    return until("connect to %s:%d" % (host, port), attempt, deadline)


def is_alive(pid):
    """Does the process run?  A zombie does not."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(x) for x in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def tree_of(pid):
    """pid and all below it, parents first."""
    found = [pid]
    for p in found:
        found += children_of(p)
    return found


def threads_of(pid):
    try:
        return [(pid, int(t)) for t in os.listdir("/proc/%d/task" % pid)]
    except FileNotFoundError:
        return []


def state_of_thread(pid, tid):
    """A letter, as ps shows it; "": it has ended."""
    try:
        with open("/proc/%d/task/%d/stat" % (pid, tid)) as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def send_signal(pid, signo):
    """To a process that may have ended meanwhile, as the children of one that
    is killed do."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signo)


class Raw:
    """SMTP as bytes: says exactly what it is told."""

    def __init__(self, host, port, greet=True, source=None):
        self.sock = connect(host, port, source=source)
        self.file = self.sock.makefile("rb")
        if greet:
            assert self.reply()[0] == 220

    def send(self, data):
        if isinstance(data, str):
            data = data.encode()
        self.sock.sendall(data)

    def reply(self):
        """(code, [lines]) of one reply; (0, []) when the peer closed."""
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                return (0, lines)
            assert line.endswith(b"\r\n"), line
            lines.append(line[4:].decode("utf-8", "replace").rstrip("\r\n"))
            if line[3:4] != b"-":
                return (int(line[:3]), lines)

    def say(self, line):
        self.send(line + "\r\n")
        return self.reply()

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def preloaded(library):
    """What makes a program begin with it; also one built with sanitizers,
    before whose own library it stands then."""
    asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return {"LD_PRELOAD": library, "ASAN_OPTIONS": asan.lstrip(":")}


class Clock:
    """Clocks of an Mta(env=clock.env) that the test moves (timeshift.c)."""

    def __init__(self, speed=1):
        fd, self.path = tempfile.mkstemp(prefix="mta-clock-")
        os.close(fd)
        self.set(0, speed)
        self.env = {"TIMESHIFT_FILE": self.path,
                    **preloaded(os.path.join(TOOLS, "timeshift.so"))}

    def set(self, days, speed=None):
        with open(self.path, "r+b") as f:
            f.write(struct.pack("=q", int(days * 86400 * 1000000)))
            if speed is not None:
                f.write(struct.pack("=q", speed))

    def close(self):
        os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def default_settings(dir, port):
    """Of a test's system, where the test has no others: in its own directory,
    with mailboxes for all, and with waits as short as they can be."""
    return {
        "hostname": "mx.here.test",
        "user": "root" if os.geteuid() == 0 else "",
        "queue_dir": os.path.join(dir, "queue"),
        "log.file": os.path.join(dir, "log"),
        "log.level": "debug",
        "dns.servers": ["127.0.0.1:1"],  # nobody answers there
        "serve.listen": ["127.0.0.1:%d" % port],
        "serve.workers": 2,
        "local.mail_dir": os.path.join(dir, "mail"),
        "local.domains": ["here.test", "localhost"],
        "local.users": "any",
        "local.aliases": "",
        "serve.rdns": "off",
        "send.retry_min": "1s",
        "send.retry_max": "2s",
        "send.session_linger": "1s",
        "stop_timeout": "30s" if UNDER_VALGRIND else "3s",
    }


# Nobody has its key.  The system's 140 authorities take a sender 25 ms to read,
# which is most of its start, and there are thousands of starts here.
AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBlzCCAT2gAwIBAgIUH5ftfk6TnAy5qIvM9mfbKcRo+xYwCgYIKoZIzj0EAwIw
IDEeMBwGA1UEAwwVYW4gYXV0aG9yaXR5IG9mIHRlc3RzMCAXDTI2MTEzMDA5NDE1
NFoYDzIxMjYxMTA2MDk0MTU0WjAgMR4wHAYDVQQDDBVhbiBhdXRob3JpdHkgb2Yg
dGVzdHMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT8iut8dxlLsJZH5Bq/W6PE
03Z5nTUHKB+b8kFFoypib0HwibsvSgDWEnjA77a1X95pLHoC1V9zmOyT7FJnd1mu
o1MwUTAdBgNVHQ4EFgQU3Cuf3NQVuV9VM6yIodjL5KA10LcwHwYDVR0jBBgwFoAU
3Cuf3NQVuV9VM6yIodjL5KA10LcwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQD
AgNIADBFAiEAs6Ltj5udJvvx+mjjmYBoqO13JEejagJSfQZ5wyavGLUCIGihnwKs
HPQrkAJBYJMGCnxtzWupIOhBwoRG3FxlQBLT
-----END CERTIFICATE-----
"""


@functools.lru_cache(None)
def one_authority():
    """A file with the one authority that programs trust here, for all users."""
    fd, path = tempfile.mkstemp(prefix="mta-authority-")
    with open(fd, "w", encoding="ascii") as f:
        f.write(AUTHORITY)
    os.chmod(path, 0o644)
    pid = os.getpid()
    atexit.register(lambda: pid == os.getpid() and os.unlink(path))
    return path


def surroundings():
    return {**os.environ, "SSL_CERT_FILE": one_authority()}


class Mta:
    """`mta run` (or another command) in a directory of its own."""

    def __init__(self, command="run", settings=None, start=True, flags=(),
                 env=None, limit=None):
        """env: more environment; limit: a function run in the new process
        before mta begins."""
        self.dir = tempfile.mkdtemp(prefix="mta-test-")
        self.queue = os.path.join(self.dir, "queue")
        self.mail = os.path.join(self.dir, "mail")
        self.log = os.path.join(self.dir, "log")
        self.conf = os.path.join(self.dir, "mta.conf")
        self.port = free_port()
        self.command, self.flags = command, list(flags)
        self.env, self.limit = {**surroundings(), **(env or {})}, limit
        os.mkdir(self.mail)
        self.settings = default_settings(self.dir, self.port)
        self.settings.update(settings or {})
        self.write_conf()
        self.process, self.renewals = None, 0
        self.stderr = os.path.join(self.dir, "stderr")
        if start:
            self.start()

    def write_conf(self):
        def text(v):
            if isinstance(v, bool):
                return "true" if v else "false"
            if isinstance(v, int):
                return str(v)
            if isinstance(v, (list, tuple)):
                return "[ %s ]" % ", ".join(text(x) for x in v)
            return json.dumps(v, ensure_ascii=False)
        groups = {}
        for key, value in self.settings.items():
            head, _, tail = key.rpartition(".")
            groups.setdefault(head, []).append("%s = %s;" % (tail,
                                                              text(value)))
        with open(self.conf + ".new", "w", encoding="utf-8") as f:
            for head, lines in groups.items():
                body = "\n".join(lines)
                f.write("%s\n" % body if not head
                        else "%s = {\n%s\n};\n" % (head, body))
        os.rename(self.conf + ".new", self.conf)  # it may be read just now

    def renew(self):
        """Another generation of server and sender: SIGHUP with a setting that
        has changed, by a second of an hour."""
        self.renewals += 1
        self.settings["serve.session_timeout"] = 3600 - self.renewals % 600
        self.write_conf()
        self.kill(signal.SIGHUP)

    def start(self, wait=True):
        with open(self.stderr, "ab") as err:
            self.process = subprocess.Popen(
                [MTA, self.command, "-c", self.conf] + self.flags,
                stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                env=self.env, preexec_fn=self.limit)
        if wait and self.command in ("run", "serve"):
            try:
                connect("127.0.0.1", self.port).close()
            except AssertionError:
                raise AssertionError("mta did not start: " + self.errors())
        return self

    def tool(self, *args, check=True, input=None, env=None):
        """Run another mta command with the same configuration."""
        done = subprocess.run([MTA, args[0], *args[1:], "-c", self.conf],
                              env={**surroundings(), **(env or {})},
                              input=input, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=DEADLINE * 4)
        if check and done.returncode != 0:
            raise AssertionError("mta %s: status %d: %s" % (
                " ".join(args), done.returncode, done.stderr.decode()))
        return done

    def errors(self):
        """What it said, but for the warning that tests as root ask for."""
        with open(self.stderr, errors="replace") as f:
            return "".join(line for line in f
                           if 'warning: user is "root"' not in line)

    def lines_waiting(self):
        """How many messages wait for the collector, and who it is."""
        try:
            with open(self.queue + "/run/log.key") as f:
                key = int(f.read().split()[0], 16)
            with open("/proc/sysvipc/msg") as f:
                rows = [x.split() for x in f.readlines()[1:]]
        except (OSError, IndexError, ValueError):
            return 0, 0
        return next(((int(x[4]), int(x[6])) for x in rows
                     if int(x[0]) & 0xffffffff == key), (0, 0))

    def catch_up(self):
        """Let the log have what was done so far: each thread has come to the
        end of its turn, which hands its lines over, and the collector has
        written them.  Not if they are too busy for that, or stopped."""
        end = time.monotonic() + 2
        busy = [t for p in tree_of(self.process.pid) for t in threads_of(p)]
        while time.monotonic() < end:
            busy = [t for t in busy if state_of_thread(*t) in ("R", "D")]
            waiting, collector = self.lines_waiting()
            state = state_of_thread(collector, collector)
            if not busy and (state == "T" or not waiting and
                             state not in ("R", "D")):
                return
            time.sleep(0.001)

    def events(self, name=None, **fields):
        """Lines of the log as dicts; fields must match."""
        if self.process is not None and not _polling:
            self.catch_up()
        found = []
        try:
            with open(self.log, errors="replace") as f:
                lines = f.read().splitlines()
        except FileNotFoundError:
            return found
        for line in lines:
            if name is not None and name not in line:
                continue  # to take it apart is slow
            event = parse_line(line)
            if event and (name is None or event["event"] == name) and \
                    all(event.get(k) == str(v) for k, v in fields.items()):
                found.append(event)
        return found

    def deliveries(self):
        """Lines about copies that are in a mailbox."""
        return self.events("deliver.delivered")

    def queued(self):
        out = self.tool("queue", "list", "--json").stdout.decode()
        return [json.loads(line) for line in out.splitlines()]

    def mailbox(self, user):
        """The messages in a Maildir's new, as bytes, in order of arrival."""
        found = []
        for path in sorted(glob.glob(os.path.join(self.mail, user, "new",
                                                  "*"))):
            with contextlib.suppress(FileNotFoundError):
                with open(path, "rb") as f:
                    found.append(f.read())
        return found

    def untried(self):
        """Messages for users here that delivery has still to try: a 250 says
        that they are in the queue."""
        return [q for q in self.queued() if q["queue"] == "local" and any(
            r["state"] in ("pending", "delivering") and not r["status"]
            for r in q["recipients"])]

    def settle(self):
        """Wait until each mailbox has what it gets now.  Looks twice: between
        two segments a message may be handed over from one to the other."""
        for _ in range(2):
            until("local mail is tried", lambda: not self.untried())
        return self

    def empty_local(self):
        """Wait until all mail for users here is in their mailboxes."""
        until("no local mail is left", lambda: not any(
            q["queue"] == "local" for q in self.queued()))

    def copies(self, user, n=1):
        """What a Maildir holds once n messages are in it, and no more."""
        until("%d in the mailbox of %s" % (n, user),
              lambda: len(self.mailbox(user)) >= n)
        found = self.settle().mailbox(user)
        assert len(found) == n, found
        return found

    def smtp(self, host="127.0.0.1"):
        connect(host, self.port).close()
        return smtplib.SMTP(host, self.port, local_hostname="client.test",
                            timeout=DEADLINE)

    def raw(self, host="127.0.0.1", greet=True):
        return Raw(host, self.port, greet)

    def clients_left(self):
        """Wait until the connections of the start are over; the log has only
        those with a command."""
        before = len(self.events("serve.disconnect"))
        with self.raw() as c:
            c.say("HELO client.test")
        until("clients have left",
              lambda: len(self.events("serve.disconnect")) > before)

    def kill(self, signo):
        self.process.send_signal(signo)

    def stop(self, signo=signal.SIGTERM):
        """End it; returns the exit status."""
        if self.process is None:
            return None
        family = tree_of(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(signo)
        try:
            status = self.process.wait(timeout=DEADLINE * 2)
        except subprocess.TimeoutExpired:
            for pid in family:
                send_signal(pid, signal.SIGKILL)
            raise AssertionError("mta did not stop: " + self.errors())
        until("children gone", lambda: not any(is_alive(p) for p in family))
        self.process = None
        return status

    def kill_all(self):
        """SIGKILL to each of its processes, parents first."""
        family = tree_of(self.process.pid)
        for pid in family:
            send_signal(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        until("all gone", lambda: not any(is_alive(p) for p in family))

    def cleanup(self):
        try:
            if self.process is not None:
                self.stop()
            if os.path.exists(self.stderr):
                said = self.errors()  # of a build with SAN=
                assert "Sanitizer" not in said, said
                assert "runtime error:" not in said, said
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:  # the test failed: show what there is
            print(self.errors())
            if os.path.exists(self.log):
                with open(self.log, errors="replace") as f:
                    print(f.read()[-20000:])
        self.cleanup()


def parse_line(line):
    """A line of the text log: time level event key=value ..."""
    parts = []
    word, quoted, escaped = "", False, False
    for c in line:
        if escaped:
            word, escaped = word + c, False
        elif c == "\\" and quoted:
            escaped = True
        elif c == '"':
            quoted = not quoted
        elif c == " " and not quoted:
            parts.append(word)
            word = ""
        else:
            word += c
    parts.append(word)
    if len(parts) < 3:
        return None
    event = {"time": parts[0], "level": parts[1], "event": parts[2]}
    for p in parts[3:]:
        key, _, value = p.partition("=")
        event[key] = value
    return event
