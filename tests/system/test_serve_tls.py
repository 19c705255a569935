"""TLS of the server: STARTTLS, TLS from the first octet, certificates,
tickets, faults."""

import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import time

import pytest

import certs
from exim import Exim, is_here
from harness import DEADLINE, Clock, Raw, connect, free_port, until
from postfix import Postfix
from processes import by_role

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NAME = "mx.here.test"


def tls_settings(pairs, **more):
    return dict({"serve.tls_cert": [p[0] for p in pairs],
                 "serve.tls_key": [p[1] for p in pairs],
                 "serve.extra_commands": ["STARTTLS"]}, **more)


def with_tls(mta, command="serve", pairs=None, tls_port=False, start=True,
             env=None, **settings):
    """A server with a certificate; m.cert, m.key are its files, m.tls_port
    its second address, with TLS from the first octet."""
    m = mta(command, start=False, env=env)
    pairs = [p(m.dir) for p in pairs or [lambda d: certs.make(d, NAME)]]
    m.cert, m.key = pairs[0]
    m.settings.update(tls_settings(pairs, **settings))
    if tls_port:
        m.tls_port = free_port()
        m.settings["serve.listen"] = ["127.0.0.1:%d" % m.port,
                                      "127.0.0.1:%d tls" % m.tls_port]
    m.write_conf()
    return m.start() if start else m


def client_context(cert=None, version=None):
    """Trusts that certificate and no other; without one, all."""
    c = ssl.create_default_context(cafile=cert) if cert else \
        ssl._create_unverified_context()
    if version:
        c.minimum_version = c.maximum_version = version
    return c


def starttls(m, context=None, session=None, name=NAME):
    """A Raw in TLS, behind STARTTLS; .tls is its SSLSocket."""
    r = m.raw()
    assert r.say("EHLO client.test")[0] == 250
    assert r.say("STARTTLS") == (220, ["2.0.0 Ready to start TLS"])
    return secure(r, context, session, name)


def secure(r, context=None, session=None, name=NAME):
    r.file.close()
    r.sock = r.tls = (context or client_context()).wrap_socket(
        r.sock, server_hostname=name, session=session)
    r.file = r.sock.makefile("rb")
    return r


def implicit(m, context=None, name=NAME):
    r = Raw("127.0.0.1", m.tls_port, greet=False)
    return secure(r, context, None, name)


def send(r, to="ann@here.test", subject="x"):
    assert r.say("MAIL FROM:<a@client.test>")[0] == 250
    assert r.say("RCPT TO:<%s>" % to)[0] == 250
    assert r.say("DATA")[0] == 354
    code, lines = r.say("Subject: %s\r\n\r\ntext\r\n." % subject)
    assert code == 250, lines
    return lines[0].split()[-1]


def peer_cert(r):
    return hashlib.sha256(r.tls.getpeercert(binary_form=True)).hexdigest()


def logged(m, name, **fields):
    """The first such line, when it is there."""
    return until(name, lambda: m.events(name, **fields))[0]


