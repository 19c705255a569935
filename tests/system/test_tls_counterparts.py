"""TLS with servers and clients that others wrote.  Postfix (OpenSSL) and Exim
(GnuTLS) are next hops that a real DNS server names as MX; mutt and openssl's
s_client are clients with their defaults.  More clients are in
test_serve_tls.py, logins in test_login_counterparts.py."""

import os
import pwd
import re
import signal
import subprocess

import pytest

import certs
import exim
from dnsserver import DnsServer
from harness import DEADLINE, until
from pki import Authority
from postfix import Postfix
from test_out_postfix import BODIES, HEAD, stored
from test_serve_tls import NAME, TEXT, with_tls

needs_root = pytest.mark.skipif(os.geteuid() != 0,
                                reason="Postfix must be started by root")
LARGE = 20000  # lines of the large text
TEXTS = dict(BODIES, large=b"Subject: large\r\n\r\n" +
             b"line of 440 kilobytes\r\n" * LARGE)
BAD = {
    "expired": (dict(days=-1), "certificate has expired"),
    "of another name": (None, "names neither host mx.far.test"),
    "self-signed": (dict(self_signed=True), "self-signed certificate"),
}


@pytest.fixture(scope="module")
def ca():
    with Authority() as a:
        yield a


class FarPostfix(Postfix):
    """It keeps mail for far.test in Maildirs."""

    def __init__(self, cert, chunking=True):
        super().__init__()
        who = pwd.getpwnam("nobody")
        mail = os.path.join(self.dir, "mail")
        os.mkdir(mail)
        os.chown(mail, who.pw_uid, who.pw_gid)
        self.settings = """
mydestination =
virtual_mailbox_domains = far.test
virtual_mailbox_base = %s
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:%d
virtual_gid_maps = static:%d
smtpd_tls_chain_files = %s
smtpd_tls_loglevel = 1
smtpd_tls_security_level = encrypt
smtpd_discard_ehlo_keywords = %s
""" % (mail, who.pw_uid, who.pw_gid, cert, "" if chunking else "chunking")

    def messages(self):
        return stored(self)

    def sessions(self):
        """The commands of those that got to TLS, as Postfix counts them."""
        return [dict(x.split("=") for x in line.split()) for line in re.findall(
            r": disconnect from \S+ (.*starttls=.*)", self.log())]

    def handshakes(self):
        return self.log().count("TLS connection established from")


class FarExim(exim.Exim):
    """The same.  Its log has the commands of sessions without mail; of the
    others each message says whether it came in a chunk (K)."""

    def __init__(self, cert, chunking=True):
        super().__init__(exim.serving(
            "tls_advertise_hosts = *\ntls_certificate = %s\n"
            "chunking_advertise_hosts = %s\n"
            "smtp_accept_queue_per_connection = 0\n"
            "smtp_accept_max_per_connection = 0\n"
            % (cert, "*" if chunking else "")))

    def messages(self):
        found = {}
        for text in self.stored():
            at = text.index(b"Subject: ")
            found[text[at + 9:].split(b"\n")[0].decode()] = text[at:]
        return found

    def sessions(self):
        found = [{c.lower(): "1" for c in line.split(",")} for line in
                 re.findall(r" no MAIL in .* C=(\S*STARTTLS\S*)", self.log())]
        took = re.findall(r" <= .* P=esmtps .*?( K)? S=", self.log())
        closed = self.log().count(" closed by QUIT") - len(found)
        if took and closed == 1:
            found.append({"starttls": "1", "bdat" if took[0] else "data":
                          str(len(took))})
        return found

    def handshakes(self):
        return len(self.sessions())


far = pytest.mark.parametrize("kind", [
    pytest.param(FarPostfix, id="postfix", marks=needs_root),
    pytest.param(FarExim, id="exim", marks=exim.is_here)])


@pytest.fixture(scope="module")
def dns():
    with DnsServer({"far.test": "@ MX 10 mx\nmx A 127.0.0.1"}) as d:
        yield d


def settings(dns, ca, host, **more):
    return dict({"dns.servers": [dns.address], "send.port": host.port,
                 "send.tls": "verify", "send.tls_ca": ca.path}, **more)


def submit(m, texts):
    with m.smtp() as s:
        for name, body in texts.items():
            s.sendmail("a@here.test", ["box@far.test"],
                       HEAD % name.encode() + body,
                       mail_options=["BODY=8BITMIME"])


# --- next hops ---------------------------------------------------------------

@far
@pytest.mark.parametrize("chunking", [True, False], ids=["BDAT", "DATA"])
def test_all_mail_in_one_verified_session(mta, dns, ca, kind, chunking):
    """Each text arrives byte for byte, and what the host had to say of the
    session is what our log says."""
    with kind(ca.issue("mx.far.test"), chunking) as host:
        m = mta("run", settings(dns, ca, host,
                                **{"send.session_linger": "60s"}))
        submit(m, TEXTS)
        until("all stored", lambda: len(host.messages()) == len(TEXTS))
        until("logged", lambda: len(m.events("send.delivered")) == len(TEXTS))
        for e in m.events("send.delivered") + m.events("send.connect"):
            assert e["tls"].startswith("TLSv1.3/") and e["verified"] == "yes"
        assert len(m.events("send.connect")) == 1
        assert not m.events("send.tls_failed") and m.queued() == []
        for name, body in TEXTS.items():
            assert host.messages()[name] == body.replace(b"\r\n", b"\n"), name
        m.stop()  # QUIT, without waiting for more mail
        until("its summary", lambda: host.sessions())
        [session] = host.sessions()
        verb = "bdat" if chunking else "data"
        assert session[verb] == str(len(TEXTS)), session
        assert host.handshakes() == 1


