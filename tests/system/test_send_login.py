"""Logins at next hops: mechanisms, faults in AUTH, and where secrets go."""

import os
import resource
import signal
import stat

import pytest

from auth import PASSWORD, USER, AuthPeer, b64
from dnsserver import DnsServer
from harness import (UNDER_VALGRIND, is_alive, send_signal, tree_of,
                     until)
from peer import Peer
from pki import Authority

CLEAR = {"send.tls": "none"}


def submit(m, rcpts, sender="a@src.test", body=b"Subject: x\r\n\r\nhi\r\n"):
    with m.smtp() as s:
        return s.sendmail(sender, rcpts, body)


def at(peer):
    return "[127.0.0.1]:%d" % peer.port


def settings(*peers, **more):
    found = dict(CLEAR, **{"send.relay_host": [at(p) for p in peers],
                           "send.relay_user": USER,
                           "send.relay_password": PASSWORD})
    found.update((k.replace("__", "."), v) for k, v in more.items())
    return found


def waits(m):
    """The recipients that wait, as `mta queue list` has them."""
    return [r for q in m.queued() for r in q["recipients"]
            if r["state"] == "pending"]


# --- mechanisms ---------------------------------------------------------------

@pytest.mark.parametrize("offered,used", [
    ("PLAIN LOGIN", "PLAIN"), ("LOGIN", "LOGIN"),
    ("CRAM-MD5 LOGIN PLAIN SCRAM-SHA-256", "SCRAM-SHA-256"),
    ("XOAUTH2 PLAIN OAUTHBEARER", "PLAIN")])
def test_the_best_mechanism(mta, offered, used):
    with AuthPeer(offered) as peer:
        m = mta("run", settings(peer))
        for n in range(3):
            submit(m, ["u%d@x.test" % n])
        until("delivered", lambda: len(peer.messages) == 3)
        assert [x[0] for x in peer.logins] == [used]  # once a session
        until("logged", lambda: m.events("send.connect", auth=used))


def test_the_mechanism_of_the_settings(mta):
    with AuthPeer("PLAIN LOGIN SCRAM-SHA-256") as peer:
        m = mta("run", settings(peer, send__relay_auth=["login"]))
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)
        assert peer.logins[0][0] == "LOGIN"


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_in_a_file(mta, tmp_path, mechanism):
    token = tmp_path / "token"
    token.write_text("ya29.first==\n")
    token.chmod(0o600)
    with AuthPeer(mechanism, secret="ya29.first==") as peer:
        m = mta("run", settings(peer, send__relay_password="",
                                send__relay_token="file:%s" % token))
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)
        assert peer.logins == [(mechanism, USER, "ya29.first==")]
        # Another token: the session that is open goes on without it.
        peer.secret = "second"
        until("idle", lambda: not peer.open)
        token.write_text("second\n")
        until("read again", lambda: m.events("config.reload"))
        submit(m, ["u2@x.test"])
        until("delivered", lambda: len(peer.messages) == 2)
        assert peer.logins[-1] == (mechanism, USER, "second")


def test_a_long_token_follows_the_command(mta, tmp_path):
    """RFC 4954 4: an initial response must fit into a command of 512."""
    token = tmp_path / "token"
    token.write_text("t" * 3000)
    with AuthPeer("XOAUTH2", secret="t" * 3000) as peer:
        m = mta("run", settings(peer, send__relay_password="",
                                send__relay_token="file:%s" % token))
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)
        assert "AUTH XOAUTH2" in peer.sessions[0].lines


# --- at which host ------------------------------------------------------------

def test_logins_of_other_hops(mta, tmp_path):
    """Each hop gets its own; a hop without one gets none."""
    secret = tmp_path / "p"
    secret.write_text("other\nsecond line\n")
    with AuthPeer("PLAIN", user="u2", secret="other") as b, \
            AuthPeer("PLAIN LOGIN") as a, Peer(extensions=("AUTH PLAIN",)) as c:
        m = mta("run", settings(a, send__routes=[
            "b.test=" + at(b), "c.test=" + at(c)], send__logins=[
                "%s u2 file:%s" % (at(b), secret)]))
        for d in "abc":
            submit(m, ["u@%s.test" % d])
        until("delivered", lambda: a.messages and b.messages and c.messages)
        assert a.logins == [("PLAIN", USER, PASSWORD)]
        assert b.logins == [("PLAIN", "u2", "other")]
        assert not any("AUTH" in x for s in c.sessions for x in s.lines)


