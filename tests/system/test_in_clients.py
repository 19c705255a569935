"""Mail handed in by clients nobody here wrote (R1, R2, R11, R16)."""

import collections
import email
import email.policy
import os
import smtplib
import subprocess

import pytest

from harness import DEADLINE, Mta

HOSTS = ["127.0.0.1", "::1"]
TEXT = "Erste Zeile, größer als ASCII\n.\n..zwei Punkte\n\n.ein Punkt\nEnde\n"
MESSAGE = ("From: a@client.test\nTo: someone@here.test\n"
           "Subject: plain\n\n" + TEXT)
LOCAL = ["ann", "bob", "cleo"]
REMOTE = ["x@far.test", "y@far.test", "z@other.test"]


def server_on_both(command="serve", settings=None):
    m = Mta(command, settings, start=False)
    m.settings["serve.listen"] = ["127.0.0.1:%d" % m.port,
                                  "[::1]:%d" % m.port]
    m.write_conf()
    return m.start()


@pytest.fixture(scope="module")
def server():
    with server_on_both() as m:
        yield m


def run(argv, text=None):
    done = subprocess.run(argv, input=text.encode() if text else None,
                          stdin=None if text else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=DEADLINE * 2)
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")
    return done.stdout.decode("utf-8", "replace")


def bracketed(host):
    return "[%s]" % host if ":" in host else host


def by_swaks(m, host, rcpts):
    run(["swaks", "--server", host, "--port", str(m.port), "--ehlo",
         "client.test", "--from", "a@client.test", "--to", ",".join(rcpts),
         "--pipeline", "--data", "-"] +
        (["-6"] if ":" in host else []), MESSAGE)


def by_curl(m, host, rcpts):
    argv = ["curl", "-sS", "--url", "smtp://%s:%d/client.test"
            % (bracketed(host), m.port), "--mail-from", "a@client.test",
            "--crlf", "-T", "-"]
    for r in rcpts:
        argv += ["--mail-rcpt", r]
    run(argv, MESSAGE)


def by_msmtp(m, host, rcpts):
    run(["msmtp", "-C", "/dev/null", "--host=" + host, "--port=%d" % m.port,
         "--domain=client.test", "--from=a@client.test", "--tls=off",
         "--auth=off", "--"] + rcpts, MESSAGE)


def by_smtplib(m, host, rcpts):
    with smtplib.SMTP(host, m.port, "client.test", timeout=DEADLINE) as s:
        assert s.sendmail("a@client.test", rcpts,
                          MESSAGE.replace("\n", "\r\n").encode(),
                          ["BODY=8BITMIME"]) == {}


CLIENTS = {"swaks": by_swaks, "curl": by_curl, "msmtp": by_msmtp,
           "smtplib": by_smtplib}


def text_of(raw):
    return email.message_from_bytes(raw, policy=email.policy.SMTP)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("client", CLIENTS)
def test_client(server, client, host):
    """Three local recipients and three remote ones, 8-bit text, dots."""
    tag = "%s-%s" % (client, "6" if ":" in host else "4")
    local = ["%s-%s@here.test" % (u, tag) for u in LOCAL]
    remote = ["%s-%s" % (tag, r) for r in REMOTE]
    CLIENTS[client](server, host, local + remote)
    for address in local:
        copies = server.copies(address.split("@")[0])
        check_copy(copies[0], address, host)
    mine = [q for q in server.queued()
            if q["recipients"][0]["address"] in remote]
    assert len(mine) == 1
    assert mine[0]["sender"] == "a@client.test"
    assert [r["address"] for r in mine[0]["recipients"]] == remote
    assert {r["state"] for r in mine[0]["recipients"]} == {"pending"}
    wire = server.tool("queue", "cat", mine[0]["id"]).stdout
    assert len(wire) == mine[0]["size"]
    body = wire.decode().partition("\r\n\r\n")[2]
    assert body.rstrip("\r\n") == TEXT.replace("\n", "\r\n").rstrip("\r\n")


