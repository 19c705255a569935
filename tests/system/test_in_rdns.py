"""Reverse DNS of clients (R16): off, warn, require; the answers of a real
name server; clients at 127.0.0.2 ... 127.0.0.10 and ::1."""

import re
import select
import socket
import threading
import time

import pytest

from dnsserver import DnsServer
from harness import DEADLINE, Mta, Raw, until

V6 = "1" + ".0" * 31  # ::1 below ip6.arpa
ZONES = {
    "127.in-addr.arpa": """
2.0.0 PTR good.client.test.
3.0.0 PTR elsewhere.client.test.
5.0.0 PTR nowhere.client.test.
6.0.0 PTR wrong.client.test.
6.0.0 PTR second.client.test.
7.0.0 CNAME 7.classless.0.0
7.classless.0.0 PTR classless.client.test.
8.0.0 PTR alias.client.test.
9.0.0 PTR bad\\032name\\(x\\)\\[.client.test.
10.0.0 PTR GooD.Client.TEST.
""",
    "ip6.arpa": V6 + " PTR six.client.test.",
    "client.test": """
good A 127.0.0.2
good A 127.0.0.10
elsewhere A 127.0.0.99
wrong A 127.0.0.2
second A 127.0.0.77
second A 127.0.0.6
second AAAA ::2
classless A 127.0.0.7
alias CNAME aliased
aliased A 127.0.0.8
six AAAA ::1
six A 127.0.0.1
""",
}
# client, status in the log, confirmed name
CLIENTS = [
    ("127.0.0.2", "ok", "good.client.test"),
    ("127.0.0.3", "mismatch", None),
    ("127.0.0.4", "no_ptr", None),
    ("127.0.0.5", "mismatch", None),
    ("127.0.0.6", "ok", "second.client.test"),
    ("127.0.0.7", "ok", "classless.client.test"),
    ("127.0.0.8", "ok", "alias.client.test"),
    ("127.0.0.9", None, None),
    ("127.0.0.10", "ok", "good.client.test"),
    ("::1", "ok", "six.client.test"),
]


class From(Raw):
    """A client at an address of its own."""

    def __init__(self, address, port):
        host = "::1" if ":" in address else "127.0.0.1"
        self.sock = until("connect", lambda: self.dial(host, port, address))
        self.file = self.sock.makefile("rb")
        assert self.reply()[0] == 220

    @staticmethod
    def dial(host, port, address):
        try:
            return socket.create_connection((host, port), DEADLINE,
                                            (address, 0))
        except ConnectionRefusedError:
            return None


@pytest.fixture(scope="module")
def dns():
    with DnsServer(ZONES) as d:
        yield d


def system(dns, mode, **more):
    settings = {"serve.rdns": mode, "dns.servers": [dns.address],
                "serve.relay_networks": ["192.0.2.0/24"]}
    settings.update({k.replace("__", "."): v for k, v in more.items()})
    m = Mta("serve", settings, start=False)
    m.settings["serve.listen"] = ["127.0.0.1:%d" % m.port,
                                  "[::1]:%d" % m.port]
    m.write_conf()
    return m.start()


@pytest.fixture(scope="module", params=["off", "warn", "require"])
def server(request, dns):
    with system(dns, request.param) as m:
        yield m


def rcpt(m, address, user="ann"):
    """The answer to RCPT, or else to the dot, and the time it took."""
    start = time.monotonic()
    with From(address, m.port) as c:
        c.say("EHLO client.test")
        assert c.say("MAIL FROM:<a@client.test>")[0] == 250
        got = c.say("RCPT TO:<%s@here.test>" % user)
        if got[0] == 250:
            assert c.say("DATA")[0] == 354
            got = c.say("Subject: x\r\n\r\nx\r\n.")
    return got[0], got[1][0].split()[0], time.monotonic() - start


def box_name(m, address):
    return "u" + re.sub(r"\W", "x", address) + m.settings["serve.rdns"]


def received_name(m, user):
    """What stands in front of the address in Received."""
    (copy,) = m.copies(user)
    field = re.search(rb"(?m)^Received: (?:[^\n]|\n[ \t])*", copy)[0]
    return re.search(rb"\((\S+)\s+\[", field)[1].decode()


@pytest.mark.parametrize("address,status,name", CLIENTS,
                         ids=[c[0] for c in CLIENTS])
def test_client(server, address, status, name):
    mode = server.settings["serve.rdns"]
    user = box_name(server, address)
    code, enhanced, _ = rcpt(server, address, user)
    if mode == "require" and name is None:
        assert (code, enhanced) == (550, "5.7.25")
        assert server.copies(user, 0) == []
        return
    assert code == 250
    got = received_name(server, user)
    if mode == "off":
        assert got == "unknown"
    elif name is not None:
        assert got.lower() == name
    else:
        assert got in ("unknown", "unverified")
    if mode != "off" and status is not None:
        until("a line in the log", lambda: [
            e for e in server.events("serve.rdns", status=status)
            if name is None or e.get("name", "").lower() == name])


def test_nothing_is_asked_when_off(dns):
    with system(dns, "off") as m:
        assert rcpt(m, "127.0.0.2")[0] == 250
        m.stop()
        assert m.events("serve.connect") and not m.events("serve.rdns")


def test_relay_networks_are_exempt(dns):
    with system(dns, "require",
                serve__relay_networks=["127.0.0.3/32", "::1/128"]) as m:
        assert rcpt(m, "127.0.0.3")[0] == 250
        assert rcpt(m, "127.0.0.4")[:2] == (550, "5.7.25")


