"""A whole Postfix in a directory of its own: a counterpart and a peer.

    with Postfix("mydestination = far.test") as p:
        ... p.port, p.dir ...

Needs root, as Postfix does.  Nothing of the host's own configuration is
read, and only the processes started here are ended.
"""

import os
import pwd
import shutil
import subprocess
import tempfile

import harness

MAIN = """
compatibility_level = 3.6
queue_directory = %(dir)s/queue
data_directory = %(dir)s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.test
inet_interfaces = %(host)s
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
smtpd_tls_security_level = none
smtpd_client_connection_count_limit = 0
maillog_file = %(dir)s/log
maillog_file_prefixes = /
alias_maps =
alias_database =
local_recipient_maps =
"""


class Postfix:
    services = ""  # more lines of master.cf

    def __init__(self, settings="", host="127.0.0.1", base=None):
        self.dir = tempfile.mkdtemp(prefix="postfix-", dir=base)
        os.chmod(self.dir, 0o755)
        self.host, self.settings = host, settings
        self.port = harness.free_port(host)
        self.master = None

    def start(self):
        d = self.dir
        for sub in ("etc", "queue", "data"):
            os.mkdir(os.path.join(d, sub))
        owner = pwd.getpwnam("postfix")
        os.chown(os.path.join(d, "data"), owner.pw_uid, owner.pw_gid)
        with open(os.path.join(d, "etc", "main.cf"), "w") as f:
            f.write(MAIN % {"dir": d, "host": self.host} + self.settings)
        with open("/usr/share/postfix/master.cf.dist") as f:
            master = f.read()
        with open(os.path.join(d, "etc", "master.cf"), "w") as f:
            # Our address and port; no chroot, whose files we would have to
            # copy; the log goes to a file of ours.
            f.write(master.replace("smtp      inet  n       -       y",
                                   "%s:%d inet n - n" % (self.host, self.port))
                    .replace("  y  ", "  n  ") + "\n" + self.services +
                    "\npostlog unix-dgram n - n - 1 postlogd\n")
        self.run("start")
        harness.connect(self.host, self.port).close()
        with open(os.path.join(d, "queue", "pid", "master.pid")) as f:
            self.master = int(f.read())
        return self

    def run(self, verb):
        subprocess.run(["postfix", "-c", os.path.join(self.dir, "etc"), verb],
                       check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def stop(self):
        if self.master is not None:
            family = harness.tree_of(self.master)
            self.run("stop")
            harness.until("postfix gone", lambda: not any(
                harness.is_alive(p) for p in family), 60)
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        with open(os.path.join(self.dir, "log"), errors="replace") as f:
            return f.read()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()
