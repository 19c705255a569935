"""A disk that is really full, a file system without inodes, a process without
descriptors: clients are told to come again, nothing that had its 250 is lost,
nobody spins, and all goes on when there is room again."""

import contextlib
import errno
import glob
import hashlib
import os
import re
import resource
import subprocess
import tempfile
import threading
import time

import pytest

from dnsserver import DnsServer
from harness import Mta, Raw, until
from peer import Peer
from processes import find, workers

DISK = "size=200m,nr_inodes=2000"
LARGE = 400000  # octets; not kept in memory


@contextlib.contextmanager
def small_disk(settings=None, options=DISK):
    """An mta all of whose files are on a small file system of their own."""
    m = Mta("run", dict({"serve.workers": 1}, **(settings or {})), start=False)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none",
                           m.dir], stderr=subprocess.PIPE)
    if done.returncode != 0:
        m.cleanup()
        pytest.skip("cannot mount: " + done.stderr.decode().strip())
    m.stderr = m.dir + ".stderr"  # not on that disk
    os.mkdir(m.mail)
    m.write_conf()
    try:
        m.start()
        yield m
        m.stop()
    except BaseException:
        print(m.errors())
        raise
    finally:
        with contextlib.suppress(AssertionError):
            m.stop()
        subprocess.run(["umount", "-l", m.dir], check=True)
        m.cleanup()
        os.unlink(m.stderr)


class Ballast:
    """What fills the disk: bytes, or empty files."""

    def __init__(self, m):
        self.path = os.path.join(m.dir, "ballast")
        self.names = []

    def fill(self):
        with open(self.path, "ab", 0) as f:
            for piece in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        f.write(b"x" * piece)

    def fill_inodes(self):
        try:
            while True:
                name = "%s.%d" % (self.path, len(self.names))
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
                self.names.append(name)
        except OSError as e:
            assert e.errno == errno.ENOSPC

    def drop(self):
        for name in self.names + [self.path]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        self.names = []


