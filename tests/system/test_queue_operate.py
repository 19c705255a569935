"""`mta queue hold`, `release`, `retry`, `delete`, `flush`: through running
processes, and on the disk when none runs."""

import json
import os
import pty
import re
import signal
import socket
import threading
import time

import pytest

from dnsserver import DnsServer
from harness import MTA, until
from peer import Peer
from processes import by_role

EX_USAGE, EX_NOINPUT, EX_TEMPFAIL = 64, 66, 75


class Stall:
    """An answer of a peer that comes when it is let go."""

    def __init__(self, reply):
        self.reply, self.gone = reply, False

    def __call__(self, session, line):
        until("it may answer", lambda: self.gone, 300)
        return self.reply


@pytest.fixture
def dns():
    with DnsServer({"x.test": "@ MX 10 mx\nmx A 127.0.0.1",
                    "dead.test": "@ MX 10 mx\nmx A 127.0.0.9"}) as d:
        yield d


def system(mta, dns, port, command="run", **settings):
    more = {"dns.servers": [dns.address], "send.port": port,
            "send.retry_min": "1h", "send.retry_max": "1h"}
    more.update({k.replace("__", "."): v for k, v in settings.items()})
    return mta(command, settings=more)


def submit(m, *rcpts, sender="a@src.test"):
    with m.smtp() as s:
        s.sendmail(sender, rcpts, b"Subject: x\r\n\r\nhi\r\n")


def operate(m, *args):
    """(recipients, messages)"""
    done = json.loads(m.tool("queue", *args, "--json").stdout)
    assert done["operation"] == args[0]
    return done["recipients"], done["messages"]


def states(m):
    found = {}
    for q in m.queued():
        for r in q["recipients"]:
            found[r["address"]] = r["state"]
    return found


def id_of(m, address):
    [found] = [q["id"] for q in m.queued()
               if address in [r["address"] for r in q["recipients"]]]
    return found


@pytest.fixture
def waiting(mta, dns):
    """Mail that was deferred once, of two senders to two domains."""
    with Peer("127.0.0.1", answers={"RCPT": "451 4.2.1 not now"}) as p:
        m = system(mta, dns, p.port)
        submit(m, "u@x.test", "u@dead.test", sender="a@src.test")
        submit(m, "v@x.test", sender="b@src.test")
        until("all were tried", lambda: len(m.events("send.deferred")) >= 3)
        m.peer = p
        yield m


def check_all(m):
    """Every operation and every selection."""
    assert states(m) == dict.fromkeys(
        ["u@x.test", "u@dead.test", "v@x.test"], "pending")
    assert operate(m, "hold", "--all", "--dry-run") == (3, 2)
    assert "held" not in states(m).values()
    assert operate(m, "hold", "--domain", "X.test") == (2, 2)
    assert operate(m, "hold", "--domain", "x.test") == (0, 0)
    assert states(m) == {"u@x.test": "held", "u@dead.test": "pending",
                         "v@x.test": "held"}
    [u] = [r for q in m.queued() for r in q["recipients"]
           if r["address"] == "u@x.test"]
    assert u["held_by"] == "operator" and u["next_attempt"] is None
    assert u["reply"] == "not now"
    assert operate(m, "release", "--sender", "b@src.test") == (1, 1)
    assert states(m)["v@x.test"] == "pending"
    assert operate(m, "release", id_of(m, "u@x.test")) == (1, 1)
    assert operate(m, "hold", "--all") == (3, 2)
    assert set(states(m).values()) == {"held"}
    assert operate(m, "retry", "--all") == (0, 0)
    assert operate(m, "delete", "--sender", "a@src.test", "--domain",
                   "dead.test", "--dry-run") == (1, 1)
    assert operate(m, "delete", "--sender", "a@src.test", "--domain",
                   "dead.test") == (1, 1)
    assert states(m) == {"u@x.test": "held", "u@dead.test": "deleted",
                         "v@x.test": "held"}
    assert operate(m, "delete", id_of(m, "u@x.test"),
                   id_of(m, "v@x.test")) == (2, 2)
    assert m.queued() == []
    assert operate(m, "delete", "--all") == (0, 0)


def test_with_daemons(waiting):
    m = waiting
    check_all(m)
    assert m.events("send.bounced") == []
    assert m.events("queue.notified") == []
    deleted = m.events("queue.deleted")
    assert sorted(e["nrcpt"] for e in deleted) == ["1", "1", "1"]
    assert all(e["uid"] == str(os.getuid()) for e in deleted)
    assert m.events("queue.operation", command="delete all")


def test_without_daemons(waiting):
    waiting.stop()
    check_all(waiting)
    waiting.start()
    assert waiting.queued() == []


