"""TLS of the sender against scripted hosts: each fault of STARTTLS, of the
handshake and of the certificate, for mail that takes clear text and for mail
that does not."""

import os
import shutil
import signal
import socket
import ssl
import struct

import pytest

from dnsserver import DnsServer
from harness import is_alive, until
from pki import Authority, openssl
from processes import find
from scene import CHUNKING, PLAIN, ZONES, Host, scenes

MANY = range(6)
both_ways = pytest.mark.parametrize("extensions", [PLAIN, CHUNKING],
                                    ids=["DATA", "BDAT"])


@pytest.fixture(scope="module")
def dns():
    zones = dict(ZONES)
    zones["other.test"] = "@ MX 10 a.x.test."
    zones["twin.test"] = "@ MX 10 a\n@ MX 20 b\na A 127.0.0.1\nb A 127.0.0.1"
    zones["named.test"] = "@ MX 10 mx\nmx A 127.0.0.1"
    with DnsServer(zones) as d:
        yield d


@pytest.fixture(scope="module")
def ca():
    with Authority() as a:
        yield a


@pytest.fixture
def scene(mta, dns):
    yield from scenes(mta, dns)


def facts(event):
    return event["tls"], event.get("verified")


def delivered(s, numbers=MANY, host=None):
    s.until_taken("all", numbers, host)
    until("logged", lambda: len(s.m.events("send.delivered")) >=
          len(list(numbers)))
    return s.m.events("send.delivered")


def no_mail_command(host):
    """Not a command of a message reached it."""
    return not any(x.split(":")[0].upper() in (
        "MAIL FROM", "RCPT TO", "DATA", "BDAT")
        for lines in host.lines() for x in lines)


def waits(s, status, text, numbers=MANY):
    """All mail did a round with that status, and none was offered."""
    until("rounds", lambda: sorted(s.counts()) == list(numbers) and
          all(a == 0 and r >= 1 for a, r in s.counts().values()))
    found = [r for rs in s.waiting().values() for r in rs]
    assert {r["status"] for r in found} == {status}, found
    assert all(text in r["reply"] for r in found), found
    assert not s.m.events("send.bounced")
    assert no_mail_command(s.host)


# --- it works ---------------------------------------------------------------

@both_ways
def test_mail_goes_in_one_session_over_tls(scene, ca, extensions):
    s = scene(tls=ca.context("a.x.test"), extensions=extensions,
              send__tls_ca=ca.path)
    s.fill(MANY)
    events = delivered(s)
    assert len(s.host.sessions) == 1
    tls = s.host.sessions[0].tls
    assert tls.sni == "a.x.test"
    assert tls.version == "TLSv1.3"
    text = "%s/%s" % (tls.version, tls.cipher)
    assert {facts(e) for e in events} == {(text, "yes")}
    assert facts(s.m.events("send.connect")[0]) == (text, "yes")
    hello = [x for x in s.host.lines()[0] if x.startswith("EHLO")]
    assert len(hello) == 2  # what was offered in clear is forgotten


def test_tls_1_2_is_enough(scene, ca):
    context = ca.context("a.x.test")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    s = scene(tls=context, send__tls="verify", send__tls_ca=ca.path)
    s.fill(MANY)
    events = delivered(s)
    assert events[0]["tls"].startswith("TLSv1.2/")


def test_none_never_uses_it(scene, ca):
    s = scene(tls=ca.context("a.x.test"), send__tls="none")
    s.fill(MANY)
    events = delivered(s)
    assert {facts(e) for e in events} == {("none", None)}
    assert "STARTTLS" not in s.host.lines()[0]


def test_without_starttls_mail_goes_in_clear(scene):
    s = scene()
    s.fill(MANY)
    assert {facts(e) for e in delivered(s)} == {("none", None)}
    assert len(s.host.sessions) == 1


@pytest.mark.parametrize("how", ["expired", "self-signed", "wrong name",
                                 "unknown authority"])