def text_of(token, size=1000):
    line = hashlib.sha256(token.encode()).hexdigest()
    return "Subject: %s\r\n\r\n" % token + \
        (line + "\r\n") * (size // len(line) + 1)


def begin(m, rcpts):
    """A client behind its 354, or the code that it got instead."""
    c = m.raw()
    for line in ["EHLO client.test", "MAIL FROM:<a@here.test>"] + \
            ["RCPT TO:<%s>" % r for r in rcpts] + ["DATA"]:
        code = c.say(line)[0]
        if code not in (250, 354):
            c.close()
            return None, code
    return c, 354


def finish(c, token, size=1000):
    with c:
        c.send(text_of(token, size))
        return c.say(".")[0]


def submit(m, token, rcpts, size=1000):
    c, code = begin(m, rcpts)
    return code if c is None else finish(c, token, size)


def delivered(m, user):
    """The tokens in a mailbox, each message whole."""
    found = []
    for raw in m.mailbox(user):
        token = re.search(rb"^Subject: (\S+)$", raw, re.M).group(1).decode()
        whole = text_of(token, LARGE if "large" in token else 1000)
        assert raw.endswith(whole.replace("\r\n", "\n").encode()), token
        found.append(token)
    return found


def queued_tokens(m):
    """Of the messages that are whole in the queue."""
    found = set()
    for path in glob.glob(os.path.join(m.queue, "remote", "*.seg")):
        with open(path, "rb") as f:
            raw = f.read()
        for token in re.findall(rb"\nSubject: (\S+)\r\n", raw):
            token = token.decode()
            size = LARGE if "large" in token else 1000
            if text_of(token, size).encode() in raw:
                found.add(token)
    return found


class Flow(threading.Thread):
    """A client that sends one message after the other; codes and tokens."""

    def __init__(self, m, name, rcpts):
        super().__init__(daemon=True)
        self.m, self.name_, self.rcpts = m, name, rcpts
        self.acked, self.codes, self.over = [], {}, False

    def run(self):
        n = 0
        while not self.over:
            n += 1
            token = "%s-%d" % (self.name_, n)
            size = LARGE if n % 25 == 24 else 1000
            token += "-large" if size == LARGE else ""
            code = submit(self.m, token, self.rcpts, size)
            self.codes[code] = self.codes.get(code, 0) + 1
            time.sleep(0.01)  # its pace: the disk is filled by another
            if code == 250:
                self.acked.append(token)


def seen(flows, code, more=5):
    """Wait until each of them has that answer some more times."""
    before = [f.codes.get(code, 0) for f in flows]
    until("%d for all" % code, lambda: all(
        f.codes.get(code, 0) >= b + more for f, b in zip(flows, before)))


@pytest.mark.parametrize("what", ["fill", "fill_inodes"])
def test_disk_fills_while_mail_flows(what):
    with small_disk({"log.level": "info"}) as m:
        flows = [Flow(m, "local", ["user@here.test"]),
                 Flow(m, "queue", ["u@far.test"])]
        ballast = Ballast(m)
        for f in flows:
            f.start()
        seen(flows, 250)
        getattr(ballast, what)()
        seen(flows, 452)
        ballast.drop()
        seen(flows, 250)
        for f in flows:
            f.over = True
        for f in flows:
            f.join()
            assert set(f.codes) <= {250, 451, 452}, f.codes
        m.empty_local()
        assert set(flows[0].acked) <= set(delivered(m, "user"))
        assert len(m.queued()) >= len(flows[1].acked)
        assert set(flows[1].acked) <= queued_tokens(m)
        # whatever was said while the log's disk was full is there now
        total = sum(len(f.acked) for f in flows)
        until("all lines", lambda: len(m.events("serve.accepted")) >= total)
        until("a refusal", lambda: m.events("serve.reject", code=452))


@pytest.mark.parametrize("size", [1000, LARGE])
@pytest.mark.parametrize("what", ["fill", "fill_inodes"])
def test_disk_is_full_at_the_dot(what, size):
    """A turn that fits into its preallocated segment is stored all the same;
    a mailbox needs room, and a message that finds none waits for it."""
    with small_disk() as m:
        token = "late-large" if size == LARGE else "late"
        assert submit(m, "first", ["user@here.test"]) == 250
        ballast = Ballast(m)
        local, _ = begin(m, ["user@here.test"])
        remote, _ = begin(m, ["u@far.test"])
        getattr(ballast, what)()
        here, code = finish(local, token, size), finish(remote, token, size)
        assert {here, code} <= {250, 451, 452}
        if size < LARGE:
            assert code == 250
        assert delivered(m, "user") == ["first"]
        assert len(m.queued()) == (here == 250) + (code == 250)
        ballast.drop()
        until("room again", lambda: here == 250 or submit(
            m, token, ["user@here.test"], size) == 250)
        m.empty_local()
        assert sorted(delivered(m, "user")) == ["first", token]
        assert os.listdir(os.path.join(m.mail, "user", "tmp")) == []


def test_disk_is_full_for_the_sender():
    """The marks of what was sent have their place since the message came; a
    bounce waits for room, and the message with it."""
    with Peer(answers={"RCPT": lambda s, line: "550 5.1.1 no"
                       if "<no@" in line else "250 ok"}) as mx, \
            DnsServer({"far.test": "@ MX 10 mx\nmx A 127.0.0.1"}) as dns, \
            small_disk({"dns.servers": [dns.address], "send.port": mx.port,
                        "send.retry_min": "1s", "send.retry_max": "1s"}) as m:
        assert submit(m, "before", ["u@far.test"]) == 250
        until("the first", lambda: len(mx.messages) == 1)
        clients = [begin(m, [r])[0] for r in ("u@far.test", "no@far.test")]
        ballast = Ballast(m)
        ballast.fill()
        assert [finish(c, "t%d" % i) for i, c in enumerate(clients)] == \
            [250, 250]
        until("the second", lambda: len(mx.messages) == 2)
        until("refused", lambda: any("<no@" in line for lines in mx.lines()
                                     for line in lines))
        ballast.drop()
        until("the bounce", lambda: len(m.mailbox("a")) == 1, 100)
        until("empty", lambda: m.queued() == [], 100)
        assert len(mx.messages) == 2  # nothing was sent twice


def test_a_small_disk_takes_mail():
    """8 MiB: segments are smaller there.  When it is full, refusal, start and
    check name what is free and what is needed."""
    numbers = re.compile(r"(\d+) KiB free, (\d+) KiB needed")

    def counted(m, event):
        """What the last such event says is free, and needed."""
        events = m.events(event)
        found = events and numbers.search(events[-1]["error"])
        return found and [int(n) for n in found.groups()]

    with small_disk({"serve.workers": 2}, "size=8m,nr_inodes=2000") as m:
        assert m.stop() == 0
        m.log = m.settings["log.file"] = m.dir + ".log"  # not on that disk
        m.write_conf()
        m.start()
        for i in range(5):
            assert submit(m, "small%d" % i, ["user@here.test"]) == 250
        segments = glob.glob(os.path.join(m.queue, "*", "*.seg"))
        assert segments and all(os.path.getsize(p) <= 1 << 20
                                for p in segments)
        check = m.tool("config", "--check")
        assert "is on tmpfs" in check.stderr.decode()
        assert "is on tmpfs" in m.events("queue.disk")[0]["error"]
        ballast = Ballast(m)
        ballast.fill()
        until("refused", lambda: submit(m, "x", ["user@here.test"]) == 452)
        said = m.tool("config", "--check").stderr.decode()
        assert "warning: " in said and numbers.search(said)
        assert m.stop() == 0
        ballast.fill()  # what writers had reserved
        m.start()
        for event in ("serve.full", "queue.disk"):
            # the first refusal may have been at DATA
            free, needed = until(event, lambda e=event: submit(
                m, "x", ["user@here.test"]) == 452 and counted(m, e))
            assert free < needed and 1024 <= needed < 1200
        ballast.drop()
        until("taken", lambda: submit(m, "after", ["user@here.test"]) == 250)
        os.unlink(m.log)


def test_in_the_layer_of_a_container():
    """overlayfs: starts, says what that means, and works."""
    m = Mta("run", start=False)
    layers = {name: tempfile.mkdtemp(prefix="mta-%s-" % name)
              for name in ("lower", "disk")}
    disk = layers["disk"]
    mounted = []

    def mount(*args):
        done = subprocess.run(["mount", *args], stderr=subprocess.PIPE)
        if done.returncode != 0:
            pytest.skip("cannot mount: " + done.stderr.decode().strip())
        mounted.append(args[-1])

    try:
        mount("-t", "tmpfs", "-o", "size=100m", "none", disk)
        for name in ("upper", "work"):
            os.mkdir(os.path.join(disk, name))
        mount("-t", "overlay", "-o", "lowerdir=%s,upperdir=%s/upper,"
              "workdir=%s/work" % (layers["lower"], disk, disk), "none", m.dir)
        m.stderr = m.dir + ".stderr"
        os.mkdir(m.mail)
        m.write_conf()
        m.start()
        users = ["u%d@here.test" % i for i in range(5)]
        assert submit(m, "layered", users) == 250
        m.settle()
        for i in range(5):
            assert delivered(m, "u%d" % i) == ["layered"]
        assert "is on overlayfs" in m.events("queue.disk")[0]["error"]
        assert m.stop() == 0
    finally:
        if m.process is not None:
            m.kill_all()
        for path in reversed(mounted):
            subprocess.run(["umount", "-l", path], check=True)
        m.cleanup()
        for path in layers.values():
            os.rmdir(path)


@pytest.mark.parametrize("end", ["stop", "kill", "container"])
@pytest.mark.parametrize("what", ["fill", "fill_inodes"])
def test_start_on_a_full_disk(what, end):
    """What is in the queue leaves it, which may be what makes room again; new
    mail is put off at MAIL, and taken when there is room."""
    with Peer(answers={"RCPT": "450 4.2.0 later"}) as mx, \
            DnsServer({"far.test": "@ MX 10 mx\nmx A 127.0.0.1"}) as dns, \
            small_disk({"dns.servers": [dns.address], "send.port": mx.port,
                        "send.retry_min": "1s", "send.retry_max": "1s"}) as m:
        assert submit(m, "before", ["u@far.test"]) == 250
        until("a try", lambda: any("RCPT" in line for lines in mx.lines()
                                   for line in lines))
        if end != "kill":
            assert m.stop() == 0
            if end == "container":  # the next one has other IPC objects
                key = os.path.join(m.queue, "run", "log.key")
                with open(key, "r+") as f:
                    first = f.read().split()[0]
                    f.seek(0)
                    f.write(first + " 123456789012345678\n")
        else:
            m.kill_all()
        ballast = Ballast(m)
        getattr(ballast, what)()
        mx.answers.clear()
        m.start()
        until("the message from the queue", lambda: len(mx.messages) == 1)
        if end != "kill":  # what the killed had reserved is room again
            assert submit(m, "during", ["user@here.test"]) == 452
        ballast.drop()
        for rcpt in ("user@here.test", "u@far.test"):
            until("taken", lambda r=rcpt: submit(m, "after", [r]) == 250)
        until("all is sent", lambda: len(mx.messages) == 2)
        m.empty_local()
        assert delivered(m, "user") == ["after"]
        assert "starting it again" not in m.errors()


# --- descriptors ------------------------------------------------------------


def seconds_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        ticks = f.read().rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def limit(pid, spare):
    """No numbers beyond those in use and a few."""
    used = [int(fd) for fd in os.listdir("/proc/%d/fd" % pid)]
    free = next(n for n in range(1024) if len(
        set(range(n)) - set(used)) == spare)
    resource.prlimit(pid, resource.RLIMIT_NOFILE,
                     (free, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))


def unlimit(pid):
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))


