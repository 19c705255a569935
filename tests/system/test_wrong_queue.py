"""Mail that settings move from one queue to the other, and notices to senders
of ours."""

import contextlib
import email
import os
import signal

from dnsserver import DnsServer
from harness import free_port, until
from peer import Peer

ZONES = {name: "@ MX 10 a\na A 127.0.0.1" for name in ("new.test", "old.test")}
WAIT = {"send.retry_min": "60s", "send.retry_max": "60s"}


def submit(m, rcpts, sender="a@src.test", body=b"Subject: x\r\n\r\nhi\r\n"):
    with m.smtp() as s:
        return s.sendmail(sender, rcpts, body)


def change(m, domains):
    """Other domains, and all mail is due."""
    m.settings["local.domains"] = domains
    m.stop()
    m.write_conf()
    m.start()
    until("started", lambda: len(m.events("send.start")) == 2
          and len(m.events("deliver.start")) == 2)
    m.kill(signal.SIGUSR1)


def test_a_domain_becomes_ours(mta):
    """Its mail waits for a host that does not answer; the message keeps its
    id, and is in the mailbox once."""
    port = free_port()
    with contextlib.closing(DnsServer(ZONES)) as dns:
        m = mta(settings={"dns.servers": [dns.address], "send.port": port,
                          **WAIT})
        submit(m, ["joe@new.test", "ann@new.test"])
        until("tried", lambda: m.events("send.deferred"))
        [was] = m.queued()
        assert was["queue"] == "remote" and was["part"] == 0
        change(m, ["here.test", "new.test"])
        [text] = m.copies("joe")
        assert len(m.copies("ann")) == 1
        assert b"id " + was["id"].encode() in text
        [step] = m.events("send.expanded")
        assert step["id"] == was["id"] and step["queue"] == "local"
        assert step["slots"] == "2" and step["to"] == "joe@new.test"
        until("nothing is left", lambda: not m.queued())


def test_a_domain_is_ours_no_more(mta):
    """Mail that waits for a mailbox goes to the host."""
    with contextlib.closing(DnsServer(ZONES)) as dns, \
            Peer("127.0.0.1") as peer:
        m = mta(settings={"dns.servers": [dns.address],
                          "send.port": peer.port,
                          "local.domains": ["here.test", "old.test"],
                          **WAIT})
        os.mkfifo(m.mail + "/joe")  # is no mailbox
        submit(m, ["joe@old.test"])
        until("tried", lambda: m.queued()[0]["recipients"][0]["reply"])
        assert m.queued()[0]["queue"] == "local"
        change(m, ["here.test"])
        until("sent", lambda: peer.messages)
        [message] = peer.messages
        assert len(message.rcpts) == 1 and "joe@old.test" in message.rcpts[0]
        [step] = m.events("deliver.expanded")
        assert step["queue"] == "remote"


def test_a_notice_to_one_of_ours(mta):
    """It goes to the queue of mailboxes at once."""
    with contextlib.closing(DnsServer(ZONES)) as dns:
        m = mta(settings={"dns.servers": [dns.address]})
        submit(m, ["joe@nowhere.test"], sender="ann@here.test")
        [text] = m.copies("ann")
        assert email.message_from_bytes(text).get_content_type() == \
            "multipart/report"
        [event] = m.events("send.bounced")
        assert m.events("deliver.delivered", id=event["bounce"])