def test_may_takes_any_certificate(scene, ca, how):
    names = ["elsewhere.test"] if how == "wrong name" else ["a.x.test"]
    context = ca.context(*names, days=-1 if how == "expired" else 10,
                         self_signed=how == "self-signed")
    s = scene(tls=context, **({} if how == "unknown authority" else
                              {"send__tls_ca": ca.path}))
    s.fill(MANY)
    events = delivered(s)
    assert {e["verified"] for e in events} == {"no"}
    assert events[0]["tls"].startswith("TLSv1.3/")
    assert len(s.host.sessions) == 1


def test_the_session_is_resumed(scene, ca):
    s = scene(tls=ca.context("a.x.test"), send__tls_ca=ca.path,
              send__tls="verify", send__session_messages=2)
    s.fill(MANY)
    delivered(s)
    resumed = [x.tls.resumed for x in s.host.sessions]
    assert resumed == [False, True, True]
    assert {e["verified"] for e in s.m.events("send.delivered")} == {"yes"}


def test_a_session_that_was_not_trusted_is_not_resumed_for_verify(scene, ca):
    context = ca.context("a.x.test", self_signed=True)
    s = scene(tls=context, send__tls_policy=["other.test=verify"],
              send__tls_ca=ca.path, send__session_linger="0s")
    s.fill(MANY)
    delivered(s)
    context.load_cert_chain(ca.issue("a.x.test"))  # it has the tickets still
    s.submit([10], domain="other.test")
    s.until_taken("verified", [10])
    assert not s.host.sessions[-1].tls.resumed


def test_replies_injected_behind_220_are_thrown_away(scene, ca):
    s = scene(tls=ca.context("a.x.test"), send__tls_ca=ca.path,
              send__tls="verify", answers={
                  "STARTTLS": "220 go\r\n250-evil\r\n250 CHUNKING\r\n"
                              "250 2.1.0 ok\r\n250 ok\r\n354 go"})
    s.fill(MANY)
    delivered(s)
    assert len(s.host.sessions) == 1
    assert not any("BDAT" in x for x in s.host.lines()[0])


def test_a_fast_link_of_many_messages(scene, ca):
    many = range(400)
    s = scene(tls=ca.context("a.x.test"), extensions=CHUNKING,
              send__tls="verify", send__tls_ca=ca.path)
    s.fill(many)
    delivered(s, many)
    assert len(s.host.sessions) == 1


# --- STARTTLS and the handshake ---------------------------------------------

def reset(session, _line):
    session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            struct.pack("ii", 1, 0))
    session.sock.close()


def garbage(session, _line):
    session.sock.sendall(b"220 go\r\n")
    session.sock.recv(1)
    session.sock.sendall(b"\x00this is no TLS" * 20)
    return None


def drops_in_handshake(session, _line):
    session.sock.sendall(b"220 go\r\n")
    session.sock.recv(10)
    return None


def drops_behind_handshake(session, _line):
    session.sock.sendall(b"220 go\r\n")
    session.secure()
    return None


def no_record(session, _line):
    """TLS breaks behind the handshake: the reply to EHLO is no record."""
    session.sock.sendall(b"220 go\r\n")
    session.secure()
    session.file.readline()
    raw = session.sock.detach()
    with socket.socket(fileno=raw) as s:
        s.sendall(b"250 in clear\r\n" * 4)
    return None


FAULTS = {"454": "454 4.7.0 TLS not available", "502": "502 5.5.1 what?",
          "421": "421 4.7.0 busy", "drop": None,
          "nonsense": "go ahead", "garbage": garbage,
          "drop in the handshake": drops_in_handshake,
          "drop behind the handshake": drops_behind_handshake,
          "no record": no_record}
faults = pytest.mark.parametrize("fault", list(FAULTS))


