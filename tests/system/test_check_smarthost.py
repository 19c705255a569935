"""`mta check`: the next hops of send.relay_host and send.logins, with their TLS
and our login."""

import os

import pytest

from auth import PASSWORD, USER, AuthPeer
from checking import as_nobody, check, one, reachable
from dnsserver import DnsServer
from harness import free_port
from peer import Peer
from pki import Authority


@pytest.fixture(scope="module")
def ca():
    with Authority() as a:
        yield a


@pytest.fixture(scope="module")
def dns():
    with DnsServer({
            "hub.test": "@ MX 10 mx\n@ A 127.0.0.1\nmx A 127.0.0.1\n"
                        "moved MX 10 mx.evil.test.",
            "pair.test": "@ MX 10 dead\n@ MX 20 mx\ndead A 127.0.0.2\n"
                         "mx A 127.0.0.1",
            "evil.test": "mx A 127.0.0.1"}) as d:
        yield d


@pytest.fixture
def hop(mta, dns, ca):
    """A system with one or more smarthosts, and a login there."""
    def make(hops, login=True, **settings):
        more = {"dns.servers": [dns.address], "send.relay_host": hops,
                "send.tls_ca": ca.path, "dns.timeout": "1s",
                "local.domains": ["localhost"]}
        if login:
            more.update({"send.relay_user": USER,
                         "send.relay_password": PASSWORD})
        more.update({k.replace("__", "."): v for k, v in settings.items()})
        return mta(settings=more, start=False)
    return make


def finding(m, **kwargs):
    [found] = check(m, "smarthost", **kwargs)
    assert PASSWORD not in str(found)
    return found


# --- TLS ----------------------------------------------------------------------

def context(ca, kind):
    return {"good": lambda: ca.context("hub.test"),
            "untrusted": lambda: ca.context("hub.test", self_signed=True),
            "expired": lambda: ca.context("hub.test", days=-1),
            "wrong name": lambda: ca.context("other.test"),
            "none": lambda: None}[kind]()


# certificate, what our settings demand, state, what, fix
LOGINS = [
    ("good", "verify", "ok", "(PLAIN, tls=TLSv1.3 verified=yes)", None),
    ("untrusted", "verify", "fault", "do not trust: self-signed certificate",
     "set send.tls_ca to the authority of its certificate"),
    ("expired", "verify", "fault", "do not trust: certificate has expired",
     "ask its operator to renew it, or set the clock of this host"),
    ("wrong name", "verify", "fault", "is not for hub.test",
     "put a name of its certificate in send.relay_host"),
    ("none", "verify", "fault", "offers no STARTTLS, which our settings",
     "use a port that has it (587), or set send.tls_policy"),
    ("good", "encrypt", "ok", "(PLAIN, tls=TLSv1.3 verified=yes)", None),
    ("untrusted", "encrypt", "ok", "(PLAIN, tls=TLSv1.3 verified=no)", None),
    ("expired", "encrypt", "ok", "(PLAIN, tls=TLSv1.3 verified=no)", None),
    ("wrong name", "encrypt", "ok", "(PLAIN, tls=TLSv1.3 verified=no)", None),
    ("none", "encrypt", "fault", "offers no STARTTLS, which our settings",
     "use a port that has it (587), or set send.tls_policy"),
]


@pytest.mark.parametrize("kind,level,state,what,fix", LOGINS)
def test_a_login_over_tls(hop, ca, kind, level, state, what, fix):
    """As the sender would: see test_what_tls_a_login_needs()."""
    with AuthPeer("PLAIN", tls=context(ca, kind)) as p:
        policy = ["[hub.test]=encrypt"] if level == "encrypt" else []
        found = finding(hop("[hub.test]:%d" % p.port,
                            send__tls_policy=policy))
        assert (found["state"], found["fix"]) == (state, fix), found
        assert what in found["what"], found
        assert found["what"].find("hub.test:%d" % p.port) >= 0, found
        assert bool(p.logins) == (state == "ok")
        if state == "ok":
            assert "takes our login as %s " % USER in found["what"]
            assert p.sessions[0].tls.sni == "hub.test"