def check_copy(raw, address, host):
    head, _, body = raw.partition(b"\n\n")
    assert body.decode().rstrip("\n") == TEXT.rstrip("\n")
    msg = text_of(raw)
    assert msg["Return-Path"] == "<a@client.test>"
    assert msg["Delivered-To"] == address
    literal = "[IPv6:::1]" if ":" in host else "[127.0.0.1]"
    assert msg["Received"].startswith("from client.test "), msg["Received"]
    assert literal in msg["Received"]
    assert b"\r" not in head


# smtp-source: sessions, messages, recipients of each, more flags
SOURCES = [
    ("one", 1, 1, 1, []),
    ("a new session for each", 10, 60, 1, []),
    ("many in one session", 1, 100, 1, ["-d"]),
    ("sessions at once", 20, 400, 1, ["-d"]),
    ("recipients", 5, 20, 25, ["-d"]),
    ("large bodies", 4, 8, 1, ["-d", "-l", "700000"]),
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name,sessions,messages,nrcpt,flags", SOURCES,
                         ids=[s[0] for s in SOURCES])
def test_smtp_source(server, name, sessions, messages, nrcpt, flags, host):
    """Local and remote, every message found where it belongs."""
    n = SOURCES.index((name, sessions, messages, nrcpt, flags))
    tag = "%d%s" % (n, "six" if ":" in host else "four")
    for domain in ("here.test", "far.test"):
        run(["/usr/sbin/smtp-source", "-s", str(sessions), "-m",
             str(messages), "-r", str(nrcpt), "-M", "client.test", "-f",
             "a@client.test", "-t", "%s@%s" % (tag, domain)] + flags +
            ["inet:%s:%d" % (bracketed(host), server.port)])
    boxes = [tag] + ["%d%s" % (i, tag) for i in range(2, nrcpt + 1)]
    for box in boxes:
        server.copies(box, messages)
    mine = [q for q in server.queued()
            if q["recipients"][0]["address"].endswith(tag + "@far.test")]
    assert len(mine) == messages
    assert {len(q["recipients"]) for q in mine} == {nrcpt}
    if "-l" in flags:
        assert all(q["size"] > int(flags[-1]) for q in mine)


def test_ids_differ(server):
    """All that the tests above queued; an id names one message."""
    by_smtplib(server, "127.0.0.1", ["last@far.test"])
    ids = collections.Counter(q["id"] for q in server.queued())
    assert max(ids.values()) == 1


def test_a_refused_recipient_does_not_stop_the_others(server):
    with server.smtp() as s:
        refused = s.sendmail("a@client.test",
                             ["good@here.test", ".bad@here.test",
                              "fine@here.test"], b"Subject: x\r\n\r\nx\r\n")
    assert list(refused) == [".bad@here.test"]
    assert refused[".bad@here.test"][0] == 501
    server.copies("good")
    server.copies("fine")


def test_clients_hear_of_a_refusal(server):
    """Exit status of the command-line clients: not 0 when mail is refused."""
    port = str(server.port)
    for argv in (["swaks", "--server", "127.0.0.1", "--port", port, "--to",
                  "../x@here.test", "--silent", "3"],
                 ["curl", "-sS", "smtp://127.0.0.1:" + port, "--mail-from",
                  "a@client.test", "--mail-rcpt", "../x@here.test", "-T",
                  os.devnull],
                 ["msmtp", "-C", "/dev/null", "--host=127.0.0.1",
                  "--port=" + port, "--from=a@client.test", "--",
                  "../x@here.test"]):
        done = subprocess.run(argv, input=b"Subject: x\n\nx\n",
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=DEADLINE)
        assert done.returncode != 0, argv


def test_many_sessions_of_smtplib_at_once(server):
    """All open before the first says anything, then all send."""
    with_all = [server.smtp() for _ in range(60)]
    for s in with_all:
        s.ehlo("client.test")
    for i, s in enumerate(with_all):
        s.sendmail("a@client.test", ["together@here.test"],
                   b"Subject: %d\r\n\r\nx\r\n" % i)
    for s in with_all:
        s.quit()
    subjects = {text_of(m)["Subject"] for m in server.copies("together", 60)}
    assert subjects == {str(i) for i in range(60)}