@faults
def test_may_goes_on_in_clear_at_once_and_for_an_hour(scene, ca, fault):
    s = scene(tls=ca.context("a.x.test"), answers={"STARTTLS": FAULTS[fault]},
              send__session_messages=len(MANY))
    s.fill(MANY)
    events = delivered(s)
    assert {facts(e) for e in events} == {("none", None)}
    assert {e["attempts"] for e in events} == {"1"}
    assert "STARTTLS" in s.host.lines()[0]
    assert "STARTTLS" not in s.host.lines()[1]
    failed = s.m.events("send.tls_failed")
    assert len(failed) == 1 and failed[0]["clear"] == "3600", failed
    s.submit([50])  # remembered
    s.until_taken("the next", [50])
    assert len(s.host.sessions) == 3
    assert "STARTTLS" not in s.host.lines()[2]
    assert len(s.m.events("send.tls_failed")) == 1
    assert not s.m.events("send.deferred")


@pytest.mark.parametrize("level", ["may", "verify"])
@pytest.mark.parametrize("fault", [drops_in_handshake, garbage, no_record],
                         ids=["drop", "garbage", "no record"])
def test_what_is_not_resumed_is_tried_in_full(scene, ca, level, fault):
    """A host that fails where a session is resumed, and only there."""
    def second(session, line):
        return (fault(session, line) if len(s.host.sessions) == 2
                else "220 go")
    s = scene(tls=ca.context("a.x.test"), answers={"STARTTLS": second},
              send__tls_ca=ca.path, send__tls=level,
              send__session_messages=len(MANY))
    s.fill(MANY)
    delivered(s)
    s.submit([50])
    s.until_taken("the next", [50])
    assert len(s.host.sessions) == 3
    last = s.host.sessions[2]
    assert last.tls is not None and not last.tls.resumed
    assert not s.m.events("send.tls_failed")
    assert not s.m.events("send.deferred")
    until("the reason", lambda: any(
        e.get("error") for e in s.m.events("send.disconnect")))


@faults
@pytest.mark.parametrize("level", ["encrypt", "verify"])
def test_stricter_mail_is_not_offered(scene, ca, fault, level):
    s = scene(tls=ca.context("a.x.test"), answers={"STARTTLS": FAULTS[fault]},
              send__tls=level, send__tls_ca=ca.path)
    s.fill(MANY)
    waits(s, "4.7.4", "cannot start TLS")
    failed = s.m.events("send.tls_failed")
    assert failed and failed[0]["for"] == "x.test"
    assert failed[0]["pause"] == "60" or int(failed[0]["pause"]) > 0
    assert len(s.m.events("send.deferred")) == 1
    s.recover(MANY)


def test_starttls_stripped_is_not_offered(scene):
    s = scene(send__tls="encrypt")
    s.fill(MANY)
    waits(s, "4.7.4", "TLS is required, but was not offered by host a.x.test")



@faults
def test_stricter_mail_goes_to_the_next_mx(scene, ca, fault):
    s = scene(domain="two.test", tls=ca.context("a.two.test"),
              answers={"STARTTLS": FAULTS[fault]}, second={},
              second_tls=ca.context("b.two.test"), send__tls="verify",
              send__tls_ca=ca.path)
    s.fill(MANY)
    events = delivered(s, host=s.hosts[1])
    assert {e["mx"] for e in events} == {"b.two.test"}
    assert {e["attempts"] for e in events} == {"1"}
    assert no_mail_command(s.host)


def test_tls_1_0_only(scene, ca):
    context = ca.context("a.x.test")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1
    s = scene(tls=context, send__tls_policy=["other.test=encrypt"])
    s.fill([0])
    delivered(s, [0])  # in clear
    s.submit([1], domain="other.test")
    until("a round", lambda: s.counts().get(1, (0, 0))[1] >= 1)
    assert s.host.taken() == [0]
    assert s.waiting()[1][0]["status"] == "4.7.4"