def test_the_same_password_at_each_relay_host(mta):
    with AuthPeer("PLAIN") as a, AuthPeer("PLAIN") as b:
        a.answers["GREETING"] = "421 away"
        m = mta("run", settings(a, b))
        submit(m, ["u@x.test"])
        until("delivered", lambda: b.messages)
        assert b.logins == [("PLAIN", USER, PASSWORD)]


# --- faults: our settings -----------------------------------------------------

FAULTS = {
    "535": {"AUTH": "535 5.7.8 no such luck"},
    "530": {"AUTH": "530 5.7.0 no"},
    "503": {"AUTH": "503 5.5.1 no"},
    "504": {"AUTH": "504 5.5.4 no"},
    "250": {"AUTH": "250 2.0.0 ok"},
    "nonsense": {"AUTH": "hello"},
    "not base64": {"AUTH": "334 =*="},
    "long": {"AUTH": "334 " + "QUJD" * 16384},
    "challenges without end": {"AUTH": "334 QUJD"},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_fault_in_auth(mta, fault, mechanism):
    """Not offered, 4.3.5, loud; mail of others goes on; nothing is counted."""
    with AuthPeer(mechanism, answers=FAULTS[fault]) as peer, Peer() as other:
        if fault == "challenges without end":
            peer.extensions += ("X",)

            def endless(session, _line):
                for _ in range(10):
                    session.sock.sendall(b"334 QUJD\r\n")
                    if session.file.readline() in (b"*\r\n", b""):
                        return "501 cancelled"
                return "334 QUJD"
            peer.answers["AUTH"] = endless
        m = mta("run", settings(peer, send__routes=["o.test=" + at(other)],
                                send__retry_min="1h", send__retry_max="1h"))
        submit(m, ["u@x.test"])
        submit(m, ["u@o.test"])
        until("the other", lambda: other.messages)
        said = until("loud", lambda: m.events("send.next_hop"))[0]
        assert said["status"] == "4.3.5" and USER in said["error"], said
        shown = until("waits", lambda: [r for r in waits(m) if r["status"]])[0]
        assert shown["status"] == "4.3.5" and shown["attempts"] == 0, shown
        assert not any("MAIL" in x for s in peer.sessions for x in s.lines)
        assert not m.events("send.bounced")
        # Mended, and asked for: it goes.
        peer.answers.pop("AUTH")
        peer.answers["AUTH"] = peer.auth
        until("delivered", lambda: m.kill(signal.SIGUSR1) or peer.messages)


@pytest.mark.parametrize("fault,status", [
    ("454 4.7.0 temporary authentication failure", "4.7.0"),
    ("421 4.3.0 going", "4.7.0"),
    (None, "4.4.2"),
], ids=["454", "421", "drop"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_host_that_fails_in_auth(mta, fault, status, mechanism):
    """A round each time, as where it cannot be reached; mail without the login
    goes on."""
    with AuthPeer(mechanism, answers={"AUTH": fault}) as peer, Peer() as other:
        m = mta("run", settings(peer, send__routes=["o.test=" + at(other)]))
        submit(m, ["u@x.test"])
        submit(m, ["u@o.test"])
        until("the other", lambda: other.messages)
        shown = until("a round", lambda: [
            r for r in waits(m) if r["rounds"] > 0])[0]
        assert (shown["status"], shown["attempts"]) == (status, 0), shown
        assert "login" in shown["reply"] and USER in shown["reply"], shown
        said = m.events("send.auth_failed")[0]
        assert USER in said["error"] and int(said["pause"]) > 0, said
        assert not any("MAIL" in x for s in peer.sessions for x in s.lines)
        assert not m.events("send.next_hop")
        peer.answers["AUTH"] = peer.auth
        until("delivered", lambda: m.kill(signal.SIGUSR1) or peer.messages)


def test_silence_in_auth(mta):
    with AuthPeer("PLAIN") as peer:
        peer.answers["AUTH"] = lambda s, _l: (s.file.read(), None)[1]
        m = mta("run", settings(peer))
        submit(m, ["u@x.test"])
        until("asked", lambda: any("AUTH" in x for s in peer.sessions
                                   for x in s.lines))
        assert m.stop() == 0  # the time-out is minutes


@pytest.mark.parametrize("scram,error", [
    ({"final": None}, "did not prove"),
    ({"final": "v=" + b64("x" * 32)}, "signature"),
    ({"final": "e=invalid-proof"}, "invalid-proof"),
    ({"rounds": 1000}, "rounds"),
    ({"rounds": 600001}, "rounds"),
    ({"first": "r=x%s,s=%s,i=%d"}, "nonce"),
])
def test_a_server_that_does_not_know_the_password(mta, scram, error):
    with AuthPeer("SCRAM-SHA-256") as peer:
        peer.scram = scram
        m = mta("run", settings(peer))
        submit(m, ["u@x.test"])
        said = until("loud", lambda: m.events("send.next_hop"))[0]
        assert error in said["error"]
        assert not any("MAIL" in x for s in peer.sessions for x in s.lines)


def test_the_most_rounds(mta):
    with AuthPeer("SCRAM-SHA-256") as peer:
        peer.scram = {"rounds": 600000}
        m = mta("run", settings(peer))
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)
        assert m.events("send.connect")[0]["auth"] == "SCRAM-SHA-256"


def test_no_auth_is_offered(mta):
    with AuthPeer("", needs=False) as peer:
        m = mta("run", settings(peer))
        submit(m, ["u@x.test"])
        said = until("loud", lambda: m.events("send.next_hop"))[0]
        assert "none of our mechanisms" in said["error"]
        assert not peer.messages


def test_530_at_mail(mta):
    """A hop that asks for a login that we do not have."""
    with AuthPeer("PLAIN") as peer:
        m = mta("run", dict(CLEAR, **{"send.relay_host": at(peer)}))
        submit(m, ["u@x.test"])
        said = until("loud", lambda: m.events("send.next_hop"))[0]
        assert "asks for a login: 530" in said["error"]
        assert waits(m)[0]["status"] == "4.3.5"


def test_the_next_relay_host_when_one_refuses(mta):
    with AuthPeer("PLAIN", secret="another") as a, AuthPeer("PLAIN") as b:
        m = mta("run", settings(a, b))
        for n in range(3):
            submit(m, ["u%d@x.test" % n])
        until("delivered", lambda: len(b.messages) == 3)
        assert m.events("send.next_hop")  # loud all the same
        until("all is gone", lambda: not m.queued())


# --- where the password goes --------------------------------------------------

def processes(m):
    return tree_of(m.process.pid)


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


@pytest.mark.parametrize("by", ["file", "environment", "flag"])
def test_no_trace_of_the_password(mta, by):
    """Not in the log, the process list, the environment, --show or --dump."""
    with AuthPeer("PLAIN LOGIN") as peer:
        peer.answers["AUTH"] = [peer.auth, "535 5.7.8 no"]
        m = mta("run", settings(peer), start=False)
        if by != "file":
            del m.settings["send.relay_password"]
            m.write_conf()
        if by == "environment":
            m.env["MTA_SEND_RELAY_PASSWORD"] = PASSWORD
        if by == "flag":
            m.flags += ["-o", "send.relay_password=" + PASSWORD]
        m.start()
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)
        secret = PASSWORD.encode()
        for pid in processes(m):
            assert secret not in read("/proc/%d/cmdline" % pid)
            assert secret not in read("/proc/%d/environ" % pid)
        for form in ([], ["--json"]):
            shown = m.tool("config", "--show", *form, env={
                "MTA_SEND_RELAY_PASSWORD": PASSWORD}).stdout
            assert secret not in shown and b"***" in shown
        assert secret not in m.tool("config", "--dump").stdout
        until("idle", lambda: not peer.open)
        submit(m, ["u@x.test"])
        until("refused", lambda: m.events("send.next_hop"))
        with open(m.log, "rb") as f:
            log = f.read()
        assert secret not in log and b64("\0%s\0%s" % (
            USER, PASSWORD)).encode() not in log
        assert m.stop() == 0


def cores_allowed(cwd):
    """For the new process: core files of any size, in that directory."""
    def limit():
        os.chdir(cwd)
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,
                                                  resource.RLIM_INFINITY))
    return limit


