"""Operations on the queue that do not come to their end: two at a time, a
command or a process that is killed in the middle, a disk that takes no marks, a
segment that is cut.  Nothing is lost, what was done stays, the rest is as it
was, and the same command again finishes."""

import collections
import errno
import glob
import json
import os
import random
import signal
import socket
import subprocess
import time

import pytest

from harness import MTA, UNDER_VALGRIND, free_port, until
from peer import Peer
from processes import by_role
from test_faults import Page, faulty
from test_full import Ballast, small_disk
from test_queue_operate import Fake

RCPTS = 1000  # of a message
EX_OSFILE, EX_TEMPFAIL = 72, 75


@pytest.fixture
def hop():
    with Peer(answers={"RCPT": "451 4.2.1 not now"}) as p:
        yield p


def submit(m, rcpts, sender="a@src.test"):
    """Their commands in one piece: there are many."""
    with m.raw() as c:
        c.send("EHLO client.test\r\nMAIL FROM:<%s>\r\n" % sender +
               "".join("RCPT TO:<%s>\r\n" % r for r in rcpts) + "DATA\r\n")
        for code in [250] * (len(rcpts) + 2) + [354]:
            assert c.reply()[0] == code
        c.send("Subject: x\r\n\r\nhi\r\n.\r\n")
        assert c.reply()[0] == 250


def crowd(mta, messages, command="serve", **settings):
    """A queue of so many messages to 1,000 recipients each."""
    m = mta(command, {"send.retry_min": "1h", "send.retry_max": "1h",
                      "send.queue_lifetime": "5d", "log.level": "info",
                      **settings})
    for i in range(messages):
        submit(m, ["u%d.%d@x.test" % (i, k) for k in range(RCPTS)])
    return m


def count(m):
    """Recipients that wait, by state; all of them are there."""
    found = collections.Counter(r["state"] for q in m.queued()
                                for r in q["recipients"])
    return found["pending"] + found["delivering"], found["held"]