def worker_of(m):
    return workers(m)[0]


def greets(m):
    c = Raw("127.0.0.1", m.port, greet=False)
    c.sock.settimeout(0.2)
    try:
        return c if c.reply()[0] == 220 else None
    except OSError:
        c.close()
        return None


def test_no_descriptors_for_clients(mta):
    m = mta("serve", {"serve.workers": 1})
    worker = worker_of(m)
    m.clients_left()
    limit(worker, 3)
    inside = [m.raw() for _ in range(3)]
    outside = Raw("127.0.0.1", m.port, greet=False)
    until("a line about it", lambda: m.events("serve.overload"))
    begin_cpu, begin_at = seconds_of(worker), time.monotonic()
    # those who are in are served meanwhile, though not their mail
    while time.monotonic() < begin_at + 1:
        assert inside[0].say("RSET")[0] == 250
        time.sleep(0.05)  # a client's pace
    assert seconds_of(worker) - begin_cpu < 0.3
    assert inside[0].say("EHLO x")[0] == 250
    assert inside[0].say("MAIL FROM:<a@here.test>")[0] == 250
    assert inside[0].say("RCPT TO:<u@here.test>")[0] == 250
    assert inside[0].say("DATA")[0] == 451
    for c in inside:
        c.close()
    assert outside.reply()[0] == 220  # it has waited in the backlog
    outside.close()
    assert submit(m, "after", ["user@here.test"]) == 250
    assert len(m.events("serve.overload")) == 1
    assert worker_of(m) == worker


def test_no_descriptors_for_the_sender(mta):
    with Peer() as mx, DnsServer(
            {"far.test": "@ MX 10 mx\nmx A 127.0.0.1"}) as dns:
        m = mta("run", {"dns.servers": [dns.address], "send.port": mx.port,
                        "send.retry_min": "1s", "send.retry_max": "1s"})
        assert submit(m, "before", ["u@far.test"]) == 250
        until("the first", lambda: len(mx.messages) == 1)
        sender = find(m, "send")
        until("the session is over", lambda: m.events("send.disconnect"))
        limit(sender, 0)
        assert submit(m, "after", ["u@far.test"]) == 250
        begin_cpu, begin_at = seconds_of(sender), time.monotonic()
        until("a second", lambda: time.monotonic() > begin_at + 1)
        assert seconds_of(sender) - begin_cpu < 0.3
        assert not m.events("send.bounced")
        unlimit(sender)
        until("the second", lambda: len(mx.messages) == 2, 100)
        assert not m.events("send.bounced")
