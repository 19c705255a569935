"""Mail servers to measure, each in a root of its own, on a free port.

A peer starts, says where it listens, tells the CPU time that all its
processes have used (children that ended included), and stops.  All accept
for the same recipients, store durably, look nothing up and hold delivery.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))

import harness  # noqa: E402
from postfix import Postfix  # noqa: E402

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

    def __init__(self, base):
        self.postfix = Postfix("""
mydestination = localhost
smtpd_end_of_data_restrictions = check_client_access static:HOLD
default_process_limit = 200
""", base=base)
        self.dir, self.port = self.postfix.dir, self.postfix.port

    def start(self):
        self.postfix.start()

    def pid(self):
        return self.postfix.master

    def stop(self):
        self.postfix.stop()