def may_leave_cores(m):
    """What is true of the processes, of one or the other."""
    found = set()
    for pid in processes(m):
        limits = read("/proc/%d/limits" % pid).decode().splitlines()
        found |= {x.split()[4:6] != ["0", "0"] for x in limits
                  if "core file" in x}
    return found


def abort_all(m):
    """SIGABRT to each process, children first, of whose end the supervisor
    sees nothing before its own."""
    every = []
    while set(processes(m)) - set(every):  # forked meanwhile
        for pid in set(processes(m)) - set(every):
            send_signal(pid, signal.SIGSTOP)
            every.append(pid)
    for pid in [p for p in reversed(processes(m)) if p in every]:
        send_signal(pid, signal.SIGABRT)
        send_signal(pid, signal.SIGCONT)
        until("gone", lambda p=pid: not is_alive(p))
    m.process.wait()
    m.process = None


@pytest.mark.skipif("/san-" in os.environ.get("MTA", "") or UNDER_VALGRIND,
                    reason="cores are those of another program")
def test_no_core_has_the_password(mta, tmp_path):
    """Behind a login no process leaves a core, while those of a system that
    has no secrets do."""
    with open("/proc/sys/kernel/core_pattern", encoding="ascii") as f:
        if f.read().strip() != "core":
            pytest.skip("cores go elsewhere")
    for name, more in (("with", {}), ("without", {
            "send.relay_user": "", "send.relay_password": "",
            "send.relay_host": []})):
        cwd = tmp_path / name
        cwd.mkdir()
        with AuthPeer("PLAIN") as peer:
            m = mta("run", dict(settings(peer), **more),
                    limit=cores_allowed(cwd))
            if name == "with":
                submit(m, ["u@x.test"])
                until("delivered", lambda: peer.messages)
            # Before that it may be elsewhere, to bind sockets.
            until("all is up", lambda m=m: m.events("send.start"))
            # One just forked may have its limit a moment later.
            until("each has its limit", lambda m=m, name=name:
                  may_leave_cores(m) == {name == "without"})
            abort_all(m)
        assert bool(list(cwd.iterdir())) == (name == "without")


