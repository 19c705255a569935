"""What a server has little of: memory for bodies, places for clients."""

import contextlib
import ctypes
import os
import select
import ssl
import subprocess

import pytest

import certs
from harness import MTA, UNDER_VALGRIND, Mta, Raw, tree_of, until
from processes import find, send_one, workers

MIB = 1 << 20
LIMIT = 64 * MIB
CLIENTS, BODY = 300, 200 * 1000
LINE = b"x" * 98
SANITIZED = "/san" in MTA or UNDER_VALGRIND


# --- memory -----------------------------------------------------------------

class Group:
    """A control group (v1 or v2) with a limit of memory, for as long as the
    block lasts.  path is None where none can be made."""

    def __init__(self, limit):
        self.limit, self.path = limit, None

    def __enter__(self):
        for mount, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                            ("/sys/fs/cgroup", "memory.max")):
            path = "%s/mta-test-%d" % (mount, os.getpid())
            with contextlib.suppress(OSError):
                os.mkdir(path)
                try:
                    with open(os.path.join(path, name), "w") as f:
                        f.write("%d" % self.limit)
                    self.path = path
                    return self
                except OSError:
                    os.rmdir(path)
        return self

    def __exit__(self, *_):
        if self.path is not None:
            until("the group is empty", lambda: not self.pids())
            os.rmdir(self.path)

    def pids(self):
        with open(os.path.join(self.path, "cgroup.procs")) as f:
            return f.read().split()

    def enter(self):
        """For the new process itself, before mta begins."""
        with open(os.path.join(self.path, "cgroup.procs"), "w") as f:
            f.write("0")

    def kills(self):
        for name in ("memory.oom_control", "memory.events"):
            with contextlib.suppress(OSError):
                with open(os.path.join(self.path, name)) as f:
                    return sum(int(x.split()[1]) for x in f
                               if x.split()[0] == "oom_kill")
        return 0


def anonymous(pid):
    """Bytes of memory that are of no file."""
    with contextlib.suppress(OSError):
        with open("/proc/%d/status" % pid) as f:
            return sum(int(x.split()[1]) * 1024 for x in f
                       if x.startswith("RssAnon:"))
    return 0


