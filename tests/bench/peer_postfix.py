"""Postfix as it is installed here, with settings and a queue of its own."""

import os
import subprocess

import harness
import postfix
from peers import MEMBERS, Peer, SELECTOR, SIGNED, USERS

HOLD = """
smtpd_end_of_data_restrictions = check_client_access static:HOLD
"""
# Mail that does not come by SMTP, too.
HOLD_ALL = """
header_checks = static:HOLD
"""
MAILDIR = """
mydestination = localhost
virtual_mailbox_domains = local.test
virtual_mailbox_base = %(dir)s/mail
virtual_mailbox_maps = inline:{ %(users)s }
virtual_uid_maps = static:8
virtual_gid_maps = static:8
virtual_minimum_uid = 1
"""
ALIAS = MAILDIR + """
virtual_alias_maps = inline:{ { list@local.test = %(members)s } }
virtual_alias_expansion_limit = 2000
"""
SEND = """
smtp_tls_security_level = none
smtp_host_lookup = dns
disable_dns_lookups = %(no_dns)s
relayhost = %(hop)s
minimal_backoff_time = 10d
maximal_backoff_time = 10d
maximal_queue_lifetime = 100d
bounce_queue_lifetime = 100d
"""
# More at once, and no brake on clients while the queue manager is behind.
TUNED = """
in_flow_delay = 0
default_destination_concurrency_limit = 50
initial_destination_concurrency = 20
qmgr_message_active_limit = 40000
qmgr_message_recipient_limit = 200000
smtp_connection_cache_destinations = %(hop)s
"""


SERVE_TLS = """
smtpd_tls_security_level = may
smtpd_tls_chain_files = %(key)s, %(cert)s
"""
# A connection that is used again belongs to tlsproxy, which holds its TLS.
SEND_TLS = """
smtp_tls_security_level = encrypt
smtp_tls_connection_reuse = yes
"""
TLSPROXY = "tlsproxy unix - - n - 0 tlsproxy\n"
SIGN = """
smtpd_milters = unix:%(dir)s/opendkim.sock
milter_default_action = tempfail
"""
OPENDKIM = """
Syslog no
Mode s
Domain %(domain)s
Selector %(selector)s
KeyFile %(key)s
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
OversignHeaders From
Socket local:%(dir)s/opendkim.sock
PidFile %(dir)s/opendkim.pid
RequireSafeKeys no
InternalHosts 0.0.0.0/0
Background no
UMask 000
"""


class Server(postfix.Postfix):
    """Started inside of a control group."""

    def __init__(self, become, settings, base, services):
        super().__init__(settings, base=base)
        self.become, self.services = become, services

    def run(self, verb):
        subprocess.run(["postfix", "-c", self.dir + "/etc", verb], check=True,
                       preexec_fn=self.become, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)


class Postfix(Peer):
    name, title = "postfix", "Postfix"
    signer = None

    @staticmethod
    def version():
        return subprocess.run(["postconf", "-d", "-h", "mail_version"],
                              text=True, stdout=subprocess.PIPE,
                              check=False).stdout.strip()

    def log(self):
        return self.server.dir + "/log"

    def settings(self):
        no_dns = self.mode != "mx"
        names = {"dir": self.dir, "no_dns": "yes" if no_dns else "no",
                 "hop": "[%s]" % self.next_hop
                        if no_dns else "",
                 "members": ", ".join("user%d@local.test" % i
                                      for i in range(MEMBERS)),
                 "users": " ".join(
                     "user%d@local.test=user%d%s" % (
                         i, i, "/" * (self.mode != "mbox"))
                     for i in range(MEMBERS if self.mode == "alias"
                                    else USERS))}
        text = "default_process_limit = %d\n" % self.more.get("limit", 200)
        text += {"hold": HOLD, "maildir": MAILDIR, "mbox": MAILDIR,
                 "alias": ALIAS, "half": MAILDIR + SEND}.get(self.mode, SEND)
        text += HOLD_ALL * bool(self.more.get("local_mail"))
        if self.mode in ("relay", "mx", "half") and self.tuned:
            text += TUNED
        if self.serves_tls:
            names["cert"], names["key"] = self.place.certificate()
        text += SERVE_TLS * bool(self.serves_tls) + \
            SEND_TLS * bool(self.sends_tls) + SIGN * self.signs
        return text % names

    def prepare(self):
        os.mkdir(self.dir + "/mail")
        os.chown(self.dir + "/mail", 8, 8)
        self.server = Server(self.become, self.settings(), self.dir,
                             TLSPROXY * bool(self.sends_tls))
        self.port = self.server.port

    def start(self):
        if self.signs and self.signer is None:
            self.start_signer()
        if self.server.master is None:
            self.server.start()
        else:
            self.server.run("start")

    def start_signer(self):
        conf = self.dir + "/opendkim.conf"
        with open(conf, "w") as f:
            f.write(OPENDKIM % {"dir": self.dir, "domain": SIGNED,
                                "selector": SELECTOR,
                                "key": self.place.dkim_key()})
        self.signer = self.spawn("opendkim", "-f", "-x", conf)
        harness.until("opendkim", lambda: os.path.exists(
            self.dir + "/opendkim.sock"))

    def close(self):
        super().close()
        if self.signer is not None:
            self.signer.wait()

    def stop(self):
        self.server.run("stop")
        harness.until("postfix gone", lambda: not self.group.pids(), 60)

    def list_queue(self):
        return ["postqueue", "-c", self.server.dir + "/etc", "-p"]

    def sendmail(self):
        return ["/usr/sbin/sendmail", "-C", self.server.dir + "/etc"]
