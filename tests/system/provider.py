"""Scripted large receivers, with the manners for which they are known.

Each has several addresses and is one site: it counts a client's connections
and mail over all of them, whatever domain they are for.

    with Outlook(["127.0.0.11", "127.0.0.12"], limit=1) as site:
        ... site.port, site.messages(), site.refused ...
"""

import subprocess
import threading
import time

import dkim

from harness import free_port
from peer import Peer, established


class Site:
    """Hosts with one memory."""

    extensions = ("PIPELINING", "8BITMIME", "SIZE 100000000",
                  "ENHANCEDSTATUSCODES", "CHUNKING")

    def __init__(self, hosts, port=None, tls=None):
        self.lock = threading.Lock()
        self.refused = []  # (when, reply)
        self.seen = []     # (when, verb) of greetings and MAIL
        self.peers = []
        self.port = port or free_port(hosts[0])
        for host in hosts:
            self.peers.append(Peer(
                host, self.port, extensions=self.extensions, tls=tls,
                answers={v: self.by(v) for v in ("GREETING", "MAIL", "RCPT",
                                                 "DATA", "DOT", "BDAT")}))

    def by(self, verb):
        def reply(session, line):
            if verb == "RCPT" and session.sender is None:
                return "503 5.5.1 no MAIL"
            with self.lock:
                self.seen.append((time.monotonic(), verb))
            text = self.judge(verb, session, line)
            if text is not None:
                with self.lock:
                    self.refused.append((time.monotonic(), text))
            return text or session.peer.default(verb, session)
        return reply

    def judge(self, verb, session, line):
        """A refusal, or None."""

    def open(self):
        """Connections now, of all hosts."""
        return sum(established(s) for p in self.peers for s in list(p.open))

    def messages(self):
        return [m for p in self.peers for m in list(p.messages)]

    def close(self):
        for p in self.peers:
            p.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Outlook(Site):
    """So many connections of a client at once, over all domains that it hosts
    (421 4.3.2).  A client that does not slow down is put on a list (S3150)."""

    TOO_MANY = ("421 4.3.2 The maximum number of concurrent server "
                "connections has exceeded a limit, closing transmission "
                "channel")
    LISTED = ("550 5.7.1 Unfortunately, messages from [192.0.2.25] weren't "
              "sent. Please contact your Internet service provider since part "
              "of their network is on our block list (S3150). You can also "
              "refer your provider to http://mail.live.com/mail/"
              "troubleshooting.aspx#errors.")

    def __init__(self, hosts, limit=1, patience=10, **more):
        self.limit, self.patience = limit, patience
        self.most, self.listed = 0, False
        super().__init__(hosts, **more)

    def judge(self, verb, session, line):
        if verb == "MAIL" and self.listed:
            return self.LISTED
        if verb != "GREETING":
            return None
        n = self.open()
        if n > self.limit:
            self.listed |= len(self.refused) >= self.patience
            return self.TOO_MANY
        self.most = max(self.most, n)
        return None


class Gmail(Site):
    """So many messages in so many seconds; then 421 4.7.28 until there is
    room.  in_clear: what it says to mail without TLS."""

    NO_TLS = ["530 5.7.0 Must issue a STARTTLS command first. - gsmtp",
              "421 4.7.0 TLS required for RCPT domain, closing connection. "
              "- gsmtp"]

    FAST = ("421-4.7.28 Gmail has detected an unusual rate of unsolicited "
            "email originating\r\n421-4.7.28 from your SPF domain. To protect "
            "our users from spam, email\r\n421 4.7.28 sent from your domain "
            "has been temporarily rate limited.")
    UNAUTHENTICATED = (
        "550-5.7.26 This mail has been blocked because the sender is "
        "unauthenticated.\r\n550-5.7.26 Gmail requires all senders to "
        "authenticate with either SPF or DKIM.\r\n550-5.7.26 \r\n"
        "550-5.7.26  Authentication results:\r\n550-5.7.26  DKIM = did not "
        "pass\r\n550 5.7.26  SPF [src.test] = did not pass - gsmtp")

    def __init__(self, hosts, messages=10**9, seconds=1, in_clear=None,
                 **more):
        self.many, self.seconds = messages, seconds
        self.in_clear = in_clear
        super().__init__(hosts, **more)

    def judge(self, verb, session, line):
        if verb in ("DOT", "BDAT") and b"DKIM-Signature:" not in line and \
                "unsigned" in (session.sender or ""):
            return self.UNAUTHENTICATED
        if verb != "MAIL":
            return None
        if self.in_clear and not session.tls:
            return self.in_clear
        now = time.monotonic()
        with self.lock:
            recent = [t for t, v in self.seen
                      if v == "MAIL" and t > now - self.seconds]
        return self.FAST if len(recent) > self.many else None


class StrictGmail(Gmail):
    """Looks at the end of each text whether the address of the client has a
    name that leads back to it, then whether a signature is good.  names: the
    address of a name server; keys: records of DKIM."""

    NO_PTR = ("421-4.7.25 The IP address sending this message does not have a "
              "PTR record setup,\r\n421-4.7.25 or the corresponding forward "
              "DNS entry does not match the sending IP.\r\n421 4.7.25 As a "
              "policy, Gmail does not accept messages from IPs with missing "
              "PTR records. - gsmtp")
    UNSIGNED = ("421-4.7.26 This mail has been rate limited because it is "
                "unauthenticated. Gmail\r\n421 4.7.26 requires all senders to "
                "authenticate with either SPF or DKIM. - gsmtp")

    def __init__(self, hosts, names, keys, **more):
        self.names, self.keys = names, keys
        super().__init__(hosts, **more)

    def ask(self, *question):
        host, port = self.names.split(":")
        return subprocess.run(
            ["kdig", "@" + host, "-p", port, "+short", *question], check=True,
            stdout=subprocess.PIPE, text=True).stdout.split()

    def judge(self, verb, session, line):
        if verb not in ("DOT", "BDAT"):
            return None
        client = session.sock.getpeername()[0]
        if not any(client in self.ask(name, "A")
                   for name in self.ask("-x", client)):
            return self.NO_PTR
        if not dkim.verify(line, dnsfunc=self.keys.txt):
            return self.UNSIGNED
        return None


class Yahoo(Site):
    """[TSS04] to all that connect, for so many seconds from the first."""

    TSS04 = ("421 4.7.0 [TSS04] Messages from 192.0.2.25 temporarily deferred "
             "due to unexpected volume or user complaints - 4.16.55.1; see "
             "https://postmaster.yahooinc.com/error-codes")

    def __init__(self, hosts, seconds, **more):
        self.seconds, self.first = seconds, None
        super().__init__(hosts, **more)

    def judge(self, verb, session, line):
        if verb != "GREETING":
            return None
        now = time.monotonic()
        self.first = self.first or now
        return self.TSS04 if now < self.first + self.seconds else None
