"""The world of a liveness run: its time, its sockets, its name server.

One thread does all that is not the program: it serves the hosts and the name
server, submits mail, and moves the clock.  While anything happens, time passes
at an eighth of its speed, so that the load of the machine is no wait of the
program's.  When all threads of the program wait, no socket has anything for us,
and nothing of ours is due, the clock leaps to the first moment at which
something is (leap.c).  So hours of retries take a minute, and a wait that is
measured is the program's own.
"""

import contextlib
import heapq
import itertools
import mmap
import os
import selectors
import socket
import struct
import tempfile
import time

import harness

SLOT = struct.Struct("=qqq")
HEAD = struct.Struct("=qqqq")
SLOTS = 4095
SLOWER = 8  # as in leap.c
FOREVER = 2**63 - 1


def now_mono():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


class Time:
    """The clocks of the program; seconds since the epoch."""

    def __init__(self, library):
        fd, self.path = tempfile.mkstemp(prefix="mta-leap-")
        os.ftruncate(fd, HEAD.size + SLOT.size * SLOTS)
        self.map = mmap.mmap(fd, 0)
        os.close(fd)
        self.env = {"LEAP_FILE": self.path, **harness.preloaded(library)}
        self.offset, self.leaps = 0, 0
        self.began, wall = now_mono(), time.time_ns() // 1000
        self.wall = wall - self.began
        HEAD.pack_into(self.map, 0, 0, 0, self.began, wall)

    def mono(self):
        return self.began + (now_mono() - self.began) // SLOWER + self.offset

    def now(self):
        return (self.mono() + self.wall) / 1e6

    def leap_to(self, mono):
        step = int(mono) - self.mono()
        if step > 0:
            self.offset += step
            self.leaps += 1
            self.map[:8] = struct.pack("=q", self.offset)

    def waits(self):
        """(pid, until, how often) of each thread that has ever waited; until
        0: it runs."""
        n = min(HEAD.unpack_from(self.map, 0)[1], SLOTS)
        return [SLOT.unpack_from(self.map, HEAD.size + i * SLOT.size)
                for i in range(n)]

    def close(self):
        os.unlink(self.path)


class Program:
    """The processes of an Mta: do they all wait?"""

    def __init__(self, m):
        self.m, self.pids = m, []

    def look_again(self):
        self.pids = harness.tree_of(self.m.process.pid) \
            if self.m.process is not None else []

    def sleeps(self):
        try:
            return all(self.thread_sleeps(p, t) for p in self.pids
                       for t in os.listdir("/proc/%d/task" % p))
        except (FileNotFoundError, ProcessLookupError):
            self.look_again()
            return False

    @staticmethod
    def thread_sleeps(pid, tid):
        with open("/proc/%d/task/%s/stat" % (pid, tid), "rb") as f:
            return f.read().rsplit(b")", 1)[1].split()[0] == b"S"