def client_hello():
    out = ssl.MemoryBIO()
    hello = client_context().wrap_bio(ssl.MemoryBIO(), out,
                                      server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    return out.read()


def faults(m):
    return [e["error"] for e in m.events("serve.tls") if "error" in e]


# --- the command ------------------------------------------------------------

@pytest.mark.memory
def test_starttls(mta):
    m = with_tls(mta, "run")
    with starttls(m, client_context(m.cert)) as r:
        code, lines = r.say("EHLO client.test")
        assert code == 250 and "STARTTLS" not in lines
        mail = send(r)
        assert r.say("STARTTLS")[0] == 503
        assert r.say("NOOP")[0] == 502
        assert r.say("QUIT")[0] == 221
        version, (cipher, _, bits) = r.tls.version(), r.tls.cipher()
    text = m.copies("ann")[0].decode()
    folded = re.sub(r"\s+", " ", text)
    assert "(using %s with cipher %s (%d/%d bits)) by %s with ESMTPS id %s" % (
        version, cipher, bits, bits, NAME, mail) in folded, text
    tls = "%s/%s" % (version, cipher)
    accepted = logged(m, "serve.accepted", id=mail)
    assert accepted["tls"] == tls == "TLSv1.3/TLS_AES_128_GCM_SHA256"
    begun = logged(m, "serve.tls")
    assert (begun["sid"], begun["tls"], begun["resumed"]) == (
        accepted["sid"], tls, "no")
    end = logged(m, "serve.disconnect", sid=accepted["sid"])
    assert end["tls"] == tls


def test_clear_text_stays_clear(mta):
    m = with_tls(mta, "run")
    with m.raw() as r:
        code, lines = r.say("EHLO client.test")
        assert code == 250 and "STARTTLS" in lines
        mail = send(r)
        assert r.say("QUIT")[0] == 221
    text = m.copies("ann")[0].decode()
    assert "with ESMTP id" in text and "using" not in text
    assert logged(m, "serve.accepted", id=mail)["tls"] == "none"
    assert m.events("serve.tls") == []


@pytest.mark.parametrize("hello,body,word", [
    ("HELO", "", "SMTP"), ("EHLO", "", "ESMTPS"),
    ("EHLO", " SMTPUTF8", "UTF8SMTPS")])
def test_the_protocol_in_received(mta, hello, body, word):
    m = with_tls(mta, "run")
    with starttls(m) as r:
        assert r.say(hello + " client.test")[0] == 250
        assert r.say("MAIL FROM:<a@client.test>" + body)[0] == 250
        assert r.say("RCPT TO:<ann@here.test>")[0] == 250
        assert r.say("DATA")[0] == 354
        assert r.say("Subject: x\r\n\r\n.")[0] == 250
    assert " with %s id " % word in m.copies("ann")[0].decode()


def test_help_has_it_where_it_is_offered(mta):
    m = with_tls(mta, **{"serve.extra_commands": ["STARTTLS", "HELP"]})
    text = "2.0.0 HELO EHLO MAIL RCPT DATA RSET QUIT HELP"
    with m.raw() as r:
        assert r.say("HELP") == (214, [text + " STARTTLS"])
    with starttls(m) as r:
        assert r.say("HELP") == (214, [text])


def test_off_without_the_word(mta):
    m = with_tls(mta, **{"serve.extra_commands": ["NOOP"]}, tls_port=True)
    with m.raw() as r:
        assert "STARTTLS" not in r.say("EHLO client.test")[1]
        for _ in range(20):  # no error
            assert r.say("STARTTLS") == (
                502, ["5.5.1 Error: command not implemented"])
    with implicit(m) as r:
        assert r.reply()[0] == 220


def test_parameters_and_order(mta):
    m = with_tls(mta)
    with m.raw() as r:
        assert r.say("EHLO client.test")[0] == 250
        assert r.say("STARTTLS now") == (501, ["5.5.4 Syntax: STARTTLS"])
        assert r.say("MAIL FROM:<a@client.test>")[0] == 250
        assert r.say("STARTTLS") == (
            503, ["5.5.1 Error: MAIL transaction in progress"])
        assert r.say("RSET")[0] == 250
        assert r.say("STARTTLS")[0] == 220
        secure(r)
        assert r.say("MAIL FROM:<a@client.test>") == (
            503, ["5.5.1 Error: send HELO/EHLO first"])


@pytest.mark.parametrize("behind", [
    b"EHLO evil.test\r\nMAIL FROM:<evil@client.test>\r\n"
    b"RCPT TO:<ann@here.test>\r\nDATA\r\n",
    b"RSET\r\n", b"MAIL FROM:<ev", b"x" * 5000, b"\r\n"])
def test_text_in_clear_behind_starttls_is_thrown_away(mta, behind):
    """CVE-2011-0411: what a host on the way adds to the command must not
    count as the client's, in TLS."""
    m = with_tls(mta)
    with m.raw() as r:
        assert r.say("EHLO client.test")[0] == 250
        r.send(b"STARTTLS\r\n" + behind)
        assert r.reply() == (220, ["2.0.0 Ready to start TLS"])
        r.sock.settimeout(0.2)
        with pytest.raises(socket.timeout):
            r.sock.recv(1, socket.MSG_PEEK)
        r.sock.settimeout(DEADLINE)
        secure(r)
        r.send("NOOP\r\nEHLO client.test\r\n")
        assert r.reply()[0] == 502
        assert r.reply()[0] == 250
        send(r)


def test_text_in_clear_that_comes_later_ends_the_session(mta):
    """After the command was read it is no clear text, but a broken
    handshake."""
    m = with_tls(mta)
    with m.raw() as r:
        assert r.say("EHLO client.test")[0] == 250
        assert r.say("STARTTLS")[0] == 220
        r.send("EHLO evil.test\r\nMAIL FROM:<a@client.test>\r\n")
        rest = r.sock.recv(1000)
        assert not rest.startswith(b"2"), rest  # at most an alert
    until("it is logged", lambda: faults(m))
    assert m.events("serve.accepted") == []


# --- a listener for TLS -----------------------------------------------------

def test_tls_from_the_first_octet(mta):
    m = with_tls(mta, "run", tls_port=True)
    with implicit(m, client_context(m.cert)) as r:
        assert r.reply()[0] == 220
        code, lines = r.say("EHLO client.test")
        assert code == 250 and "STARTTLS" not in lines
        assert r.say("STARTTLS")[0] == 503
        send(r)
        assert r.say("QUIT")[0] == 221
        assert r.tls.recv(1) == b""  # with close_notify, else an exception
    assert "with ESMTPS id" in m.copies("ann")[0].decode()
    assert logged(m, "serve.listen", address="127.0.0.1:%d" % m.tls_port,
                  role="tls")
    assert "role" not in logged(m, "serve.listen",
                                address="127.0.0.1:%d" % m.port)


def test_clear_text_on_a_port_for_tls(mta):
    m = with_tls(mta, tls_port=True)
    for text in (b"EHLO client.test\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\0" * 99,
                 b"\x16\x03\x01\xff\xff" + b"x" * 70000):
        with connect("127.0.0.1", m.tls_port) as s:
            try:
                s.sendall(text)
                answer = s.recv(1000)
            except ConnectionResetError:
                answer = b""
            assert b"220" not in answer, answer
    until("all are logged", lambda: len(faults(m)) == 4)
    assert all(faults(m))
    until("they count as errors", lambda: len(m.events("serve.disconnect",
                                                       errors=1)) == 4)
    with implicit(m) as r:
        assert r.reply()[0] == 220


def test_a_role_that_comes_and_goes(mta):
    """The same socket, in another generation with another role."""
    m = with_tls(mta, tls_port=True)
    with implicit(m) as r:
        assert r.reply()[0] == 220
        m.settings["serve.listen"] = ["127.0.0.1:%d" % m.port,
                                      "127.0.0.1:%d" % m.tls_port]
        m.write_conf()
        m.kill(signal.SIGHUP)

        def is_clear():
            with connect("127.0.0.1", m.tls_port) as s:
                s.settimeout(0.5)
                try:
                    return s.recv(4) == b"220 "
                except (socket.timeout, ConnectionResetError):
                    return False
        until("clear text at that port", is_clear)
        assert r.say("EHLO client.test")[0] == 250
        send(r)


# --- versions, faults -------------------------------------------------------

@pytest.mark.parametrize("version,ok", [
    (ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_2, True),
    (ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1, False)])
def test_versions(mta, version, ok):
    m = with_tls(mta)
    context = client_context(None, version)
    context.set_ciphers("ALL:@SECLEVEL=0")
    if ok:
        with starttls(m, context) as r:
            assert r.say("EHLO client.test")[0] == 250
        return
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        starttls(m, context)
    until("it is logged", lambda: faults(m))
    assert "protocol" in faults(m)[0] or "version" in faults(m)[0], faults(m)


def s_client(m, *args, text=b"QUIT\r\n", port=None):
    done = subprocess.run(
        ["openssl", "s_client", "-connect", "127.0.0.1:%d" % (port or m.port),
         "-servername", NAME, "-ign_eof", *(() if port else ("-starttls", "smtp")), *args],
        input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=DEADLINE)
    return done.stdout.decode("utf-8", "replace")


def test_a_renegotiation_is_refused(mta):
    """R in s_client's input asks for one, in TLS 1.2."""
    m = with_tls(mta)
    p = subprocess.Popen(
        ["openssl", "s_client", "-connect", "127.0.0.1:%d" % m.port,
         "-starttls", "smtp", "-tls1_2"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until("its session", lambda: m.events("serve.tls"))
    p.stdin.write(b"R\n")
    p.stdin.flush()
    out = p.communicate(timeout=DEADLINE)[0].decode("utf-8", "replace")
    assert "RENEGOTIATING" in out, out
    assert "no renegotiation" in out or "error" in out, out
    with starttls(m) as r:
        assert r.say("EHLO client.test")[0] == 250


@pytest.mark.memory
def test_a_handshake_that_is_cut(mta):
    """At each place of the client's first message."""
    m = with_tls(mta, tls_port=True)
    record = client_hello()
    places = [0, 1, 4, 5, 6, 40, len(record) - 1, len(record)]
    for n in places:
        with connect("127.0.0.1", m.tls_port) as s:
            s.sendall(record[:n])
            s.shutdown(socket.SHUT_WR)
            while s.recv(10000):
                pass
    until("all are logged", lambda: len(faults(m)) == len(places))
    for i in range(0, len(record), 7):  # octets that are others
        with connect("127.0.0.1", m.tls_port) as s:
            s.sendall(record[:i] + bytes([record[i] ^ 0x55]) + record[i + 1:])
            s.shutdown(socket.SHUT_WR)
            try:
                while s.recv(10000):
                    pass
            except ConnectionResetError:
                pass
    with implicit(m) as r:
        assert r.reply()[0] == 220
    assert len(by_role(m.process.pid)["worker"]) == 2
    assert m.events("serve.worker", state="died") == []


def test_a_truncated_record_loses_no_mail_and_makes_none(mta):
    """A connection that ends within the text, in the middle of a record."""
    m = with_tls(mta)
    with starttls(m) as r:
        assert r.say("EHLO client.test")[0] == 250
        assert r.say("MAIL FROM:<a@client.test>")[0] == 250
        assert r.say("RCPT TO:<ann@here.test>")[0] == 250
        assert r.say("DATA")[0] == 354
        r.send("Subject: x\r\n\r\ntext\r\n")
        raw = r.tls.detach()
        with socket.socket(fileno=raw) as s:
            s.sendall(b"\x17\x03\x03\x00\x40" + b"x" * 20)
    until("it is over", lambda: m.events("serve.disconnect"))
    assert m.events("serve.accepted") == []
    assert m.queued() == []


def test_a_record_that_was_changed_ends_the_session(mta):
    m = with_tls(mta)
    with starttls(m) as r:
        assert r.say("EHLO client.test")[0] == 250
        with socket.socket(fileno=r.tls.detach()) as s:
            s.settimeout(DEADLINE)
            s.sendall(b"\x17\x03\x03\x00\x40" + b"x" * 64)
            while s.recv(1000):
                pass
    until("it is over", lambda: m.events("serve.disconnect"))
    assert m.events("serve.worker", state="died") == []


def test_a_handshake_has_its_time(mta):
    m = with_tls(mta, tls_port=True, **{"serve.command_timeout": "1s"})
    begin = time.monotonic()
    with connect("127.0.0.1", m.tls_port) as s:
        s.sendall(b"\x16\x03")
        assert s.recv(10) == b""
    assert 0.5 < time.monotonic() - begin < 20
    until("it is logged", lambda: "handshake timed out" in faults(m))


def test_drops_of_octets_give_no_more_time(mta):
    """One octet each quarter of a second is no progress."""
    m = with_tls(mta, tls_port=True, **{"serve.command_timeout": "2s"})
    with connect("127.0.0.1", m.tls_port) as s:
        s.setblocking(False)
        begin = time.monotonic()

        def is_closed():
            try:
                s.send(b"\x16\x03\x01\x01\x00\x01"[:1])
                return False
            except (BrokenPipeError, ConnectionResetError):
                return True
            except BlockingIOError:
                return False
            finally:
                time.sleep(0.25)
        until("it is closed", is_closed)
        assert time.monotonic() - begin < 15


def descriptors(m):
    return sum(len(os.listdir("/proc/%d/fd" % pid))
               for pid in by_role(m.process.pid)["worker"])


def test_stop_in_a_handshake(mta):
    m = with_tls(mta, tls_port=True, stop_timeout="40s")
    m.clients_left()
    before = descriptors(m)
    with connect("127.0.0.1", m.tls_port) as s:
        until("it is there", lambda: descriptors(m) > before)
        begin = time.monotonic()
        assert m.stop() == 0
        assert time.monotonic() - begin < 20
        assert s.recv(1) == b""


def work_before(m, r, many, record):
    """The ms that the worker works before the reply to a command, when that and
    all handshakes begin at the same time."""
    worker, = by_role(m.process.pid)["worker"]
    os.kill(worker, signal.SIGSTOP)
    for s in many:
        s.sendall(record)
    r.send("RSET\r\n")

    def worked():
        with open("/proc/%d/schedstat" % worker) as f:
            return int(f.read().split()[0]) / 1e6
    before = worked()
    os.kill(worker, signal.SIGCONT)
    assert r.reply()[0] == 250
    return worked() - before


def test_many_handshakes_delay_no_other(mta):
    """Those of RSA, which cost the server the most, and a client in clear."""
    m = with_tls(mta, tls_port=True,
                 pairs=[lambda d: certs.make(d, NAME, "rsa")],
                 **{"serve.workers": 1, "serve.max_clients_per_ip": 900})
    record, took = client_hello(), []
    with m.raw() as r:
        assert r.say("EHLO client.test")[0] == 250
        m.clients_left()
        begun = descriptors(m)
        for _ in range(10):
            until("the others have left", lambda: descriptors(m) <= begun)
            many = [connect("127.0.0.1", m.tls_port) for _ in range(150)]
            until("they are there", lambda: descriptors(m) >= begun + 150)
            try:
                took.append(work_before(m, r, many, record))
                for s in many:  # none of them starves
                    assert s.recv(5)[:1] == b"\x16"
            finally:
                for s in many:
                    s.close()
            if took[-1] < 50:
                return
    raise AssertionError(took)


# --- several certificates ---------------------------------------------------

def test_by_name_and_kind(mta):
    """SNI: two names, one of them with an RSA certificate besides."""
    m = with_tls(mta, pairs=[lambda d: certs.make(d, NAME),
                             lambda d: certs.make(d, NAME, "rsa"),
                             lambda d: certs.make(d, "b.test", names=[
                                 "b.test", "*.b.test"])])
    prints = [certs.fingerprint(c) for c in m.settings["serve.tls_cert"]]
    ec, rsa, other = prints
    only_rsa = client_context(None, ssl.TLSVersion.TLSv1_2)
    only_rsa.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
    for name, context, want in [
            (NAME, None, ec), ("b.test", None, other), ("MX.b.test", None,
                                                        other),
            ("unknown.test", None, ec), (NAME, only_rsa, rsa)]:
        context = context or client_context()
        context.check_hostname = False
        with starttls(m, context, name=name) as r:
            assert peer_cert(r) == want, name
    context = client_context()
    context.check_hostname = False
    with starttls(m, context, name=None) as r:
        assert peer_cert(r) == ec
    out = s_client(m, "-tls1_3", "-sigalgs", "RSA-PSS+SHA256")
    assert "Peer signature type: RSA-PSS" in out, out


# --- settings ---------------------------------------------------------------

def refusal(m):
    """What `config --check` says, which is what a start says, too."""
    done = m.tool("config", "--check", check=False)
    with open(m.stderr, "ab"):
        pass
    started = subprocess.run([os.environ.get("MTA", "mta"), "serve", "-c",
                              m.conf], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, timeout=DEADLINE)
    assert done.returncode == started.returncode != 0
    said = done.stderr.decode()
    tail = said[said.rindex("mta config: ") + len("mta config: "):]
    assert tail in started.stderr.decode()
    return tail


def line_of(m, key):
    with open(m.conf) as f:
        for n, line in enumerate(f, 1):
            if line.startswith(key.split(".")[1] + " ="):
                return n
    raise AssertionError(key)


def spoil(m, what):
    """Returns the setting that is to blame, and words of the error."""
    other = certs.make(m.dir, "other.test")
    if what == "no certificate":
        shutil.copy(m.key, m.cert)
        return "tls_cert", "certificate"
    if what == "no key":
        shutil.copy(m.cert, m.key)
        return "tls_key", "key"
    if what == "another key":
        shutil.copy(other[1], m.key)
        return "tls_key", "mismatch"
    if what == "missing key":
        os.unlink(m.key)
        return "tls_key", "No such file"
    if what == "missing certificate":
        os.unlink(m.cert)
        return "tls_cert", "No such file"
    if what == "a directory":
        os.unlink(m.cert)
        os.mkdir(m.cert)
        return "tls_cert", "not a file"
    if what == "key with a password":
        certs.openssl("pkcs8", "-topk8", "-in", m.key, "-out", m.key + ".new",
                      "-passout", "pass:secret")
        os.rename(m.key + ".new", m.key)
        return "tls_key", "password"
    if what == "garbage":
        with open(m.cert, "wb") as f:
            f.write(os.urandom(5000))
        return "tls_cert", "certificate"
    m.settings["serve.tls_key"] = [m.key, m.key]
    m.write_conf()
    return "tls_key", "certificates: 1, keys: 2"


@pytest.mark.parametrize("what", [
    "no certificate", "no key", "another key", "missing key",
    "missing certificate", "a directory", "key with a password", "garbage",
    "counts"])
def test_bad_files(mta, what):
    m = with_tls(mta, start=False)
    key, words = spoil(m, what)
    said = refusal(m)
    place = "%s:%d: serve.%s: " % (m.conf, line_of(m, "serve." + key), key)
    assert said.startswith(place), said
    assert words in said, said


@AS_ROOT
def test_a_key_that_this_user_may_not_read(mta):
    m = with_tls(mta, start=False, user="")
    os.chmod(m.dir, 0o755)
    open(m.stderr, "w").close()
    os.mkdir(m.queue)
    os.chown(m.queue, pwd.getpwnam("nobody").pw_uid, -1)
    os.chmod(m.key, 0o600)

    def drop():
        os.setgid(pwd.getpwnam("nobody").pw_gid)
        os.setuid(pwd.getpwnam("nobody").pw_uid)
    done = subprocess.run([os.environ["MTA"], "config", "--check", "-c",
                           m.conf], preexec_fn=drop, stderr=subprocess.PIPE)
    assert done.returncode != 0
    assert b"serve.tls_key: open %s: Permission denied" % m.key.encode() in \
        done.stderr, done.stderr


@pytest.mark.parametrize("key,value", [
    ("serve.extra_commands", ["STARTTLS"]),
    ("serve.listen", ["127.0.0.1:4650 tls"])])
def test_tls_without_a_certificate(mta, key, value):
    m = mta("serve", {key: value}, start=False)
    said = refusal(m)
    assert said == "%s:%d: %s: TLS needs a certificate: set serve.tls_cert " \
        "and serve.tls_key\n" % (m.conf, line_of(m, key), key)


def test_an_expired_certificate_is_warned_about(mta):
    m = with_tls(mta, pairs=[lambda d: certs.expired(d, NAME)])
    done = m.tool("config", "--check")
    assert b"serve.tls_cert: %s has expired on 20" % m.cert.encode() in \
        done.stderr, done.stderr
    assert "has expired" in m.errors()
    line = logged(m, "serve.certificate")
    assert (line["level"], line["error"], line["file"]) == (
        "warn", "expired", m.cert)
    with starttls(m) as r:  # who does not look may go on
        assert r.say("EHLO client.test")[0] == 250


def test_a_certificate_without_use_is_warned_about(mta):
    m = with_tls(mta, start=False, **{"serve.extra_commands": []})
    done = m.tool("config", "--check")
    assert b"serve.tls_cert: nothing uses it: add STARTTLS" in done.stderr
    m.settings["serve.extra_commands"] = ["STARTTLS"]
    m.write_conf()
    assert b"nothing uses it" not in m.tool("config", "--check").stderr


def test_one_file_may_be_both(mta):
    m = with_tls(mta, start=False)
    with open(m.cert, "ab") as f, open(m.key, "rb") as key:
        f.write(key.read())
    m.settings["serve.tls_key"] = [m.cert]
    m.write_conf()
    m.start()
    with starttls(m) as r:
        assert r.say("EHLO client.test")[0] == 250


# --- files that change ------------------------------------------------------

def replace(files, by):
    """As programs that renew certificates do: another file, same name."""
    for old, new in zip(files, by):
        shutil.copy(new, old + ".new")
        os.rename(old + ".new", old)


def in_force(m):
    with starttls(m) as r:
        return peer_cert(r)


def all_workers_have(m, want):
    """Each client may be another worker's."""
    return all(in_force(m) == want for _ in range(12))


def test_a_new_certificate_is_noticed(mta):
    """Within a minute, without a signal; open sessions go on."""
    m = with_tls(mta)
    old = certs.fingerprint(m.cert)
    new = certs.make(m.dir, NAME, tag="-new")
    assert all_workers_have(m, old)
    with starttls(m) as r:
        assert r.say("EHLO client.test")[0] == 250
        workers = by_role(m.process.pid)["worker"]
        replace((m.cert, m.key), new)
        until("all workers have it", lambda: all_workers_have(
            m, certs.fingerprint(new[0])), 60)
        assert by_role(m.process.pid)["worker"] == workers
        send(r)
        assert peer_cert(r) == old
    until("both are named", lambda: [e["file"] for e in m.events(
        "serve.certificate")] == [m.cert] * 2)
    assert [e for e in m.events("config.reload") if "error" in e] == []


@pytest.mark.parametrize("by", ["signal", "itself"])
def test_a_bad_new_certificate_changes_nothing(mta, by):
    m = with_tls(mta)
    old = certs.fingerprint(m.cert)
    new = certs.make(m.dir, NAME, tag="-new")
    replace((m.cert,), new[:1])  # its key is still the old one
    if by == "signal":
        m.kill(signal.SIGHUP)
    loud = until("it is loud", lambda: m.events("config.reload",
                                                level="error"), 60)
    assert m.cert in loud[0]["error"] or m.key in loud[0]["error"], loud
    assert "serve.tls_" in loud[0]["error"], loud
    assert "serve.tls_" in m.errors()
    assert all_workers_have(m, old)
    for pid in by_role(m.process.pid)["worker"]:
        os.kill(pid, signal.SIGKILL)  # what follows has the old one, too
    until("others", lambda: len(m.events("serve.worker",
                                         state="started")) == 4)
    assert all_workers_have(m, old)
    replace((m.key,), new[1:])
    if by == "signal":
        m.kill(signal.SIGHUP)
    until("all workers have it", lambda: all_workers_have(
        m, certs.fingerprint(new[0])), 60)


@pytest.mark.memory
def test_a_reload_by_signal(mta):
    m = with_tls(mta)
    new = certs.make(m.dir, NAME, tag="-new")
    with starttls(m) as r:
        assert r.say("EHLO client.test")[0] == 250
        replace((m.cert, m.key), new)
        m.kill(signal.SIGHUP)
        until("all workers have it", lambda: all_workers_have(
            m, certs.fingerprint(new[0])))
        send(r)


def test_other_settings_are_another_generation(mta):
    """The certificate of another file; the old session ends by itself."""
    m = with_tls(mta)
    new = certs.make(m.dir, NAME, tag="-new")
    with starttls(m) as r:
        assert r.say("EHLO client.test")[0] == 250
        m.settings.update(tls_settings([new]))
        m.write_conf()
        m.kill(signal.SIGHUP)
        until("all workers have it", lambda: all_workers_have(
            m, certs.fingerprint(new[0])))
        send(r)
        assert r.say("QUIT")[0] == 221


@AS_ROOT
def test_a_key_that_only_root_can_read(mta):
    """At the start, at a reload, and when it changes; the processes run as
    another user, and those that are not the server's never had the key."""
    nobody = pwd.getpwnam("nobody")
    m = with_tls(mta, "run", start=False, user="nobody")
    os.makedirs(m.queue)
    for path in (m.queue, m.mail):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    os.chmod(m.dir, 0o755)
    keys = os.path.join(m.dir, "private")
    os.mkdir(keys, 0o700)
    os.rename(m.key, keys + "/key")
    m.key = keys + "/key"
    os.chmod(m.key, 0o400)
    m.settings["serve.tls_key"] = [m.key]
    m.write_conf()
    m.start()
    assert in_force(m) == certs.fingerprint(m.cert)
    new = certs.make(m.dir, NAME, tag="-new")
    replace((m.cert, m.key), new)
    os.chmod(m.key, 0o400)
    m.kill(signal.SIGHUP)
    until("all workers have it", lambda: all_workers_have(
        m, certs.fingerprint(new[0])))
    with open(m.key) as f:
        secret = f.read().split("\n")[1].encode()
    roles = by_role(m.process.pid)
    for role in ("deliver", "sender", "log", "mailbox 1", "user helper"):
        for pid in roles.get(role, []):
            for fd in os.listdir("/proc/%d/fd" % pid):
                try:
                    with open("/proc/%d/fd/%s" % (pid, fd), "rb",
                              buffering=0) as f:
                        text = os.pread(f.fileno(), 100000, 0)
                except OSError:
                    continue
                assert secret not in text, (role, fd)


# --- tickets ----------------------------------------------------------------

def resumed_of(m, session, context, n):
    """How many of n sessions resume that one."""
    count = 0
    for _ in range(n):
        with starttls(m, context, session) as r:
            assert r.say("EHLO client.test")[0] == 250
            count += r.tls.session_reused
            r.say("QUIT")
    return count


def first_session(m, context):
    with starttls(m, context) as r:
        assert r.say("EHLO client.test")[0] == 250  # TLS 1.3: tickets come now
        assert not r.tls.session_reused
        return r.tls.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2,
                                     ssl.TLSVersion.TLSv1_3])
def test_resumption_by_any_worker(mta, version):
    m = with_tls(mta, **{"serve.workers": 4})
    context = client_context(None, version)
    session = first_session(m, context)
    assert resumed_of(m, session, context, 24) == 24
    until("all are logged", lambda: len(m.events("serve.tls",
                                                 resumed="yes")) == 24)
    workers = by_role(m.process.pid)["worker"]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    until("other workers", lambda: len(m.events("serve.worker",
                                                state="started")) == 8)
    assert resumed_of(m, session, context, 8) == 8
    new = certs.make(m.dir, NAME, tag="-new")
    replace((m.cert, m.key), new)
    m.kill(signal.SIGHUP)
    until("all workers have it", lambda: all_workers_have(
        m, certs.fingerprint(new[0])))
    assert resumed_of(m, session, context, 8) == 8


def ticket_keys(m):
    """The names of the keys that tickets of several sessions have: their first
    16 octets."""
    def name():
        return re.search(r"TLS session ticket:\s+0000 - ([0-9a-f -]{47})",
                         s_client(m, "-tls1_2"))
    return {until("a ticket", name).group(1) for _ in range(8)}


@pytest.mark.slow
def test_keys_of_tickets_are_renewed(mta):
    """After six hours all workers have the same new one."""
    with Clock(500) as c:
        m = with_tls(mta, env=c.env, pairs=[
            lambda d: certs.make(d, NAME, days=20000)],
            **{"serve.command_timeout": "1h"})
        first = ticket_keys(m)
        assert len(first) == 1
        second = until("another key", lambda: ticket_keys(m) - first, 90)
        assert len(second) == 1
        assert ticket_keys(m) == second


def test_resumption_by_s_client(mta, tmp_path):
    m = with_tls(mta)
    kept = str(tmp_path / "session")
    out = s_client(m, "-sess_out", kept)
    assert "New, TLSv1.3" in out, out
    for _ in range(8):
        out = s_client(m, "-sess_in", kept)
        assert "Reused, TLSv1.3" in out, out


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2,
                                     ssl.TLSVersion.TLSv1_3])