@pytest.mark.parametrize("kind,level,state,what", [
    ("good", "may", "ok", "answers (tls=TLSv1.3 verified=yes)"),
    ("untrusted", "may", "ok", "answers (tls=TLSv1.3 verified=no)"),
    ("expired", "may", "ok", "answers (tls=TLSv1.3 verified=no)"),
    ("wrong name", "may", "ok", "answers (tls=TLSv1.3 verified=no)"),
    ("none", "may", "ok", "answers (tls=none)"),
    ("expired", "encrypt", "ok", "answers (tls=TLSv1.3 verified=no)"),
    ("expired", "verify", "fault", "do not trust: certificate has expired"),
    ("wrong name", "verify", "fault", "is not for hub.test"),
    ("good", "none", "ok", "answers (tls=none)"),
])
def test_tls_without_a_login(hop, ca, kind, level, state, what):
    with Peer(tls=context(ca, kind)) as p:
        found = finding(hop("[hub.test]:%d" % p.port, login=False,
                            send__tls=level))
        assert found["state"] == state and what in found["what"], found


@pytest.mark.parametrize("level,state", [("may", "warning"),
                                         ("encrypt", "fault")])
@pytest.mark.parametrize("answer", ["454 4.7.0 not now", None])
def test_starttls_that_does_not_work(hop, level, state, answer):
    offer = "250-peer.test\r\n250-STARTTLS\r\n250 OK"
    with Peer(answers={"EHLO": offer, "STARTTLS": answer}) as p:
        found = finding(hop("[hub.test]:%d" % p.port, login=False,
                            send__tls=level))
        assert found["state"] == state, found
        assert ("STARTTLS: 454 not now" if answer else
                "closed the connection") in found["what"], found
        assert ("goes in clear" in found["what"]) == (level == "may"), found
        assert "TLS 1.2" in found["fix"]


def test_the_name_of_an_mx(hop, ca):
    """Its name counts for a login below the host of the setting alone."""
    with AuthPeer("PLAIN", tls=ca.context("mx.hub.test")) as p:
        found = finding(hop("hub.test:%d" % p.port))
        assert found["state"] == "ok", found
    with AuthPeer("PLAIN", tls=ca.context("mx.evil.test")) as p:
        found = finding(hop("moved.hub.test:%d" % p.port))
        assert found["state"] == "fault", found
        assert "is not for moved.hub.test" in found["what"], found


def test_a_login_at_an_address(hop, ca):
    with AuthPeer("PLAIN", tls=ca.context("hub.test")) as p:
        found = finding(hop("[127.0.0.1]:%d" % p.port))
        assert found["state"] == "fault", found
        assert found["fix"] == (
            "put its name in send.relay_host, or have any certificate do: "
            'send.tls_policy = [ "[127.0.0.1]:%d=encrypt" ]' % p.port), found
        found = finding(hop("[127.0.0.1]:%d" % p.port, send__tls_policy=[
            "[127.0.0.1]:%d=encrypt" % p.port]))
        assert found["state"] == "ok", found
        assert p.sessions[1].tls.sni is None


def test_no_authorities(hop, ca):
    with AuthPeer("PLAIN", tls=ca.context("hub.test")) as p:
        m = hop("[hub.test]:%d" % p.port, send__tls_ca="")
        found = finding(m, env={"SSL_CERT_FILE": ca.path})
        assert found["state"] == "ok", found
        found = finding(m, env={"SSL_CERT_FILE": "/none"})
        assert found["state"] == "fault", found
        assert found["what"] == ("read CA certificates from /none "
                                 "(SSL_CERT_FILE): No such file or directory")
        assert "SSL_CERT_FILE out" in found["fix"], found
        m = hop("[hub.test]:%d" % p.port, send__tls_ca="", login=False)
        found = finding(m, env={"SSL_CERT_FILE": "/none"})
        assert found["state"] == "ok", found


# --- the login ----------------------------------------------------------------