def memory_of(pid):
    """All that can be read of a process."""
    found = []
    with open("/proc/%d/maps" % pid) as maps, \
            open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            span, mode = line.split()[:2]
            if "r" not in mode or "[v" in line:
                continue
            first, last = (int(x, 16) for x in span.split("-"))
            try:
                mem.seek(first)
                found.append(mem.read(last - first))
            except (OSError, ValueError, OverflowError):
                pass
    return b"".join(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.skipif("/san-" in os.environ.get("MTA", "") or UNDER_VALGRIND,
                    reason="has terabytes of its own")
@pytest.mark.parametrize("by", ["start", "reload", "new password"])
def test_only_the_sender_has_the_password_in_memory(mta, tmp_path, by):
    """Nor what is sent of it; nor after it was read again."""
    secret = tmp_path / "p"
    secret.write_text("pass-of-a-hop-1234\n")
    secret.chmod(0o600)
    words = [PASSWORD, "pass-of-a-hop-1234"]
    with AuthPeer("PLAIN") as peer:
        m = mta("run", settings(peer, send__logins=[
            "[192.0.2.1]:25 u file:%s" % secret]))
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)
        if by == "new password":
            peer.secret = m.settings["send.relay_password"] = "an0ther-pass-w"
            words.append(peer.secret)
        if by != "start":
            for n in (2, 3):
                m.renew()
                until("the next", lambda n=n: len(m.events(
                    "send.start")) == n)
            submit(m, ["u2@x.test"])
            until("delivered", lambda: len(peer.messages) == 2)
        words += [b64(w) for w in words] + [b64("\0%s\0%s" % (USER, w))
                                            for w in words]
        seen = set()
        for pid in processes(m):
            name = read("/proc/%d/comm" % pid).decode().strip()
            memory = memory_of(pid)
            assert len(memory) > 100000, name
            found = [w for w in words if w.encode() in memory]
            seen.add((name, bool(found)))
            if name not in ("mta-supervisor", "mta-sender"):
                assert not found, name
        assert ("mta-sender", True) in seen and len(seen) >= 6, seen


# --- files --------------------------------------------------------------------

