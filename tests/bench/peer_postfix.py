"""Postfix as it is installed here, with settings and a queue of its own."""

import os
import subprocess

import harness
import postfix
from peers import MEMBERS, Peer, USERS

HOLD = """
smtpd_end_of_data_restrictions = check_client_access static:HOLD
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


class Server(postfix.Postfix):
    """Started inside of a control group."""

    def __init__(self, become, settings, base):
        super().__init__(settings, base=base)
        self.become = become

    def run(self, verb):
        subprocess.run(["postfix", "-c", self.dir + "/etc", verb], check=True,
                       preexec_fn=self.become, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)


class Postfix(Peer):
    name, title = "postfix", "Postfix"

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
        if self.mode in ("relay", "mx", "half") and self.tuned:
            text += TUNED
        return text % names

    def prepare(self):
        os.mkdir(self.dir + "/mail")
        os.chown(self.dir + "/mail", 8, 8)
        self.server = Server(self.become, self.settings(), self.dir)
        self.port = self.server.port

    def start(self):
        if self.server.master is None:
            self.server.start()
        else:
            self.server.run("start")

    def stop(self):
        self.server.run("stop")
        harness.until("postfix gone", lambda: not self.group.pids(), 60)

    def list_queue(self):
        return ["postqueue", "-c", self.server.dir + "/etc", "-p"]