def weak(ca, how, tmp_path):
    """TLS as old hosts have it, which OpenSSL does not take by itself."""
    if how == "RSA-1024":
        return ca.context("a.x.test", bits=1024)
    c = ca.context("a.x.test", bits=2048)
    params = str(tmp_path / "dh.pem")
    openssl("dhparam", "-dsaparam", "-out", params, "1024")
    c.maximum_version = ssl.TLSVersion.TLSv1_2
    c.set_ciphers("DHE-RSA-AES128-SHA:@SECLEVEL=0")
    c.load_dh_params(params)
    return c


@pytest.mark.parametrize("how", ["RSA-1024", "DH-1024"])
def test_weak_tls_is_better_than_none(scene, ca, how, tmp_path):
    """For `may`.  Mail that demands TLS does not use it."""
    s = scene(tls=weak(ca, how, tmp_path), send__tls_ca=ca.path,
              send__tls_policy=["other.test=verify"],
              send__session_messages=2)
    s.fill(MANY)
    events = delivered(s)
    assert all(e["tls"].startswith("TLSv1") for e in events), events
    assert not s.m.events("send.tls_failed")
    assert not any(x.tls.resumed for x in s.host.sessions)
    s.submit([10], domain="other.test")
    until("a round", lambda: s.counts().get(10, (0, 0))[1] >= 1)
    reply = s.waiting()[10][0]
    assert (reply["status"], reply["reply"].split(":")[-1]) == {
        "RSA-1024": ("4.7.5", " EE certificate key too weak"),
        "DH-1024": ("4.7.4", " dh key too small while performing the TLS"
                             " handshake")}[how]
    assert sorted(s.host.taken()) == list(MANY)


# --- the certificate --------------------------------------------------------

CERTIFICATES = {
    "expired": (dict(days=-1), "certificate has expired"),
    "self-signed": (dict(self_signed=True), "self-signed certificate"),
    "wrong name": (None, "names neither host a."),
}
bad_certificates = pytest.mark.parametrize("fault", list(CERTIFICATES))


def bad_context(ca, fault, name):
    how = CERTIFICATES[fault][0]
    return (ca.context("elsewhere.test") if how is None
            else ca.context(name, **how))


@bad_certificates
def test_verify_offers_nothing_to_a_wrong_host(scene, ca, fault):
    s = scene(tls=bad_context(ca, fault, "a.x.test"), send__tls="verify",
              send__tls_ca=ca.path)
    s.fill(MANY)
    waits(s, "4.7.5", CERTIFICATES[fault][1])
    assert len(s.host.sessions) == 1
    assert [x.tls.version for x in s.host.sessions] == ["TLSv1.3"]
    assert "error" not in s.m.events("send.connect")[0]
    s.host.tls = ca.context("a.x.test")
    s.recover(MANY)


def test_an_unknown_authority_is_not_trusted(scene, ca):
    s = scene(tls=ca.context("a.x.test"), send__tls="verify")
    s.fill(MANY)
    waits(s, "4.7.5", "is not trusted")


@bad_certificates
def test_verify_goes_to_the_next_mx(scene, ca, fault):
    s = scene(domain="two.test", tls=bad_context(ca, fault, "a.two.test"),
              second={}, second_tls=ca.context("b.two.test"),
              send__tls="verify", send__tls_ca=ca.path)
    s.fill(MANY)
    events = delivered(s, host=s.hosts[1])
    assert {facts(e)[1] for e in events} == {"yes"}
    assert no_mail_command(s.host)


@pytest.mark.parametrize("how", ["certificate", "not offered"])
def test_two_names_of_an_address_do_not_take_turns(scene, ca, how):
    s = scene(domain="twin.test", send__tls="verify", send__tls_ca=ca.path,
              tls=ca.context("elsewhere.test") if how == "certificate"
              else None)
    s.fill(MANY)
    waits(s, "4.7.5" if how == "certificate" else "4.7.4", "")
    assert len(s.host.sessions) <= 2