def test_bad_files_stop_a_start(mta, tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("\n")
    m = mta("run", start=False)
    for path, error in ((tmp_path / "none", "No such file"),
                        (empty, "is empty"), (tmp_path, "not a file")):
        m.settings["send.logins"] = ["[h.test]:587 u file:%s" % path]
        m.write_conf()
        done = m.tool("config", "--check", check=False)
        assert done.returncode == 78, done
        assert error in done.stderr.decode(), done.stderr
        assert "send.logins" in done.stderr.decode()
    m.settings["send.logins"] = []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_file_that_only_root_can_read(mta, tmp_path):
    os.chmod(tmp_path, 0o700)
    secret = tmp_path / "p"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    with AuthPeer("PLAIN") as peer:
        m = mta("run", dict(CLEAR, **{
            "user": "nobody", "send.relay_host": at(peer),
            "send.logins": ["%s %s file:%s" % (at(peer), USER, secret)]}),
            start=False)
        os.chmod(m.dir, 0o755)
        os.chown(m.mail, 65534, 65534)
        m.start()
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)
        # Changed, and taken by itself; a fault changes nothing.
        peer.secret = "n3w"
        until("idle", lambda: not peer.open)
        secret.write_text("")
        until("said", lambda: "is empty" in m.errors())
        secret.write_text("n3w\n")
        until("read", lambda: [
            e for e in m.events("config.reload") if "error" not in e])
        submit(m, ["u2@x.test"])
        until("delivered", lambda: m.kill(signal.SIGUSR1) or
              len(peer.messages) == 2)
        open(m.stderr, "w").close()


# --- tokens from a command ----------------------------------------------------

def command(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return "command:%s" % path


def by_command(peer, path, text, **more):
    return settings(peer, send__relay_password="",
                    send__relay_token=command(path, text), **more)


def test_a_token_by_a_command(mta, tmp_path):
    """Run once, as long as its token is good; again when it is refused."""
    count = tmp_path / "count"
    count.write_text("0")
    count.chmod(0o666)
    with AuthPeer("XOAUTH2", secret="tok1") as peer:
        m = mta("run", by_command(
            peer, tmp_path / "get",
            'n=$(cat %s); n=$((n + 1)); echo $n > %s; echo "tok$n"; echo x\n'
            % (count, count)))
        for n in range(2):
            submit(m, ["u%d@x.test" % n])
            until("delivered", lambda: len(peer.messages) == n + 1)
            until("idle", lambda: not peer.open)
        assert count.read_text().strip() == "1"
        peer.secret = "tok2"
        submit(m, ["u3@x.test"])
        until("delivered", lambda: len(peer.messages) == 3)
        assert count.read_text().strip() == "2"
        assert not m.events("send.next_hop")  # that was no fault
        assert ("denied", b"") in peer.logins


def test_what_the_command_sees(mta, tmp_path):
    seen = tmp_path / "seen"
    seen.touch()
    seen.chmod(0o666)
    with AuthPeer("OAUTHBEARER", secret="t") as peer:
        m = mta("run", by_command(
            peer, tmp_path / "get", "{ env; echo $#; pwd; ls -l /proc/$$/fd;"
            " ls %s; } > %s 2>&1; echo t\n" % (tmp_path, seen)), start=False)
        m.env["MTA_HOSTNAME"] = "secret.test"
        m.start()
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)
        text = seen.read_text()
        assert "MTA_" not in text and "secret.test" not in text, text
        assert "\n0\n/\n" in text
        assert "socket:" not in text, text


FAILING = {
    "status": ("exit 3\n", "exit status 3"),
    "signal": ("kill -9 $$\n", "died of signal 9"),
    "nothing": ("exit 0\n", "no token"),
    "too much": ("head -c 100000 /dev/zero | tr '\\0' x\n",
                 "more than a token"),
    "blanks": ("echo '  '\n", "no token"),
}


@pytest.mark.parametrize("fault", FAILING)
def test_a_command_that_fails(mta, tmp_path, fault):
    text, error = FAILING[fault]
    with AuthPeer("XOAUTH2", secret="t") as peer:
        m = mta("run", by_command(peer, tmp_path / "get", text))
        submit(m, ["u@x.test"])
        said = until("loud", lambda: m.events("send.next_hop"))[0]
        assert error in said["error"] and said["status"] == "4.3.5"
        shown = until("waits", lambda: [r for r in waits(m) if r["status"]])[0]
        assert shown["attempts"] == 0 and "no token" in shown["reply"]
        assert not peer.sessions
        command(tmp_path / "get", "echo t\n")
        until("delivered", lambda: m.kill(signal.SIGUSR1) or peer.messages)


