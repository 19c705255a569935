"""A worker that was taken over writes what it likes below local/ and remote/,
with checksums that match.  Delivery and sender go on with other mail, tools
show what there is, and nothing is made outside of mailboxes.

tests/fuzz/fuzz_segment.c tries far more of them, one process at a time."""

import json
import os
import random
import struct
import subprocess
import time

import pytest

from dnsserver import DnsServer
from harness import DEADLINE, MTA, UNDER_VALGRIND, until
from peer import Peer
from processes import by_role

SEED = int(os.environ.get("HOSTILE_SEED", time.time()))
LOTS = int(os.environ.get("HOSTILE_SEGMENTS", 5 if UNDER_VALGRIND else 60))
HEADER, SLOT, ALIGN = 4096, 256, 256
SENDER, RCPT, SID, REPLACES, HERE, MAILBOX, TABLES = 1, 2, 3, 6, 7, 8, 9
ORCPT, NOTIFY = 18, 19
USERS = ("joe", "ann", "honest")
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def make_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = make_table()


def crc32c(data):
    crc = 0xffffffff
    for octet in data:
        crc = crc >> 8 ^ TABLE[(crc ^ octet) & 0xff]
    return crc ^ 0xffffffff


# --- docs/spool.md, the other way round -------------------------------------

def field(kind, content=b"", n=None):
    return struct.pack("<BH", kind, len(content) if n is None else n) + content


def envelope(*rcpts, sender=b"evil@client.test", more=b""):
    return field(SENDER, sender) + b"".join(
        field(RCPT, r) if isinstance(r, bytes) else r for r in rcpts) + more


