"""Fair turns between senders at a slow host."""

import re
import time

from dnsserver import DnsServer
from harness import until
from peer import Peer

FLOOD = 60


def senders(p):
    """Of the messages that the host has begun to take, in order."""
    return [re.search("FROM:<(\\w+)@", x).group(1)
            for s in p.lines() for x in s if x.startswith("MAIL")]


def test_a_flood_delays_no_other_sender(mta):
    """A host needs half a second a message, and one sender has sixty there:
    another one's letter goes behind what was sent and at most two more."""
    def slow(*_):
        time.sleep(0.6)
        return "250 2.0.0 taken"
    with Peer("127.0.0.1", answers={"DOT": slow}) as p, \
            DnsServer({"x.test": "@ MX 10 a\na A 127.0.0.1"}) as d:
        m = mta("run", {"dns.servers": [d.address], "send.port": p.port})
        with m.smtp() as s:
            for i in range(FLOOD):
                s.sendmail("flood@src.test", ["u@x.test"],
                           b"Subject: n%d\r\n\r\n" % i)
        until("the flood is under way", lambda: len(p.messages) >= 4)
        with m.smtp() as s:
            s.sendmail("other@src.test", ["u@x.test"], b"Subject: x\r\n\r\n")
        sent = len(senders(p))
        until("the other letter", lambda: "other" in senders(p))
        assert senders(p).index("other") <= sent + 2
        assert len(senders(p)) < FLOOD


def test_three_senders_take_turns(mta):
    """Queued before the sender starts, they leave by turns."""
    with Peer("127.0.0.1") as p, \
            DnsServer({"x.test": "@ MX 10 a\na A 127.0.0.1"}) as d:
        m = mta("serve", {"dns.servers": [d.address], "send.port": p.port})
        with m.smtp() as s:
            for who in "aaaabbc":
                s.sendmail(who + "@src.test", ["u@x.test"],
                           b"Subject: x\r\n\r\n")
        m.tool("send", "--drain", "--timeout", "20s")
        assert "".join(senders(p)) == "abcabaa"