def test_a_token_that_is_always_refused(mta, tmp_path):
    """Fetched anew once, then the next hop is left alone for a while."""
    with AuthPeer("XOAUTH2", secret="good") as peer:
        m = mta("run", by_command(peer, tmp_path / "get", "echo bad\n",
                                  send__retry_min="1h", send__retry_max="1h"))
        submit(m, ["u@x.test"])
        said = until("loud", lambda: m.events("send.next_hop"))[0]
        assert "535" in said["error"]
        assert len(peer.sessions) == 2


def token_pid(m):
    for pid in processes(m):
        if read("/proc/%d/comm" % pid).strip() == b"mta-token":
            return pid
    return None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_token_process_dies(mta, tmp_path, how):
    """Loud, mail waits, another one takes its place."""
    with AuthPeer("XOAUTH2", secret="t") as peer:
        m = mta("run", by_command(peer, tmp_path / "get",
                                  "sleep 60; echo t\n"))
        pid = until("started", lambda: token_pid(m))
        submit(m, ["u@x.test"])
        until("runs", lambda: any(
            b"sleep" in read("/proc/%d/cmdline" % p) for p in processes(m)))
        os.kill(pid, how)
        said = until("loud", lambda: m.events("send.next_hop"))[0]
        assert "has ended" in said["error"]
        command(tmp_path / "get", "echo t\n")
        until("again", lambda: token_pid(m) not in (None, pid))
        until("delivered", lambda: m.kill(signal.SIGUSR1) or peer.messages)
        open(m.stderr, "w").close()


def test_what_the_command_leaves_running_ends(mta, tmp_path):
    with AuthPeer("XOAUTH2", secret="t") as peer:
        m = mta("run", by_command(
            peer, tmp_path / "get", "sleep 987 > /dev/null & echo $! > %s\n"
            "echo t\n" % (tmp_path / "pid")), start=False)
        (tmp_path / "pid").touch()
        (tmp_path / "pid").chmod(0o666)
        m.start()
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)
        pid = int((tmp_path / "pid").read_text())
        until("it ends", lambda: b"987" not in read("/proc/%d/cmdline" % pid))


def test_the_sender_dies(mta, tmp_path):
    """The next one asks the same token process."""
    with AuthPeer("XOAUTH2", secret="t") as peer:
        m = mta("run", by_command(peer, tmp_path / "get", "echo t\n"))
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)
        until("idle", lambda: not peer.open)
        for pid in processes(m):
            if read("/proc/%d/comm" % pid).strip() == b"mta-sender":
                os.kill(pid, signal.SIGKILL)
        until("started", lambda: len(m.events("send.start")) == 2)
        submit(m, ["u2@x.test"])
        until("delivered", lambda: len(peer.messages) == 2)
        open(m.stderr, "w").close()


def test_a_command_by_reload(mta, tmp_path):
    with AuthPeer("XOAUTH2 PLAIN") as peer:
        m = mta("run", settings(peer))
        assert token_pid(m) is None
        m.settings["send.relay_password"] = ""
        m.settings["send.relay_token"] = command(tmp_path / "get", "echo t\n")
        m.write_conf()
        peer.secret = "t"
        m.kill(signal.SIGHUP)
        until("started", lambda: token_pid(m))
        submit(m, ["u@x.test"])
        until("delivered", lambda: peer.messages)
        assert peer.logins[-1][0] == "XOAUTH2"


def test_one_pass_waits_for_a_token(mta, tmp_path):
    """`mta send --once` does not end before it."""
    with AuthPeer("XOAUTH2", secret="t") as peer:
        m = mta("serve", by_command(peer, tmp_path / "get",
                                    "sleep 2; echo t\n"))
        submit(m, ["u@x.test"])
        done = m.tool("send", "--once", check=False)
        assert done.returncode == 0, done.stderr
        assert peer.messages


def test_bad_commands_stop_a_start(mta, tmp_path):
    path = tmp_path / "get"
    m = mta("run", settings(Peer()), start=False)
    m.settings["send.relay_password"] = ""
    m.settings["send.relay_token"] = "command:%s" % path
    for mode, error in ((None, "No such file"), (0o644, "no program"),
                        (0o757, "everybody may write")):
        if mode is not None:
            path.write_text("#!/bin/sh\n")
            path.chmod(mode)
        m.write_conf()
        done = m.tool("config", "--check", check=False)
        assert done.returncode == 78 and error in done.stderr.decode(), done
    assert stat.S_IMODE(path.stat().st_mode) == 0o757


# --- over TLS -----------------------------------------------------------------

@pytest.fixture(scope="module")
def ca():
    with Authority() as a:
        yield a


