"""Look-ups at name servers that are silent, and those that wait behind them."""

import socket
import threading
import time

import pytest

from dnsserver import DnsServer
from harness import until
from peer import Peer

DEAD = b"\x04dead\x04test\x00"
SILENT = 200
TRY = 5  # seconds that a silent server has for one


class Forwarder:
    """To a name server, but for what is below dead.test: silence."""

    def __init__(self, server):
        self.to = (server.host, server.port)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]
        self.dead = set()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.settimeout(5)
            while True:
                try:
                    query, client = self.sock.recvfrom(4096)
                except OSError:
                    return
                if DEAD in query.lower():
                    self.dead.add(query[12:query.index(DEAD)])
                    continue
                out.sendto(query, self.to)
                self.sock.sendto(out.recv(4096), client)


@pytest.fixture
def dns():
    with DnsServer({"x.test": "@ A 127.0.0.1", "y.test": "@ A 127.0.0.1"}) as d:
        f = Forwarder(d)
        yield f
        f.sock.close()


def submit(c, sender, rcpts):
    for line, code in ([("MAIL FROM:<%s>" % sender, 250)] +
                       [("RCPT TO:<%s>" % r, 250) for r in rcpts] +
                       [("DATA", 354)]):
        assert c.say(line)[0] == code
    c.send(b"Subject: x\r\n\r\nhi\r\n.\r\n")
    assert c.reply()[0] == 250


def in_time(peer, n):
    began = time.monotonic()
    until("delivered", lambda: len(peer.messages) >= n)
    return time.monotonic() - began


@pytest.mark.parametrize("rcpts", [1, SILENT])
def test_silent_zones_hold_up_no_other(mta, dns, rcpts):
    """200 zones, in as many messages or in one; then a message of another
    sender, and one of the same."""
    with Peer() as p:
        m = mta(settings={"dns.servers": [dns.address], "send.port": p.port,
                          "dns.timeout": "%ds" % TRY, "serve.max_recipients": SILENT,
                          "send.retry_min": "1h", "send.retry_max": "1h"})
        until("sender", lambda: m.events("send.start"))
        with m.raw() as c:
            c.say("EHLO client.test")
            zones = ["u@d%d.dead.test" % i for i in range(SILENT)]
            for i in range(0, SILENT, rcpts):
                submit(c, "hog@here.test", zones[i:i + rcpts])
            until("asked", lambda: len(dns.dead) >= 100)
            submit(c, "joe@here.test", ["u@x.test"])
            assert in_time(p, 1) < TRY
            submit(c, "hog@here.test", ["u@y.test"])
            assert in_time(p, 2) < TRY
        until("all asked", lambda: len(dns.dead) == SILENT)
        assert not m.events("send.deferred", to="u@x.test")