CLEAR = {"send__tls": "none"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
def test_mechanisms(hop, mechanism):
    with AuthPeer(mechanism) as p:
        at = "[127.0.0.1]:%d" % p.port
        found = finding(hop(at, **CLEAR))
        assert found["state"] == "ok", found
        assert "takes our login as %s (%s, tls=none)" % (USER, mechanism) in \
            found["what"]
        found = finding(hop(at, send__relay_password="wrong", **CLEAR))
        assert found["state"] == "fault", found
        assert "refuses our login as %s: 535 auth" % USER in found["what"]
        assert found["fix"] == "see send.relay_user and send.relay_password"
        assert "wrong" not in found["what"]


def test_a_host_without_our_mechanisms(hop):
    with AuthPeer("CRAM-MD5") as p:
        found = finding(hop("[127.0.0.1]:%d" % p.port, **CLEAR))
        assert found["state"] == "fault", found
        assert 'none of our mechanisms of AUTH, but "CRAM-MD5"' in \
            found["what"], found


def test_a_host_that_cannot_tell(hop):
    with AuthPeer("PLAIN", answers={"AUTH": "454 4.7.0 later"}) as p:
        found = finding(hop("[127.0.0.1]:%d" % p.port, **CLEAR))
        assert found["state"] == "warning", found
        assert "does not decide on our login" in found["what"], found


def test_a_host_that_does_not_know_the_password(hop):
    with AuthPeer("SCRAM-SHA-256") as p:
        p.scram["final"] = "v=" + "A" * 43 + "="
        found = finding(hop("[127.0.0.1]:%d" % p.port, **CLEAR))
        assert found["state"] == "fault" and "fails" in found["what"], found


def test_a_host_that_hangs_up(hop):
    with AuthPeer("PLAIN", answers={"AUTH": None}) as p:
        found = finding(hop("[127.0.0.1]:%d" % p.port, **CLEAR))
        assert found["state"] == "fault", found
        assert "it closed the connection" in found["what"], found


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_in_a_file(hop, tmp_path, mechanism):
    path = tmp_path / "token"
    with AuthPeer(mechanism, secret="t" * 900) as p:  # longer than a command
        m = hop("[127.0.0.1]:%d" % p.port, send__relay_password="",
                send__relay_token="file:%s" % path, **CLEAR)
        path.write_text("t" * 900 + "\n")
        assert finding(m)["state"] == "ok"
        path.write_text("old\n")
        found = finding(m)
        assert found["state"] == "fault", found
        assert "535" in found["what"] and "401" in found["what"], found
        assert found["fix"] == "see send.relay_user and send.relay_token"
        path.unlink()
        states = [(f["state"], f["what"]) for f in check(m, "smarthost")]
        assert states[0][0] == "fault" and str(path) in states[0][1]
        assert states[1] == ("warning", "127.0.0.1:%d answers; our login was "
                             "not tried" % p.port)


def script(path, text):
    path.write_text("#!/bin/sh\n" + text + "\n")
    path.chmod(0o755)
    return "command:" + reachable(path)


def test_a_token_by_a_command(hop, tmp_path):
    """The command runs as it does for the sender."""
    path = tmp_path / "get"
    with AuthPeer("XOAUTH2", secret="good") as p:
        m = hop("[127.0.0.1]:%d" % p.port, send__relay_password="",
                send__relay_token=script(path, "echo good"), **CLEAR)
        found = finding(m)
        assert found["state"] == "ok", found
        assert "(XOAUTH2, tls=none)" in found["what"], found
        script(path, "echo old")
        found = finding(m)
        assert found["state"] == "fault" and "535" in found["what"], found
        assert found["fix"] == "see send.relay_user and send.relay_token"
        for text, why in (("exit 3", "exit status 3"),
                          ("kill -9 $$", "died of signal 9"),
                          ("true", "it printed no token")):
            script(path, text)
            found = finding(m)
            assert found["state"] == "fault", found
            assert found["what"] == "no token for our login: token command " \
                "%s: %s" % (path, why), found
            assert found["fix"].startswith("run it as the user of mta: ")
    assert not os.path.exists(m.log)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
def test_a_token_command_of_another_user(hop, tmp_path):
    path = tmp_path / "get"
    with AuthPeer("XOAUTH2", secret="good") as p:
        m = hop("[127.0.0.1]:%d" % p.port, send__relay_password="",
                send__relay_token=script(path, "echo good"), **CLEAR)
        [found] = [f for f in as_nobody(m) if f["check"] == "smarthost"]
        assert found["state"] == "warning", found
        assert "runs as user root: it was not tried" in found["what"], found
        assert found["fix"] == "run it as root"


# --- next hops ----------------------------------------------------------------

def test_every_hop_with_a_login(hop, tmp_path):
    """Those of send.relay_host, then those of send.logins alone."""
    for name, secret in (("a", PASSWORD), ("b", "wrong")):
        (tmp_path / name).write_text(secret + "\n")
    with AuthPeer("PLAIN") as first, AuthPeer("PLAIN") as second, \
            AuthPeer("PLAIN") as third, AuthPeer("PLAIN") as fourth:
        at = ["[127.0.0.1]:%d" % p.port for p in (first, second, third,
                                                  fourth)]
        m = hop(at[:2], send__logins=[
            "%s %s file:%s/a" % (at[1], USER, tmp_path),
            "%s %s file:%s/a" % (at[2], USER, tmp_path),
            "%s %s file:%s/b" % (at[3], USER, tmp_path)], **CLEAR)
        found = check(m, "smarthost")
        assert [f["what"].split()[0] for f in found] == [
            a.replace("[", "").replace("]", "") for a in at]
        assert [f["state"] for f in found] == ["ok", "ok", "ok", "fault"]
        assert found[3]["fix"] == "see send.logins"
        assert [len(p.sessions) for p in (first, second, third, fourth)] == \
            [1, 1, 1, 1]


def test_a_login_without_a_smarthost(hop, tmp_path):
    (tmp_path / "a").write_text(PASSWORD + "\n")
    with AuthPeer("PLAIN") as p:
        m = hop([], login=False, send__routes=[
            "x.test=[127.0.0.1]:%d" % p.port], send__logins=[
            "[127.0.0.1]:%d %s file:%s/a" % (p.port, USER, tmp_path)], **CLEAR)
        assert finding(m)["state"] == "ok"
        assert check(m, "port") != []  # other mail leaves by MX


def test_one_of_several_is_dead(hop):
    dead = free_port()
    with Peer() as p:
        m = hop(["[127.0.0.1]:%d" % dead, "[127.0.0.1]:%d" % p.port,
                 "[none.hub.test]"], login=False)
        found = check(m, "smarthost")
        assert [f["state"] for f in found] == ["fault", "ok", "fault"]
        assert "Connection refused" in found[0]["what"]
        assert found[0]["fix"] == \
            "see send.relay_host, and whether a firewall is in the way"
        assert "none.hub.test" in found[2]["what"]
        assert found[2]["fix"] == "see send.relay_host"


def test_a_dead_address_of_a_smarthost(hop):
    """The sender goes on to the next one, and so does the check."""
    with Peer() as p:
        found = check(hop("pair.test:%d" % p.port, login=False), "smarthost")
        assert [f["state"] for f in found] == ["warning", "ok"], found
        assert "dead.pair.test (127.0.0.2:%d): Connection refused" % p.port \
            in found[0]["what"], found


def test_a_greeting_that_is_none(hop):
    with Peer(answers={"GREETING": "554 go away"}) as p:
        found = finding(hop("[127.0.0.1]:%d" % p.port, login=False))
        assert "it greets with 554 go away" in found["what"], found
    with Peer(answers={"GREETING": "220 a\x1b[31mb", "EHLO": "500 \x1b[2J"}
              ) as p:
        found = finding(hop("[127.0.0.1]:%d" % p.port, login=False))
        assert found["state"] == "fault" and "500" in found["what"], found
        assert "\x1b" not in found["what"]


def test_none(hop):
    m = hop([], login=False)
    assert check(m, "smarthost") == []
    assert one(m, "resolver")[0] == "ok"
