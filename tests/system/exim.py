"""A whole Exim in a directory of its own: a counterpart and a peer.

    with Exim(main="tls_advertise_hosts = *", box=True) as e:
        ... e.port, e.stored(), e.log() ...

Needs root and tests/bench/unpack.sh: its package cannot be installed beside
Postfix.  Its account is there for itself alone.
"""

import glob
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

import harness

PROGRAM = os.path.join(harness.ROOT, "build", "peers", "exim", "usr", "sbin",
                       "exim4")
UID = 9991
MAIN = """
exim_path = %(program)s
primary_hostname = exim.test
spool_directory = %(dir)s
log_file_path = %(dir)s/log-%%s
log_selector = +smtp_connection +smtp_no_mail +tls_sni +queue_run
daemon_smtp_ports = %(port)d
local_interfaces = 127.0.0.1
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
"""
ACL = """
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
%s
begin acl
rcpt:
  accept %s
  deny message = login first
"""
# All of its mail into one Maildir.
BOX = """
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = %(dir)s/box
  create_directory
  maildir_format
  user = Debian-exim
"""
is_here = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists(PROGRAM),
    reason="needs root and tests/bench/unpack.sh build/peers")


def serving(main="", only="", more=""):
    """Settings of a server that takes mail from all, or `only` from those
    that this condition of an ACL holds for."""
    return ACL % (main, only) + BOX + more


class Exim:
    def __init__(self, settings):
        """All settings but those of MAIN."""
        self.dir = tempfile.mkdtemp(prefix="exim-")
        self.port = harness.free_port()
        self.process = None
        os.chmod(self.dir, 0o755)
        os.chown(self.dir, UID, UID)
        names = {"program": PROGRAM, "dir": self.dir, "port": self.port}
        with open(self.dir + "/conf", "w", encoding="utf-8") as f:
            f.write((MAIN + settings) % names)
        for name, line in (
                ("passwd", "Debian-exim:x:%d:%d::/:/bin/false\n" % (UID, UID)),
                ("group", "Debian-exim:x:%d:\n" % UID)):
            shutil.copy("/etc/" + name, self.dir)
            with open(os.path.join(self.dir, name), "a",
                      encoding="utf-8") as f:
                f.write(line)

    def inside(self, *args):
        """Its command line, in a mount namespace with its account."""
        return ["unshare", "-m", "sh", "-c", "mount --make-rprivate / &&"
                " mount --bind %s/passwd /etc/passwd &&"
                " mount --bind %s/group /etc/group && exec \"$@\""
                % (self.dir, self.dir), "sh", PROGRAM, "-C",
                self.dir + "/conf", *args]

    def run(self, *args, text=None):
        """A command that ends; its output."""
        done = subprocess.run(
            self.inside(*args), input=text, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
            timeout=harness.DEADLINE * 2)
        assert done.returncode == 0, done.stdout + self.log()
        return done.stdout

    def start(self):
        self.process = subprocess.Popen(self.inside("-bdf"),
                                        stdin=subprocess.DEVNULL)
        harness.connect("127.0.0.1", self.port).close()
        return self

    def stop(self):
        if self.process is not None:
            for pid in harness.tree_of(self.process.pid):
                harness.send_signal(pid, signal.SIGTERM)
            self.process.wait(20)
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        text = ""
        for path in glob.glob(self.dir + "/log-*"):
            with open(path, encoding="utf-8", errors="replace") as f:
                text += f.read()
        return text

    def stored(self):
        """The messages of the Maildir, in order of arrival."""
        found = []
        for path in sorted(glob.glob(self.dir + "/box/new/*")):
            with open(path, "rb") as f:
                found.append(f.read())
        return found

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        print(self.log())  # shown when a test fails
        self.stop()