def test_the_second_name_of_an_address_is_enough(scene, ca):
    s = scene(domain="twin.test", send__tls="verify", send__tls_ca=ca.path,
              tls=ca.context("b.twin.test"))
    s.fill(MANY)
    delivered(s)


def test_the_name_of_the_recipients_domain_is_enough(scene, ca):
    s = scene(tls=ca.context("x.test"), send__tls="verify",
              send__tls_ca=ca.path)
    s.fill(MANY)
    assert {facts(e)[1] for e in delivered(s)} == {"yes"}


def test_ssl_cert_file_is_the_systems(scene, ca):
    s = scene(tls=ca.context("a.x.test"), send__tls="verify",
              env={"SSL_CERT_FILE": ca.path})
    s.fill(MANY)
    delivered(s)


def test_encrypt_takes_any_certificate(scene, ca):
    s = scene(tls=ca.context("elsewhere.test", self_signed=True),
              send__tls="encrypt")
    s.fill(MANY)
    assert {facts(e)[1] for e in delivered(s)} == {"no"}


# --- mail of several kinds for one host -------------------------------------

def test_the_session_stays_for_mail_that_it_fits(scene, ca):
    """other.test leads to the same host, whose certificate is none for it."""
    s = scene(tls=ca.context("a.x.test", self_signed=True),
              send__tls_policy=["other.test=verify"], send__tls_ca=ca.path)
    s.submit(range(10, 13), domain="other.test")
    s.fill(MANY)
    delivered(s)
    until("rounds", lambda: all(r >= 1 and a == 0
                                for a, r in s.counts().values()))
    assert sorted(s.counts()) == [10, 11, 12]
    assert len(s.host.sessions) == 1
    assert s.host.taken() == list(MANY)
    assert {r["status"] for rs in s.waiting().values() for r in rs} == {
        "4.7.5"}


def test_mail_in_clear_and_mail_over_tls_take_turns(scene, ca):
    """One socket to the host, a session after the other."""
    s = scene(tls=ca.context("a.x.test"),
              send__tls_policy=["x.test=none", "other.test=verify"],
              send__tls_ca=ca.path)
    many, strict = range(300), range(1000, 1300)
    s.submit(many)
    s.submit(strict, domain="other.test")
    s.fill([])
    s.until_taken("all", list(many) + list(strict))
    assert s.host.most == 1
    by_session = {}
    for m in s.host.messages:
        by_session.setdefault(m.session, []).append(m)
    for x in s.host.sessions:
        strict_here = [m for m in by_session.get(x.number, ())
                       if "other.test" in m.rcpts[0]]
        assert x.tls or not strict_here
    until("logged", lambda: len(s.m.events("send.delivered")) == 600)
    for e in s.m.events("send.delivered"):
        if "other.test" in e["to"]:
            assert e["verified"] == "yes", e


def test_may_and_verify_at_a_host_without_tls(scene, ca):
    """Mail that takes clear text is not held up by mail that does not."""
    s = scene(answers={"STARTTLS": "454 4.7.0 not now"},
              tls=ca.context("a.x.test"),
              send__tls_policy=["other.test=verify"], send__tls_ca=ca.path)
    s.submit(range(10, 13), domain="other.test")
    s.fill(MANY)
    delivered(s)
    until("rounds", lambda: len(s.counts()) == 3 and
          all(r >= 1 and a == 0 for a, r in s.counts().values()))
    assert s.host.taken() == list(MANY)
    s.recover(list(MANY) + [10, 11, 12])


# --- next hops that are settings --------------------------------------------

def test_a_next_hop_by_its_name(mta, dns, ca):
    with Host(tls=ca.context("a.x.test")) as host:
        m = mta("run", {"dns.servers": [dns.address],
                        "send.relay_host": "[a.x.test]:%d" % host.port,
                        "send.tls_policy": ["[a.x.test]:%d=verify" %
                                            host.port],
                        "send.tls_ca": ca.path})
        with m.smtp() as c:
            c.sendmail("s1@src.test", ["u1@far.test"],
                       b"Subject: n1\r\n\r\nhi\r\n")
        until("taken", lambda: host.taken() == [1])
        assert host.sessions[0].tls.sni == "a.x.test"
        until("logged", lambda: m.events("send.delivered"))
        assert m.events("send.delivered")[0]["verified"] == "yes"