def begin_body(m, i):
    """A client in DATA whose text is there but for the dot; or the reply that
    it got before."""
    c = Raw("127.0.0.1", m.port)
    for line in ("EHLO client.test", "MAIL FROM:<a@client.test>",
                 "RCPT TO:<u%d@here.test>" % (i % 10), "DATA"):
        got = c.say(line)
        if got[0] not in (250, 354):
            return c, got[0]
    c.send(b"Subject: %d\r\n\r\n" % i + (LINE + b"\r\n") * (BODY // 100))
    return c, 0


@pytest.mark.skipif(SANITIZED, reason="they need much memory themselves")
def test_many_bodies_in_little_memory():
    """300 clients with 200 KB each where 64 MiB are all there is: nobody is
    killed, each message is taken or refused for now.  Where no control group
    can be made, the bound is set and the memory of the processes measured."""
    settings = {"serve.max_clients_per_ip": CLIENTS + 10, "serve.workers": 2}
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(Group(LIMIT))
        if group.path is None:
            settings["serve.body_memory"] = "16M"
        m = stack.enter_context(Mta(
            "run", settings, limit=group.enter if group.path else None))
        find(m, "send")
        until("two workers", lambda: len(workers(m)) == 2)
        tree = tree_of(m.process.pid)
        idle = sum(anonymous(p) for p in tree)
        clients = [begin_body(m, i) for i in range(CLIENTS)]
        busy = sum(anonymous(p) for p in tree)
        print("idle %d KiB, busy %d KiB" % (idle >> 10, busy >> 10))
        assert busy - idle < 24 * MIB  # a quarter, and the segments' state
        for c, refused in clients:
            if not refused:
                c.send(b".\r\n")
        codes = [refused or c.reply()[0] for c, refused in clients]
        print({code: codes.count(code) for code in codes})
        assert set(codes) <= {250, 452}
        assert codes.count(250) > CLIENTS / 2
        assert set(tree) <= set(tree_of(m.process.pid))  # nobody was killed
        if group.path is not None:
            assert group.kills() == 0
        until("idle memory goes back",
              lambda: sum(anonymous(p) for p in tree) - idle < 4 * MIB)
        m.settle()
        assert sum(len(m.mailbox("u%d" % i)) for i in range(10)) == \
            codes.count(250)
        for c, _ in clients:
            c.close()


def test_bodies_beyond_the_bound_go_to_disk(mta):
    """One bound for all workers; what finds no memory is stored all the
    same."""
    m = mta("serve", {"serve.body_memory": "1M", "serve.workers": 2})
    clients = [begin_body(m, i) for i in range(12)]
    assert not any(refused for _, refused in clients)

    texts = [f for top, _, names in os.walk(m.queue) for f in names
             if os.path.getsize(os.path.join(top, f)) > BODY // 2]
    assert len(texts) >= 12 - MIB // BODY, texts
    for c, _ in clients:
        c.send(b".\r\n")
    assert [c.reply()[0] for c, _ in clients] == [250] * 12
    m.settle()
    for i in range(10):
        for text in m.mailbox("u%d" % i):
            assert text.endswith(b"\n\n" + (LINE + b"\n") * (BODY // 100))


class Shaking:
    """A client behind STARTTLS that has sent the first part of its handshake,
    and the next when it is told to."""

    def __init__(self, m, context):
        self.raw = m.raw()
        assert self.raw.say("EHLO client.test")[0] == 250
        assert self.raw.say("STARTTLS")[0] == 220
        self.to, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.to, self.out)
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.raw.send(self.out.read())

    def is_answered(self):
        return select.select([self.raw.sock], [], [], 0)[0]

    def do(self, what, *args):
        while True:
            try:
                return what(*args)
            except ssl.SSLWantReadError:
                self.to.write(self.raw.sock.recv(65536))
            finally:
                self.raw.send(self.out.read())

    def hello(self):
        self.do(self.tls.do_handshake)
        self.do(self.tls.write, b"EHLO client.test\r\n")
        text = b""
        while b"250 " not in text:
            text += self.do(self.tls.read, 4096)


@pytest.mark.skipif(SANITIZED, reason="they need much memory themselves")
def test_idle_tls_sessions_are_small(mta):
    """All of them shake hands at the same time, for which each needs much
    more memory than for what follows; others after them need no more."""
    n = 200
    m = mta("serve", {"serve.workers": 1, "serve.extra_commands": ["STARTTLS"],
                      "serve.max_clients_per_ip": 3 * n}, start=False)
    cert, key = certs.make(m.dir, "mx.here.test")
    m.settings.update({"serve.tls_cert": [cert], "serve.tls_key": [key]})
    m.write_conf()
    m.start()
    worker, = workers(m)
    context = ssl._create_unverified_context()
    first = Shaking(m, context)
    first.hello()
    before = anonymous(worker)
    for _ in range(2):
        clients = [Shaking(m, context) for _ in range(n)]
        until("all are half done",
              lambda: all(c.is_answered() for c in clients))
        for c in clients:
            c.hello()
        each = (anonymous(worker) - before) / n / 1024
        print("%.1f KiB each" % each)
        assert each < 24
        for c in clients:
            c.raw.close()
    first.raw.close()


# --- places -----------------------------------------------------------------

def open_clients(m, n, source):
    """Greeted so many times from that address; the code of each greeting."""
    found = []
    for _ in range(n):
        c = Raw("127.0.0.1", m.port, greet=False, source=source)
        found.append((c, c.reply()))
    return found


def codes_of(clients):
    return [got[0] for _, got in clients]


def test_the_last_tenth_is_for_relay_networks(mta):
    m = mta("serve", {"serve.workers": 1, "serve.max_clients": 20,
                      "serve.relay_networks": ["127.0.0.2/32"]})
    m.clients_left()
    strangers = open_clients(m, 19, "127.0.0.1")
    assert codes_of(strangers) == [220] * 18 + [421]
    assert strangers[-1][1][1][0].startswith("4.3.2 ")
    ours = open_clients(m, 3, "127.0.0.2")
    assert codes_of(ours) == [220, 220, 421]
    assert ours[0][0].say("EHLO client.test")[0] == 250
    said = until("two lines", lambda: len(m.events("serve.overload")) == 2
                 and m.events("serve.overload"))
    assert [e["client"] for e in said] == ["127.0.0.1", "127.0.0.2"]
    assert {e["error"] for e in said} == {"too many clients"}
    for c, _ in strangers + ours:
        c.close()


# --- message queues ---------------------------------------------------------

CLONE_NEWIPC = 0x08000000
MSGMNI = "/proc/sys/kernel/msgmni"


def no_queues():
    """For the new process, before mta begins: where it is, there can be no
    message queue."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWIPC) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with open(MSGMNI, "w") as f:
        f.write("0")


def stderr_of(m):
    with open(m.stderr, errors="replace") as f:
        return f.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root")
def test_no_message_queue_left():
    """kernel.msgmni is used up: mail flows, lines go to stderr; later they go
    to the log."""
    with Mta("run", limit=no_queues) as m:
        send_one(m, "early")
        assert b"Subject: x" in m.copies("early")[0]
        until("lines on stderr", lambda: "serve.accepted" in stderr_of(m))
        said = [x for x in stderr_of(m).splitlines() if "log.noqueue" in x]
        # collector, server, delivery and its master, sender
        assert len(said) <= 5, said
        for word in ("kernel.msgmni", "ipcs -q", "ipcrm -q"):
            assert all(word in x for x in said), said
        assert m.events("serve.accepted") == []
        subprocess.run(["nsenter", "-i", "-t", str(m.process.pid), "sh", "-c",
                        "echo 8 > " + MSGMNI], check=True)

        def a_line_in_the_log():
            send_one(m, "late")
            return m.events("serve.accepted")
        until("the log", a_line_in_the_log)
        m.stop()
        assert m.events("log.stop")


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root")
def test_stop_without_a_message_queue():
    with Mta("run", limit=no_queues) as m:
        send_one(m)
        assert m.stop() == 0
        assert "serve.stop" in stderr_of(m)