@pytest.fixture(scope="module")
def dns():
    with DnsServer({"hub.test": "@ MX 10 mx\n@ A 127.0.0.1\nmx A 127.0.0.1\n"
                    "near A 127.0.0.1\n"
                    "moved MX 10 mx.evil.test.",
                    "evil.test": "mx A 127.0.0.1"}) as d:
        yield d


def over_tls(dns, ca, peer, hop, **more):
    found = settings(peer, **more)
    found.update({"send.relay_host": "%s:%d" % (hop, peer.port),
                  "send.tls": more.get("send__tls", "may"),
                  "send.tls_ca": ca.path, "dns.servers": [dns.address]})
    return found


TLS = [  # hop, names of the certificate ("-": no authority's), more, status
    ("[hub.test]", "hub.test", {}, None),
    ("[near.hub.test]", "near.hub.test", {}, None),
    ("hub.test", "mx.hub.test", {}, None),  # its MX, below it
    ("hub.test", "hub.test", {}, None),
    ("[hub.test]", None, {}, "4.7.4"),
    ("[hub.test]", "other.test", {}, "4.7.5"),
    ("[hub.test]", "x.test", {}, "4.7.5"),  # the recipient's domain
    ("[hub.test]", "-hub.test", {}, "4.7.5"),
    ("moved.hub.test", "mx.evil.test", {}, "4.7.5"),  # that of the MX alone
    ("[hub.test]", "-hub.test", {"send__tls": "encrypt"}, "4.7.5"),
    ("[hub.test]", "-hub.test", {"send__tls_policy": ["[hub.test]=encrypt"]},
     None),
    ("[hub.test]", None, {"send__tls_policy": ["[hub.test]=encrypt"]},
     "4.7.4"),
    ("[hub.test]", "other.test", {"send__tls_policy": ["x.test=may"]},
     "4.7.5"),
    ("[hub.test]", None, {"send__tls_policy": ["[hub.test]=none"]}, "4.7.4"),
    ("[hub.test]", "other.test", {"send__tls": "none", "send__tls_policy": [
        "[hub.test]=verify"]}, "4.7.5"),
    ("[hub.test]", None, {"send__tls": "none"}, None),
    ("[hub.test]", None, {"send__tls": "none",
                          "send__tls_policy": ["x.test=may"]}, None),
]


@pytest.mark.parametrize("hop,names,more,status", TLS)
def test_what_tls_a_login_needs(mta, dns, ca, hop, names, more, status):
    """Offered in clear too, AUTH is used as the policy says and not before."""
    tls = names and ca.context(names.lstrip("-"),
                               self_signed=names.startswith("-"))
    with AuthPeer("PLAIN", tls=tls) as peer:
        m = mta("run", over_tls(dns, ca, peer, hop, **more))
        submit(m, ["u@x.test"])
        if status is None:
            until("delivered", lambda: peer.messages)
            assert bool(peer.sessions[0].tls) == bool(names)
            return
        shown = until("waits", lambda: [r for r in waits(m) if r["status"]])[0]
        assert shown["status"] == status, shown
        if names in ("other.test", "x.test", "mx.evil.test"):
            assert shown["reply"].endswith(
                "does not name host %s, which our login is for" %
                hop.strip("[]")), shown
        assert not any(x.startswith(("AUTH", "MAIL")) for s in peer.sessions
                       for x in s.lines)


@pytest.mark.parametrize("tls", [False, True])
def test_mail_with_and_without_a_login_at_one_host(mta, dns, ca, tls):
    """One socket, but never one session."""
    context = ca.context("hub.test") if tls else None
    with AuthPeer("PLAIN", needs=False, tls=context) as peer:
        used = []

        def mail(session, line):
            used.append((line.split("<")[1].split("@")[0],
                         getattr(session, "user", None)))
            return "250 2.1.0 ok"
        peer.answers["MAIL"] = mail
        m = mta("run", over_tls(dns, ca, peer, "[hub.test]", send__routes=[
            "free.test=[127.0.0.1]:%d" % peer.port],
            send__tls="may" if tls else "none"))
        for n in range(6):
            submit(m, ["u@x.test"], "login%d@src.test" % n)
            submit(m, ["u@free.test"], "free%d@src.test" % n)
        until("delivered", lambda: len(peer.messages) == 12)
        assert all((user is not None) == who.startswith("login")
                   for who, user in used), used
        assert peer.most == 1