def test_queue_shows_version_and_cipher(scene, ca):
    s = scene(tls=ca.context("a.x.test"), answers={"DOT": "450 later"})
    s.fill([0])
    until("an attempt", lambda: s.counts().get(0) == (1, 0))
    tls = s.waiting()[0][0]["tls"]
    assert tls.startswith("TLSv1.3/TLS_"), tls
    text = s.m.tool("queue", "list").stdout.decode()
    assert ", tls " + tls in text
    assert s.m.events("send.deferred")[0]["tls"] == tls


# --- authorities that cannot be read ------------------------------------------

STRICT = ["other.test=verify"]


def only_the_strict_waits(s, numbers):
    """Mail that takes any certificate goes, other mail waits for a repair."""
    sender = find(s.m, "send")
    s.submit([20], domain="other.test")
    delivered(s, numbers)
    until("a round", lambda: s.counts().get(20, (0, 0))[1] >= 1)
    [r] = s.waiting()[20]
    assert r["status"] == "4.7.5", r
    assert find(s.m, "send") == sender and is_alive(sender)


def test_a_bad_variable_is_no_loss_of_others(scene, ca):
    """SSL_CERT_FILE is for all programs; the sender goes on without."""
    s = scene(tls=ca.context("a.x.test"), send__tls_policy=STRICT,
              env={"SSL_CERT_FILE": "/none"})
    s.fill(MANY)
    only_the_strict_waits(s, MANY)
    [e] = s.m.events("send.tls_ca")
    assert e["level"] == "error"
    assert "/none (SSL_CERT_FILE): No such file or directory" in e["error"]
    assert "warning: read CA certificates from /none (SSL_CERT_FILE)" in \
        s.m.errors()
    assert "starting it again" not in s.m.errors()


def test_authorities_that_go_while_it_runs(scene, ca, tmp_path):
    """A new sender finds them gone, and mail goes on all the same."""
    path = tmp_path / "ca.pem"
    shutil.copy(ca.path, path)
    s = scene(tls=ca.context("a.x.test"), send__tls_policy=STRICT,
              send__tls_ca=str(path))
    s.fill(MANY)
    delivered(s)
    path.unlink()
    old = find(s.m, "send")
    os.kill(old, signal.SIGKILL)
    until("another sender", lambda: find(s.m, "send") != old)
    s.submit([10])
    only_the_strict_waits(s, [*MANY, 10])
    assert "No such file" in s.m.events("send.tls_ca")[0]["error"]


def test_authorities_are_checked_at_a_start(mta, tmp_path):
    """A setting that names none is refused; a variable is warned of."""
    empty = tmp_path / "empty"
    empty.touch()
    m = mta("run", start=False)
    for path in ("/none", str(empty)):
        m.settings["send.tls_ca"] = path
        m.write_conf()
        for args in (["config", "--check"], ["run"]):
            done = m.tool(*args, check=False)
            assert done.returncode in (77, 78), done
            assert "send.tls_ca: read CA certificates from " + path in \
                done.stderr.decode(), done.stderr
        m.settings["send.tls_ca"] = ""
        m.write_conf()
        done = m.tool("config", "--check", env={"SSL_CERT_FILE": path})
        said = done.stderr.decode()
        assert "warning: read CA certificates from %s (SSL_CERT_FILE)" % path \
            in said and "unset it, or set send.tls_ca" in said, said
        m.settings["send.tls"] = "none"
        m.write_conf()
        done = m.tool("config", "--check", env={"SSL_CERT_FILE": path})
        assert b"SSL_CERT_FILE" not in done.stderr
        m.settings["send.tls"] = "may"
