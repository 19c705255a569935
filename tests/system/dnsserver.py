"""A real DNS server (Knot) with zones of our own, for any test.

    with DnsServer({"example.test": "@ MX 10 mx\\nmx A 127.0.0.1"}) as dns:
        ... dns.address is "127.0.0.1:PORT" ...

Runs as any user on a free port of 127.0.0.1, UDP and TCP.  SOA and NS are
added to a zone that has none; TTL is 60 s, negative TTL 5 s.  Unless it is
among the zones, there is a root zone, empty: unknown names are NXDOMAIN.
Without it (root=False) they are REFUSED.
"""

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

import harness
from harness import DEADLINE, until

KNOTD = shutil.which("knotd") or "/usr/sbin/knotd"
HEAD = """$ORIGIN %(origin)s
$TTL 60
"""
SOA = """@ SOA ns.%(zone)s hostmaster.%(zone)s 1 3600 600 86400 5
@ NS ns.%(zone)s
ns.%(zone)s A 127.0.0.1
"""
CONF = """
server:
    listen: %(host)s@%(port)d
    rundir: "%(dir)s"
    pidfile: "%(dir)s/knot.pid"
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: notice
database:
    storage: "%(dir)s"
template:
  - id: default
    storage: "%(dir)s"
    zonefile-sync: -1
    journal-content: none
    semantic-checks: off
zone:
"""


def free_port(host):
    """A port that is free for TCP and UDP alike, and stays so while the server
    is away: the system gives it to no client."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = harness.free_port(host)
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            try:
                udp.bind((host, port))
            except OSError:
                continue
            return port


def query(host, port, name, qtype=6, timeout=0.2):
    """One UDP question; the response code, or None without an answer."""
    labels = [x.encode() for x in name.split(".") if x]
    packet = struct.pack(">6H", 0x4d54, 0x0100, 1, 0, 0, 0)
    packet += b"".join(bytes([len(x)]) + x for x in labels) + b"\0"
    packet += struct.pack(">2H", qtype, 1)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        try:
            s.connect((host, port))
            s.send(packet)
            answer = s.recv(4096)
        except (socket.timeout, ConnectionRefusedError):
            return None
    return answer[3] & 15 if answer[:2] == packet[:2] else None


class DnsServer:
    def __init__(self, zones, host="127.0.0.1", root=True, port=0):
        self.host, self.root, self.port = host, root, port
        self.fixed = port != 0
        self.process = None
        self.dir = tempfile.mkdtemp(prefix="mta-dns-")
        self.log = os.path.join(self.dir, "log")
        try:
            self.write(zones)
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def address(self):
        host = "[%s]" % self.host if ":" in self.host else self.host
        return "%s:%d" % (host, self.port)

    def write(self, zones):
        """Write the zone files; the server reads them at its next start."""
        self.zones = {z.strip(".").lower(): t for z, t in zones.items()}
        if self.root:
            self.zones.setdefault("", "")
        for zone, text in self.zones.items():
            names = {"origin": zone + ".", "zone": zone + "." if zone else "."}
            if not zone:
                names["zone"] = "root-servers."
            head = HEAD % names
            if not re.search(r"\bSOA\b", text):
                head += SOA % names
            with open(self.zone_file(zone), "w", encoding="utf-8") as f:
                f.write(head + text + "\n")

    def zone_file(self, zone):
        return os.path.join(self.dir, (zone or "root").replace("/", "_")
                            + ".zone")

    def spawn(self):
        if not self.fixed:
            self.port = free_port(self.host)
        conf = os.path.join(self.dir, "knot.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(CONF % {"host": self.host, "port": self.port,
                            "dir": self.dir})
            for zone in self.zones:
                f.write('  - domain: "%s."\n    file: "%s"\n'
                        % (zone, self.zone_file(zone)))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([KNOTD, "-c", conf],
                                            stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)

    def start(self):
        """Start (again, on the port it had) and wait until every zone
        answers."""
        for _ in range(10):
            self.spawn()
            try:
                until("DNS server answers", self.answers, DEADLINE)
                self.fixed = True
                return self
            except ChildProcessError:
                if self.fixed:
                    raise  # nobody else may take a port that was given out
        raise AssertionError("no DNS server: " + self.log_text())

    def answers(self):
        if self.process.poll() is not None:
            self.process = None
            raise ChildProcessError("DNS server ended: " + self.log_text())
        if "failed to load zone" in self.log_text():
            raise AssertionError("mistake in a zone: " + self.log_text())
        return all(query(self.host, self.port, zone) == 0
                   for zone in self.zones)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def pause(self):
        """Keep the port, answer nothing: questions time out."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """End the server; start() brings it back.  Its port is closed."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()  # it has nothing to save
            self.process.wait()
            self.process = None

    def update(self, zones):
        """Serve these zones instead, on the same port."""
        self.stop()
        self.write(zones)
        self.start()

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
