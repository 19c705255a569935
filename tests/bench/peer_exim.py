"""Exim, from Debian's exim4-daemon-light, in a root of its own."""

import os

from peers import USERS
from root import Rooted

MAIN = """
primary_hostname = exim.test
qualify_domain = exim.test
spool_directory = /var/spool/exim4
split_spool_directory
log_file_path = /var/log/exim4/%%slog
daemon_smtp_ports = %(port)d
local_interfaces = 127.0.0.1
domainlist mine = localhost : local.test
acl_smtp_rcpt = accept
acl_smtp_data = accept
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts = %(tls_hosts)s
%(tls)ssmtp_accept_max = 0
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 4096
remote_max_parallel = 20
recipients_max = 0
keep_environment =
queue_only = %(queue_only)s
begin routers
%(router)s
begin transports
%(transport)s
begin retry
* * F,10d,10d
"""
LOCAL = """
local:
  driver = accept
  domains = +mine
  local_parts = lsearch;/etc/users
  transport = box
"""
BOX = """
box:
  driver = appendfile
  maildir_format
  directory = /var/mail/$local_part_data
  create_directory
  user = mail
  group = mail
"""
NEXT_HOP = """
hop:
  driver = manualroute
  route_list = * %(hop)s
  self = send
  transport = out
"""
BY_MX = """
mx:
  driver = dnslookup
  self = send
  ignore_target_hosts =
  transport = out
"""
OUT = """
out:
  driver = smtp
  %(out_tls)s = *
  hosts_try_dane =
  dnssec_request_domains =
"""


class Exim(Rooted):
    name, title, package = "exim", "Exim", "exim4-daemon-light"
    users = {"Debian-exim": (990, "/var/spool/exim4")}

    def log(self):
        return self.root + "/var/log/exim4/mainlog"

    def configure(self):
        router, transport = {
            "maildir": (LOCAL, BOX), "mx": (BY_MX, OUT),
        }.get(self.mode, (NEXT_HOP, OUT))
        cert = ""
        if self.serves_tls:
            for name, path in zip(("certificate", "privatekey"),
                                  self.place.certificate()):
                with open(path) as f:
                    self.write("/etc/exim4/" + name, f.read())
                os.chmod(self.root + "/etc/exim4/" + name, 0o644)
                cert += "tls_%s = /etc/exim4/%s\n" % (name, name)
        names = {"port": self.port, "tls": cert,
                 "tls_hosts": "*" * bool(self.serves_tls),
                 "queue_only": "true" if self.mode == "hold" else "false",
                 "router": router % {"hop": self.next_hop},
                 "transport": transport % {
                     "out_tls": "hosts_require_tls" if self.sends_tls
                                else "hosts_avoid_tls"}}
        self.write("/etc/exim4/exim4.conf", MAIN % names)
        self.write("/etc/users", "".join("user%d: user%d\n" % (i, i)
                                         for i in range(USERS)))
        for d in ("spool", "log"):
            path = self.root + "/var/%s/exim4" % d
            os.makedirs(path)
            os.chown(path, 990, 990)
        os.chmod(self.root + "/var/mail", 0o1777)

    def start(self):
        with open(self.dir + "/stderr", "ab") as f:
            self.started_by = self.spawn(
                *self.inside("/usr/sbin/exim4", "-bdf"), stdout=f, stderr=f)

    def list_queue(self):
        return self.inside("/usr/sbin/exim4", "-bp")