@far
@pytest.mark.parametrize("fault", list(BAD))
def test_nothing_is_sent_to_a_host_that_is_not_it(mta, dns, ca, kind, fault):
    """Mail waits with 4.7.5, and the host saw no command of a message; where
    the settings ask for less, it arrives."""
    how, why = BAD[fault]
    cert = ca.issue("elsewhere.test") if how is None else \
        ca.issue("mx.far.test", **how)
    texts = {n: TEXTS[n] for n in ("plain", "dots", "8bit")}
    with kind(cert) as host:
        m = mta("run", settings(dns, ca, host,
                                **{"send.retry_min": "1h",
                                   "send.retry_max": "1h"}))
        submit(m, texts)
        # Which starts another sender: the session of this one ends.
        until("a round", lambda: [q for q in m.queued() if all(
            r["rounds"] for r in q["recipients"])] == m.queued())
        rows = [r for q in m.queued() for r in q["recipients"]]
        assert len(rows) == 3 and {r["status"] for r in rows} == {"4.7.5"}
        assert all(why in r["reply"] for r in rows), rows
        assert all(r["attempts"] == 0 for r in rows), rows
        m.settings["send.tls"] = "encrypt"
        m.write_conf()
        m.kill(signal.SIGHUP)
        until("the session's end", host.sessions)
        session = host.sessions()[0]
        assert "starttls" in session and "quit" in session, session
        assert not {"mail", "rcpt", "data", "bdat"} & set(session), session

        def stored_all():
            m.kill(signal.SIGUSR1)
            return len(host.messages()) == len(texts)
        until("all stored", stored_all)
        until("logged", lambda: len(m.events("send.delivered")) == len(texts))
        assert {e["verified"] for e in m.events("send.delivered")} == {"no"}


@exim.is_here
def test_exim_queues_none_of_it(mta, dns, ca):
    """As Debian has it, it queues what follows the tenth message of a session:
    a session ends before, and what has come is in the mailbox without a run
    of its queue."""
    cert = ca.issue("mx.far.test")
    with exim.Exim(exim.serving("tls_advertise_hosts = *\n"
                                "tls_certificate = %s\n" % cert)) as host:
        m = mta("run", settings(dns, ca, host))
        submit(m, {"n%d" % n: b"Subject: n%d\r\n\r\nhi\r\n" % n
                   for n in range(45)})
        until("all stored", lambda: len(host.stored()) == 45)
        assert len(m.events("send.connect")) >= 5
        assert "no immediate delivery" not in host.log()
        assert host.run("-bpc").strip() == "0"


# --- clients -----------------------------------------------------------------

@pytest.mark.parametrize("tls", [False, True], ids=["starttls", "tls"])
def test_mutt(mta, tmp_path, tls):
    """Which is told where the server is and what certificate to trust, and
    nothing else: it asks for TLS by itself, and checks the name."""
    m = with_tls(mta, "run", pairs=[lambda d: certs.make(d, "localhost")],
                 tls_port=True)
    rc = tmp_path / "muttrc"
    rc.write_text('set smtp_url="%s://localhost:%d/"\n'
                  'set ssl_ca_certificates_file="%s"\n'
                  % ("smtps" if tls else "smtp",
                     m.tls_port if tls else m.port, m.cert))
    done = subprocess.run(
        ["mutt", "-n", "-F", str(rc), "-s", "Grüße", "ann@here.test"],
        input="Zeile ü\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=dict(os.environ, HOME=str(tmp_path), EMAIL="a@client.test",
                 LC_ALL="C.UTF-8", TERM="dumb"), timeout=DEADLINE, text=True)
    assert done.returncode == 0, done.stdout
    text = m.copies("ann")[0]
    assert b"with ESMTPS id" in text.split(b"Received:")[1]
    assert text.endswith(b"\n\nZeile \xfc\n")  # 8BITMIME, as mutt has it


def converse(process, lines):
    """Send each of the lines, or nothing, and read the reply to it; the codes
    of all."""
    codes = []
    for line in lines:
        if line:
            process.stdin.write(line + b"\r\n")
            process.stdin.flush()
        reply = process.stdout.readline()
        while reply[3:4] == b"-":
            reply = process.stdout.readline()
        codes.append(int(reply[:3]))
    return codes


@pytest.mark.parametrize("tls", [False, True], ids=["starttls", "tls"])
def test_s_client(mta, tls):
    """A message by hand."""
    m = with_tls(mta, "run", tls_port=True)
    how = ["-connect", "127.0.0.1:%d" % m.tls_port] if tls else \
        ["-connect", "127.0.0.1:%d" % m.port, "-starttls", "smtp"]
    with subprocess.Popen(
            ["timeout", "20", "openssl", "s_client", *how, "-quiet",
             "-verify_return_error", "-CAfile", m.cert, "-verify_hostname", NAME],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE) as p:
        codes = converse(p, [b""] * tls + [
            b"EHLO client.test", b"MAIL FROM:<a@client.test>",
            b"RCPT TO:<ann@here.test>", b"DATA",
            TEXT.replace("\n", "\r\n").encode() + b".", b"QUIT"])
        assert codes == [220] * tls + [250, 250, 250, 354, 250, 221]
        assert p.wait(DEADLINE) == 0
    assert b"with ESMTPS id" in m.copies("ann")[0]