def test_tickets_off(mta, version, tmp_path):
    """Outlook has refused servers that send a ticket again at each
    resumption."""
    m = with_tls(mta, **{"serve.tls_tickets": "off", "serve.workers": 1})
    context = client_context(None, version)
    with starttls(m, context) as r:
        assert r.say("EHLO client.test")[0] == 250
        session = r.tls.session
        assert session is None or not session.has_ticket
    assert session is None or resumed_of(m, session, context, 4) == 0
    out = s_client(m, "-tls1_3" if version == ssl.TLSVersion.TLSv1_3
                   else "-tls1_2")
    assert "TLS session ticket:" not in out, out


# --- what is kept of a session ----------------------------------------------

def test_queue_show_names_protocol_and_cipher(mta):
    m = with_tls(mta)
    with starttls(m) as r:
        assert r.say("EHLO client.test")[0] == 250
        mail = send(r, "x@far.test")
        tls = "%s/%s" % (r.tls.version(), r.tls.cipher()[0])
    with m.raw() as r:
        assert r.say("EHLO client.test")[0] == 250
        clear = send(r, "x@far.test")
    shown = m.tool("queue", "show", mail).stdout.decode()
    assert re.search(r"\bTLS\s+%s$" % re.escape(tls), shown, re.M), shown
    one = json.loads(m.tool("queue", "show", "--json", mail).stdout)
    assert one["tls"] == tls
    one = json.loads(m.tool("queue", "show", "--json", clear).stdout)
    assert "tls" not in one


