"""Mail servers to measure, each in a root of its own, on a free port.

A peer starts, says where it listens, tells the CPU time that all its
processes have used (children that ended included), and stops.  All accept
for the same recipients, store durably, look nothing up and hold delivery.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))

import harness  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    """CPU seconds of a process and of its children that were waited for."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(x) for x in fields[11:15]) / TICK


class Peer:
    name = "?"

    def __init__(self, base):
        self.dir = tempfile.mkdtemp(prefix=self.name + "-", dir=base)
        os.chmod(self.dir, 0o755)
        self.port = harness.free_port()

    def cpu(self):
        return sum(cpu_of(p) for p in harness.tree_of(self.pid()))

    def pids(self):
        return harness.tree_of(self.pid())

    def wait(self):
        harness.connect("127.0.0.1", self.port).close()

    def cleanup(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class MtaPeer(Peer):
    name = "mta"

    def start(self):
        conf = os.path.join(self.dir, "mta.conf")
        with open(conf, "w") as f:
            f.write("""
hostname = "mx.here.test";
queue_dir = "%(d)s/queue";
log = { file = "%(d)s/log"; };
serve = { listen = ["127.0.0.1:%(p)d"]; rdns = "off"; users = "any";
          mail_dir = "%(d)s/mail"; local_domains = ["localhost"]; };
""" % {"d": self.dir, "p": self.port})
        os.mkdir(os.path.join(self.dir, "mail"))
        self.process = subprocess.Popen([harness.MTA, "serve", "-c", conf])
        self.wait()

    def pid(self):
        return self.process.pid

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.cleanup()


class PostfixPeer(Peer):
    name = "postfix"

    def start(self):
        d = self.dir
        for sub in ("etc", "queue", "data"):
            os.mkdir(os.path.join(d, sub))
        owner = pwd.getpwnam("postfix")
        os.chown(os.path.join(d, "data"), owner.pw_uid, owner.pw_gid)
        with open(os.path.join(d, "etc", "main.cf"), "w") as f:
            f.write("""
compatibility_level = 3.6
queue_directory = %(d)s/queue
data_directory = %(d)s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.here.test
mydestination = localhost
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
smtpd_tls_security_level = none
smtpd_client_connection_count_limit = 0
smtpd_end_of_data_restrictions = check_client_access static:HOLD
default_process_limit = 200
maillog_file = %(d)s/log
maillog_file_prefixes = /
alias_maps =
alias_database =
local_recipient_maps =
""" % {"d": d})
        with open(os.path.join(d, "etc", "master.cf"), "w") as f:
            f.write(open("/usr/share/postfix/master.cf.dist").read()
                    .replace("smtp      inet  n       -       y",
                             "127.0.0.1:%d inet n - n" % self.port)
                    .replace("  y  ", "  n  ") +
                    "\npostlog unix-dgram n - n - 1 postlogd\n")
        self.run("start")
        self.wait()
        with open(os.path.join(d, "queue", "pid", "master.pid")) as f:
            self.master = int(f.read())

    def run(self, verb):
        subprocess.run(["postfix", "-c", os.path.join(self.dir, "etc"), verb],
                       check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def pid(self):
        return self.master

    def stop(self):
        family = self.pids()
        self.run("stop")
        harness.until("postfix gone", lambda: not any(
            harness.is_alive(p) for p in family), 60)
        self.cleanup()