def command(m, *args):
    return subprocess.Popen([MTA, "queue", *args, "-c", m.conf],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(m, verb, n, held):
    """The same command again, until it says that all is done."""
    until("it finishes", lambda: m.tool(
        "queue", verb, "--all", check=False).returncode == 0)
    assert count(m) == ((0, n) if held else (n, 0))


def stuck(port):
    return {"send.routes": ["x.test=[127.0.0.1]:%d" % port]}


def tried(m):
    """Recipients that the log has as deferred; it is too long to be taken
    apart."""
    with open(m.log) as f:
        return f.read().count(" send.deferred ")


# --- two at a time -----------------------------------------------------------

def two_at_a_time(m, n):
    for _ in range(3):
        running = [command(m, verb, "--all")
                   for verb in ("hold", "release", "hold", "retry")]
        for p in running:
            out, err = p.communicate(timeout=60)
            assert p.returncode == 0 and err == b"", err
        assert sum(count(m)) == n
    finish(m, "hold", n, True)
    finish(m, "release", n, False)


def test_two_at_a_time(mta):
    """The process takes pieces of both in turn."""
    m = crowd(mta, 10, "run", **stuck(free_port()))
    two_at_a_time(m, 10 * RCPTS)


def test_two_at_a_time_without_daemons(mta):
    """The second waits for the lock of the first."""
    m = crowd(mta, 10)
    m.stop()
    two_at_a_time(m, 10 * RCPTS)


def test_a_lock_that_stays(mta):
    """Of a process that does not answer: an error after some seconds."""
    m = crowd(mta, 1)
    m.stop()
    lock = os.path.join(m.queue, "remote", "lock")
    with subprocess.Popen(["flock", lock, "sh", "-c", "echo; read x"],
                          stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        done = m.tool("queue", "hold", "--all", check=False)
        assert done.returncode == EX_TEMPFAIL
        assert b"run/send.sock" in done.stderr
        holder.stdin.write(b"\n")
    assert count(m) == (RCPTS, 0)


# --- killed in the middle ----------------------------------------------------

def kill_until_half(m, n, pause):
    """kill -9 of the command, later each time, until it hits the middle."""
    for i in range(200):
        p = command(m, "hold", "--all")
        time.sleep(pause(i))  # the moment of the kill is what is tried
        p.kill()
        p.communicate()
        pending, held = count(m)
        assert pending + held == n
        if pending and held:
            return
        finish(m, "release", n, False)
    pytest.fail("it was never in the middle")


@pytest.mark.skipif(UNDER_VALGRIND, reason="times are others there")
@pytest.mark.parametrize("daemons", [True, False])
def test_the_command_is_killed(mta, daemons):
    n = 20 * RCPTS
    m = crowd(mta, 20, "run" if daemons else "serve", **stuck(free_port()))
    if not daemons:
        m.stop()
    kill_until_half(m, n, lambda i: random.uniform(0.005, 0.1))
    if daemons:  # it is said that this was not all
        until("broken off", lambda: m.events("queue.operation", complete="no"))
    finish(m, "hold", n, True)


class Control:
    """A client of run/send.sock."""

    def __init__(self, m, name="send"):
        self.sock = socket.socket(socket.AF_UNIX)
        before = os.getcwd()
        os.chdir(os.path.join(m.queue, "run"))
        try:
            self.sock.connect(name + ".sock")
        finally:
            os.chdir(before)
        self.file = self.sock.makefile("rwb", 0)

    def close(self):
        self.file.close()
        self.sock.close()


def test_the_process_is_killed(mta, hop):
    """The sender, in the middle of an operation: the next one finishes it, and
    every recipient gets its message once."""
    n = 10 * RCPTS
    m = crowd(mta, 10, "run", **stuck(hop.port))
    until("tried", lambda: tried(m) >= n, 60)
    for _ in range(20):
        [pid] = by_role(m.process.pid)["send"]
        c = Control(m)
        c.file.write(b"hold all\n")
        assert c.file.readline().startswith(b" ")
        os.kill(pid, signal.SIGKILL)
        c.close()
        pending, held = count(m)
        assert pending + held == n
        until("another", lambda: by_role(m.process.pid).get(
            "send", [pid]) != [pid])
        if pending and held:
            break
        finish(m, "release", n, False)
    else:
        pytest.fail("it was never in the middle")
    finish(m, "hold", n, True)
    hop.answers.clear()
    m.tool("queue", "release", "--all")
    m.tool("queue", "flush")
    until("all is sent", lambda: m.queued() == [], 60)
    got = collections.Counter(r for x in hop.messages for r in x.rcpts)
    assert len(got) == n and set(got.values()) == {1}


@pytest.mark.parametrize("said, status, err", [
    (b" progress 5\n", EX_TEMPFAIL, b"run/deliver.sock has ended before the "
     b"command; what it has done stays: give it again\n"),
    (b" matched 2 recipients 1 messages incomplete\nok\n", EX_TEMPFAIL,
     b"the queue is not read in full yet"),
    (b" matched 2 recipients 1 messages\n failed 3\nok\n", EX_TEMPFAIL,
     b"6 recipients stay as before: the disk failed"),
    (b"error: no memory\n", EX_TEMPFAIL, b"mta queue: error: no memory\n"),
    (b" matched 2 recipients 1 messages\nok\n", 0, b""),
])
def test_what_a_process_answers(mta, said, status, err):
    m = crowd(mta, 0)
    m.stop()
    Fake(m, lambda client: client.sendall(said))
    done = m.tool("queue", "hold", "--all", check=False)
    assert done.returncode == status and err in done.stderr, done
    if status == 0:
        assert done.stdout == b"held: 4 recipients of 2 messages\n"


# --- the disk ----------------------------------------------------------------

@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EIO"])
@pytest.mark.parametrize("nth", [1, 700])
def test_the_disk_takes_no_marks(mta, tmp_path, error, nth):
    """Without daemons, from the nth mark on."""
    m = crowd(mta, 2)
    m.stop()
    page = Page(str(tmp_path / "page"))
    page.arm(("path", ""), "pwritev", getattr(errno, error), nth, 0xffffffff)
    done = m.tool("queue", "hold", "--all", check=False, env=faulty(page))
    page.disarm()
    assert page.hits >= 1
    assert done.returncode == EX_TEMPFAIL, done
    pending, held = count(m)
    assert pending + held == 2 * RCPTS and held < nth
    assert b"held: %d recipient" % held in done.stdout
    assert b"%d recipients stay as before: the disk failed" % pending \
        in done.stderr
    finish(m, "hold", 2 * RCPTS, True)


def test_on_a_full_disk():
    """Marks have their place since the message came; the log, which is full
    too, has its lines when there is room again."""
    with small_disk({"send.retry_min": "1h", "send.retry_max": "1h"}) as m:
        for i in range(3):
            submit(m, ["u%d.%d@x.test" % (i, k) for k in range(100)])
        ballast = Ballast(m)
        ballast.fill()
        assert m.tool("queue", "hold", "--all").returncode == 0
        assert count(m) == (0, 300)
        ballast.drop()
        until("the log", lambda: len(m.events("queue.held")) == 3)
        m.stop()
        ballast.fill()
        done = m.tool("queue", "release", "--all", check=False)
        ballast.drop()
        assert done.returncode == 0, done
        assert count(m) == (300, 0)


def segments(m, queue="remote"):
    return sorted(glob.glob(os.path.join(m.queue, queue, "*.seg")))


def cut(path):
    """In the middle of the slots of its record; what was there."""
    with open(path, "r+b") as f:
        text = f.read()
        f.truncate(text.index(b"u0.0@x.test") // 2)
    return text


@pytest.mark.parametrize("daemons", [True, False])
def test_a_segment_is_cut(mta, hop, daemons):
    """Its messages are reported; those of other segments are as ever."""
    m = crowd(mta, 1, "run" if daemons else "serve", **stuck(hop.port))
    [first] = segments(m)
    m.stop()
    m.start()  # its writer has ended, so the next one makes another
    submit(m, ["other@x.test"])
    until("another", lambda: len(segments(m)) == 2)
    if not daemons:
        m.stop()
    else:
        until("tried", lambda: tried(m) >= RCPTS + 1)
    whole = cut(first)
    done = m.tool("queue", "hold", "--all", check=False)
    assert done.returncode in (0, EX_TEMPFAIL), done
    if done.returncode == EX_TEMPFAIL:
        assert b"stay as before: the disk failed" in done.stderr
    listed = m.tool("queue", "list", "--json", check=False)
    assert {r["state"] for line in listed.stdout.splitlines()
            for r in json.loads(line)["recipients"]
            if r["address"] == "other@x.test"} == {"held"}
    if daemons:
        assert by_role(m.process.pid).get("send")
        m.stop()
    with open(first, "wb") as f:  # as a backup would bring it back
        f.write(whole)
    assert sum(count(m)) == RCPTS + 1


# --- a name that is mistyped -------------------------------------------------

@pytest.mark.parametrize("words", [
    ["flush"], ["hold", "--all"], ["release", "--domain", "x.test"],
    ["retry", "0123456789abcdef"], ["delete", "--all", "--dry-run"],
    ["drain"], ["list"], ["stats"], ["stats", "--openmetrics"],
    ["show", "0123456789abcdef"], ["cat", "0123456789abcdef"]])
@pytest.mark.parametrize("how", ["--queue-dir", "-o"])
def test_no_such_queue(mta, tmp_path, words, how):
    m = mta(start=False)
    where = str(tmp_path / "nowhere")
    for i in range(2):
        flags = [how, where if how == "--queue-dir" else
                 "queue_dir=" + where]
        done = m.tool("queue", *words, *flags, check=False)
        assert done.returncode == EX_OSFILE, done
        assert done.stdout == b""
        assert where.encode() in done.stderr
        assert b"--queue-dir or -c names another\n" in done.stderr
        assert os.path.exists(where) == (i == 1)
        if i == 0:
            os.mkdir(where)
    assert os.listdir(where) == []
