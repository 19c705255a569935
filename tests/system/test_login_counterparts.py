"""Logins at servers that others wrote: Dovecot's submission, Postfix with
Dovecot's SASL, and Exim."""

import os
import pwd
import shutil
import signal
import subprocess

import pytest

from auth import PASSWORD, USER
from exim import Exim, is_here, serving
from harness import connect, free_port, until
from peer import Peer
from pki import Authority
from postfix import Postfix

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

DOVECOT = """
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
auth_verbose = yes
protocols = submission
listen = 127.0.0.1
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
hostname = dovecot.test
ssl = {ssl}
ssl_cert = <{cert}
ssl_key = <{cert}
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_username_format = %u
mail_location = maildir:{dir}/mail
submission_relay_host = 127.0.0.1
submission_relay_port = {relay}
submission_relay_trusted = no
service submission-login {{
  inet_listener submission {{
    port = {port}
  }}
  chroot =
}}
service auth {{
  unix_listener {dir}/sasl {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
passdb {{
  driver = passwd-file
  args = scheme={scheme} username_format=%u {dir}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={dir}/home
}}
"""


def hashed(scheme):
    if scheme == "PLAIN":
        return "{PLAIN}" + PASSWORD
    return subprocess.run(["doveadm", "-O", "pw", "-s", scheme, "-p", PASSWORD],
                          check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


class Dovecot:
    """With a listener for submission, and one for the SASL of others."""

    def __init__(self, directory, cert, mechanisms, relay=1, scheme="PLAIN",
                 ssl="yes"):
        nobody = pwd.getpwnam("nobody")
        self.dir, self.port = directory, free_port()
        for sub in ("mail", "home"):
            os.mkdir("%s/%s" % (directory, sub))
            os.chown("%s/%s" % (directory, sub), nobody.pw_uid, nobody.pw_gid)
        with open(directory + "/users", "w", encoding="utf-8") as f:
            f.write("%s:%s::::::\n" % (USER, hashed(scheme)))
        conf = directory + "/dovecot.conf"
        with open(conf, "w", encoding="utf-8") as f:
            f.write(DOVECOT.format(
                dir=directory, port=self.port, uid=nobody.pw_uid, ssl=ssl,
                gid=nobody.pw_gid, cert=cert, mechanisms=mechanisms,
                relay=relay, scheme=scheme))
        self.process = subprocess.Popen(["dovecot", "-F", "-c", conf])
        until("Dovecot", lambda: os.path.exists(directory + "/sasl"))

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def place():
    """Short, for the paths of sockets."""
    path = "/tmp/mta-login-%d" % os.getpid()
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path)
    os.chmod(path, 0o755)
    yield path
    if os.path.exists(path + "/log"):
        with open(path + "/log", encoding="utf-8", errors="replace") as f:
            print(f.read())  # shown when a test fails
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def ca():
    with Authority() as a:
        yield a


def settings(hop, **more):
    return dict({"send.relay_host": hop, "send.relay_user": USER,
                 "send.relay_password": PASSWORD}, **more)


def submit(m, n=1):
    with m.smtp() as s:
        for i in range(n):
            s.sendmail("a@src.test", ["u%d@x.test" % i],
                       b"Subject: n%d\r\n\r\nhi\r\n" % i)


def refused(m):
    """The same with another password: kept, with the reply."""
    until("all is gone", lambda: not m.queued())
    m.settings["send.relay_password"] = "wrong"
    m.write_conf()
    m.kill(signal.SIGHUP)
    until("the next sender", lambda: len(m.events("send.start")) > 1)
    submit(m)
    said = until("refused", lambda: m.events("send.next_hop"))[0]
    assert "535" in said["error"], said
    assert len(m.queued()) == 1


@pytest.mark.parametrize("mechanism,scheme", [
    ("scram-sha-256", "SCRAM-SHA-256"), ("plain", "PLAIN"),
    ("login", "PLAIN")])
def test_dovecot_submission(mta, place, ca, mechanism, scheme):
    """Over TLS with a verified certificate; it relays to a host of ours."""
    cert = ca.issue("localhost")
    with Peer() as behind:
        d = Dovecot(place, cert, mechanism, behind.port, scheme)
        try:
            connect("127.0.0.1", d.port).close()
            m = mta("run", settings("[localhost]:%d" % d.port,
                                    **{"send.tls_ca": ca.path}))
            for n in range(3):
                submit(m)
                until("delivered", lambda: len(behind.messages) == n + 1)
            event = m.events("send.connect")[0]
            assert event["auth"] == mechanism.upper()
            assert event["tls"].startswith("TLSv1.3/")
            refused(m)
        finally:
            d.stop()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN", "LOGIN"])
def test_postfix_with_the_sasl_of_dovecot(mta, place, ca, mechanism):
    cert = ca.issue("localhost")
    d = Dovecot(place, cert, mechanism.lower(), scheme="PLAIN")
    try:
        with Postfix("smtpd_sasl_auth_enable = yes\n"
                     "smtpd_sasl_type = dovecot\n"
                     "smtpd_sasl_path = %s/sasl\n"
                     "smtpd_tls_chain_files = %s\n"
                     "smtpd_tls_auth_only = yes\n"
                     "mynetworks = 192.0.2.0/24\n"
                     "mydestination =\n"
                     "default_transport = discard:\n"
                     "smtpd_relay_restrictions = permit_sasl_authenticated,"
                     " reject\n" % (place, cert) +
                     "smtpd_tls_security_level = may\n") as p:
            m = mta("run", settings("[localhost]:%d" % p.port,
                                    **{"send.tls_ca": ca.path}))
            submit(m, 3)
            until("delivered", lambda: len(m.events("send.delivered")) == 3)
            assert m.events("send.connect")[0]["auth"] == mechanism
            refused(m)
    finally:
        d.stop()


AUTHENTICATOR = """
begin authenticators
%(driver)s:
  driver = plaintext
  public_name = %(name)s
  server_prompts = %(prompts)s
  server_condition = ${if and{{eq{$auth%(at)d}{%(user)s}}\\
    {eq{$auth%(then)d}{%(password)s}}}}
  server_set_id = $auth%(at)d
  server_advertise_condition = %(offered)s
"""
TLS = """
tls_advertise_hosts = *
tls_certificate = %s
"""


def exim_with_logins(mechanism, cert):
    """Only over TLS, if it has a certificate."""
    login = mechanism == "LOGIN"
    auth = AUTHENTICATOR % {
        "driver": mechanism.lower(), "name": mechanism, "user": USER,
        "password": PASSWORD, "at": 1 if login else 2,
        "then": 2 if login else 3,
        "prompts": "<| Username: | Password:" if login else ":",
        "offered": "${if def:tls_in_cipher}" if cert else "true"}
    return Exim(serving(TLS % cert if cert else "tls_advertise_hosts =",
                        "authenticated = *", auth))


@is_here
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_exim(mta, ca, mechanism, tls):
    cert = ca.issue("localhost") if tls else None
    with exim_with_logins(mechanism, cert) as exim:
        hop = "[localhost]:%d" if tls else "[127.0.0.1]:%d"
        how = {"send.tls_ca": ca.path} if tls else {"send.tls": "none"}
        m = mta("run", settings(hop % exim.port, **how))
        submit(m, 3)
        until("delivered", lambda: len(exim.stored()) == 3)
        event = m.events("send.connect")[0]
        assert event["auth"] == mechanism
        assert event.get("verified") == ("yes" if tls else None)
        assert (b"with esmtpsa" in exim.stored()[0]) == tls
        refused(m)