@pytest.mark.memory
def test_pipelined_commands_wait_for_the_answer(dns):
    """Answered in order, whether the name is known by then or not."""
    with system(dns, "require") as m:
        for address, codes in (
                ("127.0.0.2", [250, 250, 250, 250, 354, 250, 221]),
                ("127.0.0.4", [250, 250, 550, 550, 554])):
            with From(address, m.port) as c:
                assert c.say("EHLO client.test")[0] == codes[0]
                c.send("MAIL FROM:<a@client.test>\r\n"
                       "RCPT TO:<ann@here.test>\r\nRCPT TO:<bob@here.test>\r\n"
                       "DATA\r\n")
                assert [c.reply()[0] for _ in codes[1:5]] == codes[1:5]
                if codes[4] == 354:
                    c.send("Subject: x\r\n.\r\nQUIT\r\n")
                    assert [c.reply()[0] for _ in codes[5:]] == codes[5:]


def test_name_server_is_silent(dns):
    """Require: 450, for the next time may be better.  Warn: taken, after a
    short wait.  A relay network does not wait at all."""
    require = system(dns, "require", dns__timeout="1s")
    warn = system(dns, "warn", dns__timeout="60s")
    trusted = system(dns, "require", dns__timeout="60s",
                     serve__relay_networks=["127.0.0.2/32"])
    with require, warn, trusted:
        dns.pause()
        try:
            assert rcpt(trusted, "127.0.0.2")[0] == 250
            assert rcpt(trusted, "127.0.0.2")[2] < DEADLINE
            code, _, took = rcpt(warn, "127.0.0.2")
            assert code == 250 and took < DEADLINE
            assert received_name(warn, "ann") == "unknown"
            with From("127.0.0.2", require.port) as waiting:
                assert waiting.say("EHLO client.test")[0] == 250
                waiting.send("MAIL FROM:<>\r\nRCPT TO:<ann@here.test>\r\n")
                assert waiting.reply()[0] == 250
                # meanwhile the worker serves others
                for _ in range(10):
                    with From("127.0.0.3", require.port) as c:
                        assert c.say("EHLO client.test")[0] == 250
                code, words = waiting.reply()
            assert (code, words[0].split()[0]) == (450, "4.7.25")
        finally:
            dns.resume()
        # a failure is not remembered as an answer
        assert rcpt(require, "127.0.0.2")[0] == 250


def test_name_server_refuses(dns):
    """SERVFAIL and REFUSED say nothing about the client."""
    with DnsServer({"client.test": ZONES["client.test"]}, root=False) as lame:
        with system(lame, "require", dns__timeout="1s") as m:
            assert rcpt(m, "127.0.0.2")[:2] == (450, "4.7.25")


def test_client_that_leaves_while_its_name_is_asked_for(dns):
    with system(dns, "require", dns__timeout="1s", serve__workers=1) as m:
        dns.pause()
        try:
            for _ in range(30):
                with From("127.0.0.5", m.port) as c:
                    c.send("EHLO client.test\r\nMAIL FROM:<>\r\n"
                           "RCPT TO:<ann@here.test>\r\n")
        finally:
            dns.resume()
        assert rcpt(m, "127.0.0.2")[0] == 250
        assert m.events("serve.worker", state="died") == []


class Between:
    """A name server that asks the real one: deaf for names that end in one of
    `deaf` (labels, "8.0.127"), and so many seconds late for all others."""

    def __init__(self, dns, deaf=(), late=0.0):
        self.deaf = [b"".join(bytes([len(x)]) + x.encode()
                              for x in name.split(".")) for name in deaf]
        self.late, self.to_come, self.ends = late, [], False
        self.asked = 0
        host, port = dns.address.rsplit(":", 1)
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.back.connect((host, int(port)))
        self.address = "127.0.0.1:%d" % self.front.getsockname()[1]
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends = True
        self.thread.join()
        self.front.close()
        self.back.close()

    def work(self):
        clients = {}  # by id of the query
        while not self.ends:
            ready = select.select([self.front, self.back], [], [], 0.02)[0]
            if self.front in ready:
                text, peer = self.front.recvfrom(4096)
                self.asked += 1
                if not any(x in text for x in self.deaf):
                    clients[text[:2]] = peer
                    self.back.send(text)
            if self.back in ready:
                text = self.back.recv(4096)
                self.to_come.append((time.monotonic() + self.late, text))
            while self.to_come and self.to_come[0][0] <= time.monotonic():
                text = self.to_come.pop(0)[1]
                if text[:2] in clients:
                    self.front.sendto(text, clients[text[:2]])


def test_a_slow_name_server_is_heard(dns):
    """Each answer comes when its try has timed out."""
    with Between(dns, late=1.3) as slow:
        with system(slow, "require", dns__timeout="1s",
                    serve__workers=1) as m:
            assert rcpt(m, "127.0.0.2")[0] == 250
            assert rcpt(m, "127.0.0.3")[:2] == (550, "5.7.25")
            asked = slow.asked
            assert rcpt(m, "127.0.0.2")[0] == 250
            assert slow.asked == asked  # from the cache


def test_dead_zones_hold_up_no_other(dns):
    """More clients than there are look-ups at a time, all from two zones whose
    servers are silent: an honest client does not wait for them."""
    with Between(dns, deaf=["7.0.127", "8.0.127"]) as server:
        with system(server, "require", dns__timeout="60s",
                    serve__workers=1) as m:
            crowd = [From("127.0.%d.%d" % (7 + i % 2, 1 + i // 2), m.port)
                     for i in range(300)]
            for c in crowd:
                assert c.say("EHLO client.test")[0] == 250
                c.send("MAIL FROM:<>\r\nRCPT TO:<ann@here.test>\r\n")
                assert c.reply()[0] == 250
            code, _, took = rcpt(m, "127.0.0.2")
            assert code == 250 and took < DEADLINE
            for c in crowd:
                c.close()
            assert rcpt(m, "127.0.0.10")[0] == 250