class World:
    def __init__(self, library):
        self.time = Time(library)
        self.selector = selectors.DefaultSelector()
        self.timers, self.serial = [], itertools.count()
        self.program = None

    def now(self):
        return self.time.now()

    def at(self, when, call, *args):
        heapq.heappush(self.timers, (when, next(self.serial), call, args))

    def after(self, seconds, call, *args):
        self.at(self.now() + seconds, call, *args)

    def watch(self, sock, call):
        self.selector.register(sock, selectors.EVENT_READ, call)

    def unwatch(self, sock):
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(sock)

    def serve(self, patience):
        """What sockets have for us; False: nothing within that time."""
        found = self.selector.select(patience)
        for key, _ in found:
            if self.selector.get_map().get(key.fileobj) is key:
                key.data()
        return bool(found)

    def call_due(self):
        called = False
        while self.timers and self.timers[0][0] <= self.now():
            _, _, call, args = heapq.heappop(self.timers)
            call(*args)
            called = True
        return called

    def next_moment(self):
        """When the program, or we, have something to do; None: it does not
        wait, or has not yet seen that its wait is over."""
        now, moments = self.time.mono(), []
        if not self.program.sleeps():
            return None
        for pid, until, _ in self.time.waits():
            if pid not in self.program.pids:
                continue
            if until <= now:
                return None
            if until != FOREVER:
                moments.append(until)
        if self.timers:
            moments.append(self.timers[0][0] * 1e6 - self.time.wall)
        return min(moments, default=None)

    def waited(self):
        """How often any thread of the program has begun to wait."""
        return sum(n for _, _, n in self.time.waits())

    def run_until(self, end, most, patience):
        """Live until then, in the program's time; False: it began to wait more
        than so many times, because there is always something to do, or never
        waited for so many real seconds."""
        self.at(end, lambda: None)
        self.program.look_again()
        quiet, give_up = 0, time.monotonic() + patience
        for turn in itertools.count():
            if self.now() >= end:
                return True
            if turn % 256 == 0:
                self.program.look_again()  # one that had not started yet
                if self.waited() > most or time.monotonic() > give_up:
                    return False
            if self.serve(0) or self.call_due():
                quiet = 0
                continue
            moment = self.next_moment()
            if moment is None or self.serve(0):
                quiet = 0
            elif quiet < 1:
                quiet += 1  # two looks, for a thread between two waits
            else:
                quiet = 0
                self.time.leap_to(moment)
            time.sleep(0.0002)

    def close(self):
        self.selector.close()
        self.time.close()


# --- DNS --------------------------------------------------------------------

A, MX, AAAA = 1, 15, 28
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


def name(text):
    return b"".join(bytes([len(x)]) + x.encode()
                    for x in text.split(".") if x) + b"\0"


class Zone:
    """MX records as (preference, host), addresses of the hosts, and how its
    server answers: "ok", "servfail", "silent" or a number of seconds."""

    def __init__(self, mx, addresses):
        self.mx, self.addresses, self.manner = mx, addresses, "ok"
        self.asked, self.answered = [], []


class NameServer:
    def __init__(self, world):
        self.world, self.zones = world, {}
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]
        world.watch(self.sock, self.read)

    def read(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                data, peer = self.sock.recvfrom(4096)
                self.question(data, peer)

    def question(self, data, peer):
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode().lower())
            at += data[at] + 1
        qtype = struct.unpack_from(">H", data, at + 1)[0]
        asked, text = data[12:at + 5], ".".join(labels)
        zone = self.zone_of(labels)
        manner = zone.manner if zone else "ok"
        if zone:
            zone.asked.append(self.world.now())
        if manner == "silent":
            return
        delay = manner if isinstance(manner, (int, float)) else 0
        code = SERVFAIL if manner == "servfail" else \
            NOERROR if zone else NXDOMAIN
        reply = self.reply(data[:2], asked, code, [] if code else
                           self.records(zone, text, qtype))
        if delay:
            self.world.after(delay, self.send, reply, peer, zone)
        else:
            self.send(reply, peer, zone)

    def send(self, reply, peer, zone):
        if zone:
            zone.answered.append(self.world.now())
        with contextlib.suppress(OSError):
            self.sock.sendto(reply, peer)

    def zone_of(self, labels):
        for i in range(len(labels)):
            found = self.zones.get(".".join(labels[i:]))
            if found:
                return found
        return None

    @staticmethod
    def records(zone, text, qtype):
        domain = text in zone.addresses
        if qtype == MX and not domain:
            return [(MX, struct.pack(">H", p) + name(h)) for p, h in zone.mx]
        if qtype == A and domain:
            return [(A, socket.inet_aton(a)) for a in zone.addresses[text]]
        return []

    @staticmethod
    def reply(ident, asked, code, records):
        out = ident + struct.pack(">5H", 0x8180 | code, 1, len(records), 0, 0)
        out += asked
        for rtype, data in records:
            out += struct.pack(">HHHIH", 0xc00c, rtype, 1, 600,
                               len(data)) + data
        return out