# --- clients that others wrote ----------------------------------------------

TEXT = "From: a@client.test\nTo: ann@here.test\nSubject: plain\n\ntext\n"


def run(argv, text=None, env=None):
    done = subprocess.run(argv, input=text.encode() if text else None,
                          stdin=None if text else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=dict(os.environ, **(env or {})),
                          timeout=DEADLINE * 2)
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")


def by_swaks(m, tls):
    run(["swaks", "--server", "127.0.0.1", "--port",
         str(m.tls_port if tls else m.port), "--ehlo", "client.test", "--from",
         "a@client.test", "--to", "ann@here.test",
         "--tls-on-connect" if tls else "--tls", "--data", "-"], TEXT)


def by_curl(m, tls):
    port = m.tls_port if tls else m.port
    run(["curl", "-sS", "--url", "%s://%s:%d/client.test" % (
        "smtps" if tls else "smtp", NAME, port), "--resolve",
        "%s:%d:127.0.0.1" % (NAME, port), "--ssl-reqd", "--cacert", m.cert,
        "--mail-from", "a@client.test", "--mail-rcpt", "ann@here.test",
        "--crlf", "-T", "-"], TEXT)


def by_msmtp(m, tls):
    run(["msmtp", "-C", "/dev/null", "--host=127.0.0.1",
         "--port=%d" % (m.tls_port if tls else m.port),
         "--domain=client.test", "--from=a@client.test", "--tls=on",
         "--tls-starttls=" + ("off" if tls else "on"),
         "--tls-certcheck=off", "--auth=off", "--", "ann@here.test"], TEXT)


