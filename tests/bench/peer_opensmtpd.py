"""OpenSMTPD, from Debian's opensmtpd, in a root of its own."""

import os

import harness
from peers import USERS
from root import Rooted

CONF = """
listen on 127.0.0.1 port %(port)d hostname osmtpd.test
smtp max-message-size 50M
smtp limit max-mails 1000000
smtp limit max-rcpt 100000
%(tuned)s
table boxes file:/etc/boxes
%(action)s
match from any for any action "it"
"""
# It opens few connections, pauses between them and takes 50 envelopes at a
# time for one relay unless it is told otherwise.
TUNED = """
mta limit max-conn-per-host 100
mta limit max-conn-per-route 100
mta limit max-conn-per-source 1000
mta limit max-conn-per-connector 1000
mta limit max-conn-per-relay 1000
mta limit conn-delay-route 0
mta limit conn-delay-relay 0
mta limit reconn-delay-route 0
mta limit session-mail-max 1000000
mta limit session-keepalive 30
mta limit task-hiwat 5000
mta limit task-lowat 3000
mta limit task-release 1000
scheduler limit max-inflight 50000
"""
ACTIONS = {
    "maildir": 'action "it" maildir "/var/mail/%{user.username}" '
               'userbase <boxes>',
    "mx": 'action "it" relay',
}


class OpenSmtpd(Rooted):
    name, title, package = "opensmtpd", "OpenSMTPD", "opensmtpd"
    users = {"opensmtpd": (991, "/var/lib/opensmtpd/empty"),
             "opensmtpq": (992, "/var/lib/opensmtpd/empty")}

    def log(self):
        return self.dir + "/log"

    def configure(self):
        action = ACTIONS.get(self.mode, 'action "it" relay host smtp%s://%s:25'
                             % ("+tls" if self.sends_tls else "",
                                self.next_hop))
        action += " tls no-verify" * bool(self.sends_tls)
        out = self.mode in ("relay", "mx")
        self.write("/etc/smtpd.conf", CONF % {
            "port": self.port, "action": action,
            "tuned": TUNED if out and self.tuned else ""})
        os.chmod(self.root + "/etc/smtpd.conf", 0o640)
        boxes = ""
        for i in range(USERS):
            home = "/var/mail/user%d" % i
            os.makedirs(self.root + home)
            os.chown(self.root + home, 8, 8)
            boxes += "user%d 8:8:%s\n" % (i, home)
        self.write("/etc/boxes", boxes)
        os.makedirs(self.root + "/var/lib/opensmtpd/empty")

    def start(self):
        with open(self.log(), "ab") as f:
            self.started_by = self.spawn(
                *self.inside("/usr/sbin/smtpd", "-d"), stdout=f, stderr=f)

    def wait(self):
        super().wait()
        if self.mode == "hold":
            for what in ("mta", "mda"):
                self.run(*self.inside("/usr/sbin/smtpctl", "pause", what))

    def list_queue(self):
        return self.inside("/usr/sbin/smtpctl", "show", "queue")
