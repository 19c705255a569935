"""run/deliver.sock and run/send.sock: nothing that a client does there stops
mail, and strangers get nothing."""

import os
import random
import socket
import threading

import pytest

from harness import until

SOCKETS = ("deliver", "send")


@pytest.fixture
def system(mta):
    m = mta()
    for name in SOCKETS:
        until(name, lambda: os.path.exists(path_of(m, name)))
    return m


def path_of(m, name):
    return "%s/run/%s.sock" % (m.queue, name)


def dial(m, name, timeout=30):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(timeout)
    s.connect(path_of(m, name))
    return s


def ask(m, name, command):
    """All lines of the answer."""
    with dial(m, name) as s:
        try:
            s.sendall(command + b"\n")
        except BrokenPipeError:
            pass  # refused, and told so
        got = b""
        while not (got.endswith(b"\n") and
                   not got.splitlines()[-1].startswith(b" ")):
            piece = s.recv(65536)
            if not piece:
                break
            got += piece
    return got


def check_mail(m, user):
    """It works on."""
    with m.smtp() as s:
        s.sendmail("a@b.test", ["%s@here.test" % user],
                   b"Subject: x\r\n\r\n")
    m.copies(user, 1)
    for name in SOCKETS:
        until("%s answers" % name, lambda: ask(m, name, b"ping") == b"ok\n")


def test_after_a_reload(system):
    """The next generation has both sockets."""
    system.renew()
    for name in SOCKETS:
        until("another one", lambda: len(system.events(name + ".start")) == 2)
    until("the old ones went", lambda: len(system.events("deliver.stop")) == 1
          and len(system.events("send.stop")) == 1)
    check_mail(system, "ann")
    for name in SOCKETS:
        assert system.events(name + ".control") == []


def test_errors(system):
    for name in SOCKETS:
        for command, says in [
                (b"", b"error: no command ''\n"),
                (b"nothing", b"error: no command 'nothing'\n"),
                (b"show x", b"error: 'x' is not a message id\n"),
                (b"hold", b"error: 'hold' needs all, id, domain or sender\n"),
                (b"hold id x", b"error: 'x' is not a message id\n"),
                (b"hold domain", b"error: 'domain' needs a value\n"),
                (b"hold everything x", b"error: 'everything' is none of "
                 b"dry-run, all, id, domain or sender\n"),
                (b"delete dry-run all",
                 b" matched 0 recipients 0 messages\nok\n"),
                (b"waiting", b" waiting 0\nok\n")]:
            assert ask(system, name, command) == says, (name, command)


def test_garbage(system):
    draw = random.Random(17)
    for name in SOCKETS:
        for n in range(200):
            with dial(system, name) as s:
                size = draw.choice([1, 10, 511, 512, 513, 5000])
                end = draw.choice([b"", b"\n", b"\r\n", b"\0\n"])
                try:
                    s.sendall(draw.randbytes(size) + end)
                    if end and n % 2:
                        s.recv(1000)  # an answer, or the end
                except (BrokenPipeError, ConnectionResetError):
                    pass
    check_mail(system, "ann")


@pytest.mark.parametrize("verb", ["hold", "delete", "show", "list"])
def test_words_of_commands_in_any_order(system, verb):
    draw = random.Random(verb)
    words = ["all", "id", "domain", "sender", "dry-run", "0123456789abcdef",
             "x.test", '"a b"@x.test', "<>", '"', "\\", "hold", "," * 30]
    for name in SOCKETS:
        for _ in range(100):
            line = " ".join([verb] + draw.choices(words, k=draw.randint(0, 6)))
            got = ask(system, name, line.encode())
            assert got.endswith(b"ok\n") or got.startswith(b"error: "), line


def test_slow_readers(system):
    """Each holds up itself alone; their places are free again in 10 s."""
    made = []
    for name in SOCKETS:
        for _ in range(8):
            s = dial(system, name)
            made.append(s)
            try:
                s.sendall(b"counters\n" * 50)
            except BrokenPipeError:
                pass  # one place is not free yet
    with system.smtp() as s:
        s.sendmail("a@b.test", ["bob@here.test"], b"Subject: x\r\n\r\n")
    system.copies("bob", 1)
    check_mail(system, "ann")
    for s in made:
        s.close()


def test_a_thousand_callers(system):
    """More than have a place are told so, or wait; none is left hanging."""
    results, lock = [], threading.Lock()

    def call(name):
        try:
            got = ask(system, name, b"ping")
        except (BlockingIOError, ConnectionResetError, BrokenPipeError):
            got = b"no place\n"
        with lock:
            results.append(got)
    for _ in range(10):
        threads = [threading.Thread(target=call, args=(SOCKETS[i % 2],))
                   for i in range(100)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
            assert not t.is_alive()
    assert len(results) == 1000
    assert set(results) <= {b"ok\n", b"error: too many connections\n",
                            b"no place\n", b""}
    assert results.count(b"ok\n") > 100
    check_mail(system, "ann")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_strangers(system):
    """By file modes, and if these were wrong, by peer credentials."""
    for name in SOCKETS:
        assert stranger(system, name) == b"EACCES"
    os.chmod(os.path.dirname(system.queue), 0o755)
    os.chmod(system.queue, 0o755)
    os.chmod(system.queue + "/run", 0o755)
    for name in SOCKETS:
        os.chmod(path_of(system, name), 0o666)
        assert stranger(system, name) == b"error: permission denied\n"
    check_mail(system, "ann")


def stranger(m, name):
    """The answer to another user."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                got = ask(m, name, b"delete all")
            except PermissionError:
                got = b"EACCES"
            except ConnectionResetError:
                got = b"reset"
            os.write(theirs, got)
        finally:
            os._exit(0)
    os.close(theirs)
    os.waitpid(pid, 0)
    with os.fdopen(ours, "rb") as f:
        return f.read()