def by_smtplib(m, tls):
    context = client_context(m.cert)
    context.check_hostname = False
    if tls:
        s = smtplib.SMTP_SSL("127.0.0.1", m.tls_port, "client.test",
                             context=context, timeout=DEADLINE)
    else:
        s = smtplib.SMTP("127.0.0.1", m.port, "client.test", timeout=DEADLINE)
        s.starttls(context=context)
    with s:
        s.sendmail("a@client.test", ["ann@here.test"], TEXT)


CLIENTS = {"swaks": by_swaks, "curl": by_curl, "msmtp": by_msmtp,
           "smtplib": by_smtplib}


@pytest.mark.parametrize("tls", [False, True], ids=["starttls", "tls"])
@pytest.mark.parametrize("client", CLIENTS)
def test_client(mta, client, tls):
    m = with_tls(mta, "run", tls_port=True)
    CLIENTS[client](m, tls)
    text = m.copies("ann")[0].decode()
    assert "with ESMTPS id" in text and text.rstrip().endswith("text")


@AS_ROOT
@pytest.mark.parametrize("tls", [False, True], ids=["starttls", "tls"])
def test_postfix_relays_to_us(mta, tls):
    """With the certificate as its only authority, and the name checked."""
    m = with_tls(mta, "run", tls_port=True)
    os.chmod(m.dir, 0o755)
    with Postfix("mydestination =\nrelay_domains = here.test\n"
                 "relayhost = [127.0.0.1]:%d\n"
                 "smtp_tls_security_level = secure\n"
                 "smtp_tls_wrappermode = %s\n"
                 "smtp_tls_secure_cert_match = %s\n"
                 "smtp_tls_CAfile = %s\n"
                 "smtp_tls_loglevel = 1\n"
                 % (m.tls_port if tls else m.port, "yes" if tls else "no", NAME,
                    m.cert)) as p:
        for _ in range(3):
            with Raw(p.host, p.port) as c:
                c.say("EHLO client.test")
                send(c)
        until("all here", lambda: len(m.mailbox("ann")) == 3, 60)
        assert "Verified TLS connection established to" in p.log(), p.log()
    for text in m.mailbox("ann"):
        assert b"with ESMTPS id" in text.split(b"Received:")[1]


EXIM_CONF = """
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = t
begin transports
t:
  driver = smtp
  port = %d
  protocol = %s
  hosts_require_tls = *
  tls_tempfail_tryclear = false
"""


@is_here
@pytest.mark.parametrize("tls", [False, True], ids=["starttls", "tls"])
def test_exim_relays_to_us(mta, tls):
    """Whose TLS is GnuTLS's."""
    m = with_tls(mta, "run", tls_port=True)
    exim = Exim(EXIM_CONF % (m.tls_port if tls else m.port,
                             "smtps" if tls else "smtp"))
    try:
        exim.run("-odi", "-f", "a@client.test", "ann@here.test",
                 text="Subject: x\n\ntext\n")
        text = m.copies("ann")[0].split(b"Received:")[1]
    finally:
        exim.stop()
    assert b"from exim.test" in text and b"with ESMTPS id" in text