class Record:
    """A right one; what a test wants to be wrong is set by name."""

    def __init__(self, env, body=b"Subject: x\r\n\r\nevil\r\n", nrcpt=1,
                 late=b"", front=0, slots=None, **wrong):
        self.env, self.body, self.late, self.nrcpt = env, body, late, nrcpt
        self.slots = slots if slots is not None else bytes(SLOT * nrcpt)
        self.values = dict(n=0, flags=0, part=0, generation=0, front=front,
                           arrival=int(time.time() * 1e6))
        self.wrong = wrong

    def octets(self, segment, n):
        parts = self.env + self.body + self.late
        size = 256 + SLOT * self.nrcpt + len(parts)
        v = dict(self.values, n=n, base=segment, segment=segment,
                 length=-(-size // ALIGN) * ALIGN, body=len(self.body),
                 envelope=len(self.env), nrcpt=self.nrcpt,
                 late=len(self.late), envelope_crc=crc32c(self.env),
                 body_crc=crc32c(self.body), late_crc=crc32c(self.late))
        v.update((key.rstrip("_"), x) for key, x in self.wrong.items())
        head = struct.pack(
            "<4sIQQIIQQQIIIIIIIIQ", b"\xa7msg", 3, v["length"], v["base"],
            v["n"], v["flags"], v["segment"], v["arrival"], v["body"],
            v["envelope"], v["nrcpt"], v["late"], v["front"], v["generation"],
            v["envelope_crc"], v["body_crc"], v["late_crc"], v["part"])
        head += bytes(252 - len(head))
        whole = head + struct.pack("<I", crc32c(head)) + self.slots + parts
        return whole + bytes(-len(whole) % ALIGN)


def named(segment, data):
    return crc32c(struct.pack("<Q", segment) + data)


def segment_file(segment, records, committed=None, flags=1, children=0,
                 confirmed=None, version=3):
    body = b"".join(r.octets(segment, i) if isinstance(r, Record) else r
                    for i, r in enumerate(records))
    head = struct.pack("<8sIIQQI", b"\x89mtaseg\n", version, HEADER, segment,
                       0, children)
    head += bytes(60 - len(head))
    head += struct.pack("<I", crc32c(head))
    state = struct.pack("<QI", HEADER + len(body) if committed is None
                        else committed, flags)
    head += state + struct.pack("<I", named(segment, state))
    head += bytes(512 - len(head))
    if confirmed is not None:
        word = struct.pack("<Q", confirmed)
        head += word + struct.pack("<I", named(segment, word))
    return head + bytes(HEADER - len(head)) + body


def base_text(n, width=12):
    return "".join(DIGITS[n >> 5 * (width - 1 - i) & 31]
                   for i in range(width))


class Worker:
    """The one that was taken over."""

    def __init__(self, m):
        self.m = m
        self.next = int(time.time() * 1e6) << 8 & ~1

    def name(self, queue):
        self.next += 2
        segment = self.next & (1 << 60) - 1 | (queue == "remote")
        return segment, "%s/%s/%s.seg" % (self.m.queue, queue,
                                          base_text(segment))

    def wake(self, queue):
        fd = os.open("%s/%s/wake" % (self.m.queue, queue),
                     os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, b"s")
        os.close(fd)

    def write(self, queue, records, size=None, **how):
        segment, path = self.name(queue)
        with open(path + ".x", "wb") as f:
            f.write(segment_file(segment, records, **how))
            if size is not None:
                f.truncate(size)
        os.chmod(path + ".x", 0o600)
        os.rename(path + ".x", path)
        self.wake(queue)
        return base_text(segment) + base_text(0, 4)


# --- a system at work -------------------------------------------------------

class World:
    def __init__(self, mta, peer, dns):
        self.m = mta("run", {"dns.servers": [dns.address],
                             "send.port": peer.port}, start=False)
        users = self.m.dir + "/users"
        with open(users, "w") as f:
            f.write("\n".join(USERS) + "\n")
        self.m.settings["local.users"] = "file:" + users
        self.m.write_conf()
        self.peer, self.worker = peer, Worker(self.m)
        self.sent = 0
        self.start()
        self.tree = self.outside()

    def start(self):
        self.m.start()
        self.before = until("all processes", self.all_there)

    def all_there(self):
        found = by_role(self.m.process.pid)
        return found if {"deliver", "send"} <= set(found) and all(
            len(found.get(x, [])) == 2 for x in ("worker", "mailbox")) \
            else None

    def outside(self):
        """All that is there, but for queue, log and users' mailboxes."""
        found = set()
        for where, dirs, files in os.walk(self.m.dir):
            if where == self.m.dir:
                dirs.remove("queue")
            if where == self.m.mail:
                dirs[:] = [d for d in dirs if d not in USERS]
            found |= {os.path.join(where, x) for x in dirs + files}
        return found

    def other_mail_goes_on(self):
        """Here and elsewhere; nothing has died, nothing is anywhere else."""
        self.sent += 1
        subject = b"Subject: honest %d\r\n\r\n" % self.sent
        with self.m.smtp() as s:
            s.sendmail("ann@here.test", ["honest@here.test", "x@far.test"],
                       subject + b"x\r\n")
        until("honest mail here",
              lambda: len(self.m.mailbox("honest")) >= self.sent)
        until("honest mail elsewhere", lambda: sum(
            x.data.count(b"Subject: honest") for x in self.peer.messages) >=
            self.sent, DEADLINE * 4)  # each damaged one costs a session
        assert by_role(self.m.process.pid) == self.before
        assert self.outside() == self.tree
        errors = self.m.errors()
        assert errors == "", errors

    def tools_show(self, ids=()):
        """They end by themselves, with objects as far as they print any."""
        commands = [("list", "--json"), ("list",)]
        for i in ids:
            commands += [("show", i, "--json"), ("show", i), ("cat", i)]
        for args in commands:
            done = subprocess.run([MTA, "queue", *args, "-c", self.m.conf],
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=DEADLINE * 4)
            assert done.returncode == 0 or (args[0] in ("show", "cat") and
                                            0 < done.returncode < 128), \
                (args, done)
            if "--json" in args:
                for line in done.stdout.decode().split("\n")[:-1]:
                    json.loads(line)
            elif args[0] != "cat":
                assert b"\x1b" not in done.stdout and \
                    b"\r" not in done.stdout


@pytest.fixture
def world(mta):
    zones = {"far.test": "@ A 127.0.0.1"}
    with Peer() as peer, DnsServer(zones) as dns:
        yield lambda: World(mta, peer, dns)


def slot(state, **_):
    """Of one recipient, index 0."""
    s = bytearray(SLOT)
    s[0], s[1] = 2, state
    s[136:136 + 120] = b"\x1b[31m\r\n" * 15 + bytes(15)
    crc = crc32c(bytes(4) + bytes(s[:4]) + bytes(s[8:]))
    s[4:8] = struct.pack("<I", crc)
    return bytes(s)


HUGE = 1 << 36
CASES = {
    # mailboxes that are none
    "key with dots": ("local", dict(records=[Record(envelope(
        b"joe@here.test", more=field(MAILBOX, b"../evil")))])),
    "key from the root": ("local", dict(records=[Record(envelope(
        b"joe@here.test", more=field(MAILBOX, b"/tmp/evil")))])),
    "key of dots": ("local", dict(records=[Record(envelope(
        b"joe@here.test", more=field(MAILBOX, b"..")))])),
    "key with a NUL": ("local", dict(records=[Record(envelope(
        b"joe@here.test", more=field(MAILBOX, b"joe\0/../../x")))])),
    "long key": ("local", dict(records=[Record(envelope(
        b"joe@here.test", more=field(MAILBOX, b"x" * 3000)))])),
    "user with dots": ("local", dict(records=[Record(envelope(
        b"\"../evil\"@here.test"))])),
    "domain with dots": ("local", dict(records=[Record(envelope(
        b"joe@../../evil", more=field(HERE)))])),
    # commands and fields inside of addresses
    "recipient with commands": ("remote", dict(records=[Record(envelope(
        b"x@far.test>\r\nDATA\r\nSubject: smuggled\r\n.\r\nRCPT TO:<y@far.test"
    ))])),
    "sender with commands": ("remote", dict(records=[Record(envelope(
        b"x@far.test", sender=b"a@b>\r\nRSET\r\nMAIL FROM:<c@d"))])),
    "parameter with commands": ("remote", dict(records=[Record(envelope(
        b"x@far.test", more=field(ORCPT, b"rfc822;x\r\nQUIT")))])),
    "long recipient": ("remote", dict(records=[Record(envelope(
        b"x" * 3900 + b"@far.test"))])),
    "local sender with lines": ("local", dict(records=[Record(envelope(
        b"joe@here.test", sender=b"a@b\r\nBcc: x"))])),
    # envelopes
    "no sender": ("remote", dict(records=[Record(field(RCPT, b"x@far.test"))]
                                 )),
    "no sender here": ("local", dict(records=[Record(
        field(RCPT, b"joe@here.test"))])),
    "sender behind": ("remote", dict(records=[Record(
        field(RCPT, b"x@far.test") + field(SENDER, b"a@b"))])),
    "no recipient": ("local", dict(records=[Record(field(SENDER, b"a@b"))])),
    "empty": ("local", dict(records=[Record(b"")])),
    "more recipients": ("local", dict(records=[Record(envelope(
        b"joe@here.test", b"ann@here.test"))])),
    "fewer recipients": ("local", dict(records=[Record(envelope(
        b"joe@here.test"), nrcpt=9)])),
    "cut field": ("local", dict(records=[Record(envelope(
        field(RCPT, b"joe@here.test", 60000)))])),
    "tables of no size": ("local", dict(records=[Record(envelope(
        b"x@far.test", more=field(TABLES, b"1")))])),
    "wrong queue": ("local", dict(records=[Record(envelope(
        b"x@far.test"))])),
    "other wrong queue": ("remote", dict(records=[Record(envelope(
        b"joe@here.test"))])),
    # records
    "huge body": ("local", dict(records=[Record(envelope(
        b"joe@here.test"), length=HUGE, body_=HUGE - 1024)],
        size=HEADER + HUGE, committed=HEADER + HUGE)),
    "huge body, open": ("remote", dict(records=[Record(envelope(
        b"x@far.test"), length=HUGE, body_=HUGE - 1024)],
        size=HEADER + HUGE, flags=0)),
    "length of nothing": ("local", dict(records=[Record(envelope(
        b"joe@here.test"), length=0)])),
    "wrong body": ("local", dict(records=[Record(envelope(
        b"joe@here.test"), body_crc=1)])),
    "wrong late fields": ("local", dict(records=[Record(envelope(
        b"joe@here.test"), late=b"X: y\r\n", front=6, late_crc=1)])),
    "front of no field": ("local", dict(records=[Record(envelope(
        b"joe@here.test"), late=b"\0\r\n\r\n.\r\n", front=8)])),
    "copies of a copy": ("local", dict(records=[
        Record(envelope(b"joe@here.test"), generation=g, n=0)
        for g in (0, 1, 2 ** 32 - 1, 7)], flags=3)),
    "child of nothing": ("remote", dict(records=[Record(envelope(
        b"x@far.test", more=field(REPLACES, b"\0\0\xff\xff")), part=1)],
        children=1, confirmed=HEADER)),
    "rows of slots without sense": ("remote", dict(records=[Record(envelope(
        b"x@far.test", more=field(REPLACES, b"\2\0\1\0") + field(
            REPLACES, b"\0\0\0\0") + field(SID, b"x")), part=1)],
        children=1)),
    "number of no id": ("local", dict(records=[Record(envelope(
        b"joe@here.test"), n_=1 << 20)])),
    "child of the last level": ("local", dict(records=[Record(envelope(
        b"x@far.test"), part=0x0001000100010001)], children=1)),
    "all flags": ("local", dict(records=[Record(envelope(
        b"joe@here.test"), flags=0x7fff)])),
    "slot with a terminal's codes": ("remote", dict(records=[Record(envelope(
        b"x@nowhere.test"), slots=slot(4))])),
    # segments
    "committed beyond": ("local", dict(records=[], committed=1 << 60)),
    "committed before": ("remote", dict(records=[Record(envelope(
        b"x@far.test"))], committed=1)),
    "confirmed beyond": ("remote", dict(records=[Record(envelope(
        b"x@far.test"))], children=1, confirmed=2 ** 64 - 1)),
    "octets at the end": ("local", dict(records=[Record(envelope(
        b"joe@here.test")), b"\xa7msg" * 64])),
}


@pytest.mark.memory
def test_each_case(world):
    w = world()
    ids = []
    for name, (queue, how) in CASES.items():
        ids.append(w.worker.write(queue, **how))
    w.other_mail_goes_on()
    w.tools_show(ids)
    for name in ("fifo", "link", "directory"):
        for queue in ("local", "remote"):
            path = w.worker.name(queue)[1]
            if name == "fifo":
                os.mkfifo(path)
            elif name == "link":
                os.symlink(w.m.conf, path)
            else:
                os.mkdir(path)
            w.worker.wake(queue)
    w.other_mail_goes_on()
    w.tools_show()
    assert not any(b"smuggled" in x.data for x in w.peer.messages)
    # a start over all of it
    w.m.kill_all()
    w.start()
    w.other_mail_goes_on()
    w.tools_show(ids)


# --- at random --------------------------------------------------------------

def any_bytes(r, most):
    return bytes(r.getrandbits(8) for _ in range(r.randrange(most)))


def any_record(r):
    """A right one, with a few fields wrong."""
    address = [b"joe@here.test", b"x@far.test", b"ann+y@here.test", b"",
               b"../x@here.test", b"a\r\nb@far.test"]
    n = r.randrange(1, 4)
    more = b"".join(field(r.choice([2, 3, 6, 7, 8, 9, 16, 17, 18, 19, 250]),
                          r.choice(address + [any_bytes(r, 40)]))
                    for _ in range(r.randrange(3)))
    wrong = {}
    for key in ("length", "nrcpt", "body", "envelope", "late", "front",
                "generation", "part", "flags", "body_crc", "segment", "n"):
        if r.random() < 0.06:
            bits = 64 if key in ("length", "body", "part", "segment") else 32
            wrong[key + "_"] = r.getrandbits(r.choice([4, 12, bits]))
    late = r.choice([b"", b"", b"Delivered-To: x@here.test\r\n"])
    return Record(envelope(*[r.choice(address) for _ in range(n)], more=more),
                  nrcpt=n, body=r.choice([b"", b"x\r\n", any_bytes(r, 999)]),
                  late=late, front=len(late), **wrong)


def any_segment(r):
    records = [any_record(r) for _ in range(r.randrange(5))]
    how = dict(records=records, flags=r.choice([0, 1, 1, 1, 3, 7]),
               children=r.choice([0, 0, 1, 2, 77]))
    if r.random() < 0.2:
        how["committed"] = r.getrandbits(r.choice([13, 16, 60]))
    if r.random() < 0.3:
        how["confirmed"] = r.getrandbits(r.choice([13, 16, 60]))
    if r.random() < 0.2:
        how["size"] = r.randrange(20000)
    return how


def test_at_random(world):
    print("HOSTILE_SEED=%d" % SEED)
    r = random.Random(SEED)
    w = world()
    for i in range(LOTS):
        ids = [w.worker.write(r.choice(["local", "remote"]), **any_segment(r))
               for _ in range(4)]
        if i % 10 == 9:
            w.other_mail_goes_on()
            w.tools_show(ids)
    w.m.kill_all()
    w.start()
    w.other_mail_goes_on()
    w.tools_show()