VERBS = {"hold": "would hold", "release": "would release",
         "retry": "would be due", "delete": "would delete",
         "flush": "would be due"}


def check_dry(m, verb, n):
    """It counts, and changes nothing."""
    before = m.queued()
    done = m.tool("queue", verb, "--all", "--dry-run")
    assert done.stdout.decode() == "%s: %d recipient%s of %d message%s\n" % (
        VERBS[verb], n[0], "s" * (n[0] != 1), n[1], "s" * (n[1] != 1))
    assert operate(m, verb, "--domain", "x.test", "--sender", "b@src.test",
                   "--dry-run")[1] <= 1
    for q, was in zip(m.queued(), before):
        for r, old in zip(q["recipients"], was["recipients"]):
            assert [r[k] for k in ("address", "state", "attempts",
                                   "next_attempt")] == [
                old[k] for k in ("address", "state", "attempts",
                                 "next_attempt")]


def test_dry_runs(waiting):
    """Of each, with daemons and without; of mail that waits, and that is
    held."""
    m = waiting
    for _ in range(2):
        for verb in VERBS:
            check_dry(m, verb, (0, 0) if verb == "release" else (3, 2))
        m.tool("queue", "hold", "--all")
        for verb in VERBS:
            check_dry(m, verb,
                      (3, 2) if verb in ("release", "delete") else (0, 0))
        # a release with daemons would try it
        if m.process is None:
            m.tool("queue", "release", "--all")
            break
        m.stop()
        m.tool("queue", "release", "--all")
    assert not any(m.events("queue." + e) for e in ("deleted",))
    assert len(m.events("queue.held")) == 2 * 2
    assert all("dry-run" in e["command"] or e["command"] in
               ("hold all", "release all") or "domain" in e["command"]
               for e in m.events("queue.operation"))


def lines_of(m, event):
    return [(e["queue"], e["nrcpt"], e["uid"]) for e in m.events(event)]


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_done_without_daemons_is_logged(waiting, form):
    """As what they do: with the uid of the operator."""
    m = waiting
    me = str(os.getuid())
    m.stop()
    assert m.tool("queue", "hold", "--sender", "a@src.test", "-o",
                  "log.format=" + form).stderr == b""
    if form == "json":
        found = [json.loads(x) for x in open(m.log) if x[0] == "{"]
        assert {(e["event"], e["nrcpt"], e["uid"]) for e in found} >= {
            ("queue.held", 2, int(me)), ("queue.operation", 2, int(me))}
        return
    m.tool("queue", "release", "--all")
    m.tool("queue", "delete", "--domain", "dead.test")
    assert lines_of(m, "queue.held") == [("remote", "2", me)]
    assert lines_of(m, "queue.released") == [("remote", "2", me)]
    assert lines_of(m, "queue.deleted") == [("remote", "1", me)]
    assert ("remote", "1", me) in lines_of(m, "queue.operation")
    m.start()
    until("the collector goes on behind them",
          lambda: len(m.events("log.start")) == 2)


def test_a_collector_alone_has_the_lines(mta, dns):
    """Of a server beside which no sender runs."""
    m = system(mta, dns, 9, command="serve")
    submit(m, "u@x.test")
    until("it waits", lambda: len(m.queued()) == 1)
    assert m.tool("queue", "hold", "--all").stderr == b""
    until("logged", lambda: lines_of(m, "queue.held") == [
        ("remote", "1", str(os.getuid()))])


def test_without_a_log(waiting):
    """It is said; and where nothing was done, there is nothing to say."""
    m = waiting
    m.stop()
    done = m.tool("queue", "hold", "--all", "-o", "log.file=-")
    assert done.stderr.startswith(b"mta queue: the log has no line of it")
    assert m.tool("queue", "hold", "--all", "-o", "log.file=-").stderr == b""
    done = m.tool("queue", "release", "--all", "-o", "log.file=/no/log")
    assert b"/no/log: No such file or directory: what is done is not logged" \
        in done.stderr
    assert m.events("queue.released") == []


def on_terminal(m, *args):
    """What a command writes to a terminal, stdout and stderr."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(MTA, [MTA, *args, "-c", m.conf])
    said = b""
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:
            piece = b""
        if not piece:
            break
        said += piece
    os.close(fd)
    os.waitpid(pid, 0)
    return said.decode()


class Fake:
    """Processes that answer on both sockets as the test wants."""

    def __init__(self, m, answer):
        self.answer, self.sockets = answer, []
        before = os.getcwd()
        os.chdir(os.path.join(m.queue, "run"))  # its name may be long
        try:
            for name in ("deliver.sock", "send.sock"):
                s = socket.socket(socket.AF_UNIX)
                s.bind(name)
                s.listen()
                self.sockets.append(s)
        finally:
            os.chdir(before)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        """One client of each, one after the other."""
        for s in self.sockets:
            client, _ = s.accept()
            with client, client.makefile("rb") as f:
                f.readline()
                self.answer(client)
            s.close()


def slowly(client):
    for n in (5, 9):
        client.sendall(b" progress %d\n" % n)
        time.sleep(0.3)  # longer than a command waits before it shows a line
    client.sendall(b" matched 9 recipients 2 messages\nok\n")


def test_progress(mta):
    """A line of it on a terminal, for what takes a while; none in a pipe."""
    m = mta("serve")
    m.stop()
    Fake(m, slowly)
    said = on_terminal(m, "queue", "hold", "--all")
    assert said == ("\rhold: 9 recipients\rhold: 14 recipients\r"
                    "hold: 18 recipients\r\x1b[Kheld: 18 recipients of 4 "
                    "messages\r\n")
    for f in os.listdir(m.queue + "/run"):
        if f.endswith(".sock"):
            os.unlink(os.path.join(m.queue, "run", f))
    Fake(m, slowly)
    done = m.tool("queue", "hold", "--all")
    assert (done.stdout, done.stderr) == (
        b"held: 18 recipients of 4 messages\n", b"")


def test_progress_of_a_drain(waiting):
    said = on_terminal(waiting, "queue", "drain", "--timeout", "1s")
    assert re.search(r"\r\x1b\[Kdrain: \d recipients wait", said), said
    assert "mta queue: 2 messages remain: the time is over" in said


def test_one_daemon_runs_and_the_other_does_not(mta, dns):
    m = system(mta, dns, 9, command="serve")
    submit(m, "u@x.test")
    until("it waits", lambda: len(m.queued()) == 1)
    assert operate(m, "hold", "--all") == (1, 1)
    assert states(m) == {"u@x.test": "held"}


def test_a_restart_keeps_what_is_held(waiting):
    m = waiting
    assert operate(m, "hold", "--all") == (3, 2)
    m.stop()
    m.start()
    m.kill(signal.SIGUSR1)  # that is not for it
    until("it reads the queue", lambda: len(m.events("send.start")) == 2)
    submit(m, "w@x.test")
    until("another was tried", lambda: m.events("send.deferred",
                                                to="w@x.test"))
    assert states(m) == {"u@x.test": "held", "u@dead.test": "held",
                         "v@x.test": "held", "w@x.test": "pending"}


def test_release_tries_at_once(waiting):
    m = waiting
    operate(m, "hold", "--all")
    n = len(m.events("send.deferred", to="v@x.test"))
    operate(m, "release", id_of(m, "v@x.test"))
    until("tried again", lambda: len(m.events("send.deferred",
                                              to="v@x.test")) == n + 1)
    [e] = m.events("queue.released")
    assert e["nrcpt"] == "1"


def test_retry_tries_at_once(waiting):
    m = waiting
    n = len(m.events("send.deferred", to="v@x.test"))
    assert operate(m, "retry", "--sender", "b@src.test") == (1, 1)
    until("tried again", lambda: len(m.events("send.deferred",
                                              to="v@x.test")) == n + 1)


def test_flush_tries_a_host_that_is_shut(waiting):
    m = waiting
    shut = until("shut", lambda: [
        r for q in m.queued() for r in q["recipients"]
        if r["address"] == "u@dead.test" and r.get("shut_until")])
    assert operate(m, "flush", "--domain", "dead.test") == (1, 1)
    until("shut for longer", lambda: [
        r for q in m.queued() for r in q["recipients"]
        if r["address"] == "u@dead.test"
        and r.get("shut_until", "") > shut[0]["shut_until"]])


# --- what a peer has in its hands ---------------------------------------------

def in_hand(mta, dns, reply, test):
    stall = Stall(reply)
    with Peer("127.0.0.1", answers={"DOT": stall}) as p:
        m = system(mta, dns, p.port)
        try:
            submit(m, "u@x.test")
            until("it is on its way",
                  lambda: states(m) == {"u@x.test": "delivering"})
            test(m)
        finally:
            stall.gone = True
        return m


def test_held_in_hand_and_deferred(mta, dns):
    def hold(m):
        assert operate(m, "hold", "--all") == (1, 1)
        assert operate(m, "hold", "--all") == (0, 0)
    m = in_hand(mta, dns, "451 4.2.1 not now", hold)
    until("deferred", lambda: m.events("send.deferred"))
    until("held", lambda: states(m) == {"u@x.test": "held"})
    [q] = m.queued()
    assert q["recipients"][0]["attempts"] == 1
    assert operate(m, "release", q["id"]) == (1, 1)
    until("tried again", lambda: len(m.events("send.deferred")) == 2)
    assert states(m) == {"u@x.test": "pending"}


def test_deleted_in_hand_and_deferred(mta, dns):
    m = in_hand(mta, dns, "451 4.2.1 not now",
                lambda m: operate(m, "delete", "--all"))
    until("deleted", lambda: m.queued() == [])
    assert m.events("send.bounced") == []
    m.stop()
    assert m.queued() == []


@pytest.mark.parametrize("verb", ["hold", "delete"])
def test_in_hand_and_taken(mta, dns, verb):
    m = in_hand(mta, dns, "250 2.0.0 taken",
                lambda m: operate(m, verb, "--all"))
    until("delivered", lambda: m.events("send.delivered"))
    until("gone", lambda: m.queued() == [])


def test_held_in_hand_and_released(mta, dns):
    def both(m):
        assert operate(m, "hold", "--all") == (1, 1)
        assert operate(m, "release", "--all") == (1, 1)
    m = in_hand(mta, dns, "451 4.2.1 not now", both)
    until("deferred", lambda: m.events("send.deferred"))
    assert states(m) == {"u@x.test": "pending"}


def test_held_in_hand_and_killed(mta, dns):
    """The slot has it at once."""
    def kill(m):
        assert operate(m, "hold", "--all") == (1, 1)
        m.kill_all()
    m = in_hand(mta, dns, "250 2.0.0 taken", kill)
    assert states(m) == {"u@x.test": "held"}


# --- parts and local mail -------------------------------------------------------

def test_all_parts_of_a_message(mta, dns, tmp_path):
    """The child that was handed over is held by the id of its parent."""
    aliases = tmp_path / "aliases"
    aliases.write_text("list: u@x.test, v@x.test\n")
    with Peer("127.0.0.1", answers={"RCPT": "451 4.2.1 not now"}) as p:
        m = system(mta, dns, p.port, local__aliases=str(aliases))
        submit(m, "list@here.test")
        until("both were tried", lambda: len(m.events("send.deferred")) == 2)
        [q] = m.queued()
        assert q["part"] != 0
        assert operate(m, "hold", q["id"]) == (2, 1)
        assert operate(m, "delete", q["id"]) == (2, 1)
        until("gone", lambda: m.queued() == [])


def test_local_mail_in_hand(mta):
    """The mailbox process stands still: its copy is shown."""
    m = mta("serve", settings={"deliver.workers": 1})
    pids = until("there", lambda: by_role(m.process.pid).get("mailbox"))
    os.kill(pids[0], signal.SIGSTOP)
    submit(m, "ann@here.test")
    until("in hand", lambda: states(m) == {"ann@here.test": "delivering"})
    [q] = m.queued()
    now = q["recipients"][0]["delivering"]
    assert now["mailbox"] == "ann" and set(now) == {"since", "mailbox"}
    assert "now at mailbox ann\n" in m.tool(
        "queue", "show", q["id"]).stdout.decode()
    os.kill(pids[0], signal.SIGCONT)
    m.copies("ann", 1)
    until("gone", lambda: m.queued() == [])


# --- errors ---------------------------------------------------------------------

@pytest.mark.parametrize("args, says", [
    (["hold"], "'hold' needs ids, --domain, --sender, or --all"),
    (["delete", "foo"], "'foo' is not a message id"),
    (["retry", "--all", "--domain", "x.test"],
     "--all goes with no id, --domain or --sender"),
])
def test_misuse(mta, args, says):
    m = mta(start=False)
    done = m.tool("queue", *args, check=False)
    assert done.returncode == EX_USAGE
    assert done.stderr.decode() == "mta queue: %s\n" % says


def test_no_such_message(waiting):
    done = waiting.tool("queue", "hold", "0123456789abcdef", check=False)
    assert done.returncode == EX_NOINPUT
    assert b"no recipient of these messages" in done.stderr
    done = waiting.tool("queue", "hold", "--domain", "other.test")
    assert done.stdout == b"held: 0 recipients of 0 messages\n"
    assert done.stderr == b""  # no progress without a terminal


def test_a_process_that_does_not_answer(waiting):
    """Its queue is not changed behind its back."""
    pids = by_role(waiting.process.pid)["send"]
    os.kill(pids[0], signal.SIGSTOP)
    try:
        done = waiting.tool("queue", "hold", "--all", check=False)
    finally:
        os.kill(pids[0], signal.SIGCONT)
    assert done.returncode == EX_TEMPFAIL
    assert b"run/send.sock" in done.stderr
