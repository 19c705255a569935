"""The Debian package: it is built, lintian finds no errors, and in a minimal
system it takes the place of another MTA, works, keeps settings and mail in an
upgrade, and leaves nothing behind but mail.

systemd is installed but does not run, as in a container: the service is started
with the capabilities that its unit leaves it.  test_systemd.py has the rest."""

import os
import re
import subprocess

import pytest

import debian
from debian import Box, build, good, repack
from harness import MTA, ROOT, children_of, until

pytestmark = debian.marks


class Service:
    """As the unit starts it, but for systemd."""

    def __init__(self, box):
        self.box, self.daemon = box, None

    def start(self):
        self.daemon = subprocess.Popen(
            self.box.inside("setpriv", "--no-new-privs", "--bounding-set=-all,"
                            + capabilities_of_the_unit(), "mta", "run"),
            stdin=subprocess.DEVNULL)
        until("the service to run", lambda:
              self.box.fails("mta check --health") == 0)

    def stop(self):
        (supervisor,) = children_of(self.daemon.pid) or [self.daemon.pid]
        os.kill(supervisor, 15)
        assert self.daemon.wait(60) == 0


@pytest.fixture
def box(tmp_path):
    it = Box(str(tmp_path))
    try:
        yield it
    finally:
        it.close()


def capabilities_of_the_unit():
    with open(os.path.join(ROOT, "debian/mta.service")) as f:
        found = re.findall(r"^CapabilityBoundingSet=(.*)$", f.read(), re.M)
    return ",".join("+" + c[len("CAP_"):].lower()
                    for line in found for c in line.split())


def other_mta(dir):
    os.makedirs(dir + "/DEBIAN")
    os.makedirs(dir + "/usr/sbin")
    with open(dir + "/usr/sbin/sendmail", "w") as f:
        f.write("another\n")
    with open(dir + "/DEBIAN/control", "w") as f:
        f.write("Package: other-mta\nVersion: 1\nArchitecture: all\n"
                "Maintainer: x <x@example.org>\n"
                "Provides: mail-transport-agent\n"
                "Conflicts: mail-transport-agent\n"
                "Replaces: mail-transport-agent\nDescription: another\n")
    return repack(None, dir, dir + ".deb")


def install_in_place_of_another(box, package, dir):
    box.sh("echo box.example.com > /etc/mailname; useradd -m alice; "
           "echo 'postmaster: alice' > /etc/aliases")
    box.copy(other_mta(dir + "/other"), "/tmp/other.deb")
    box.copy(package, "/tmp/mta.deb")
    box.sh("dpkg -i /tmp/other.deb")
    assert box.fails("dpkg -i /tmp/mta.deb") == 1  # two MTAs
    box.sh("dpkg -r other-mta; dpkg -i /tmp/mta.deb")
    assert box.file("/etc/aliases") == "postmaster: alice\n"
    assert 'hostname = "box.example.com";' in box.file("/etc/mta/mta.conf")
    assert box.sh("stat -c '%a %U %G' /var/spool/mta /var/log/mta") == \
        "711 mta mta\n2750 mta adm\n"
    assert box.fails("mta config --check") == 0
    for name in ("/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/mailq",
                 "/usr/bin/newaliases"):
        assert box.sh("readlink -f " + name) == "/usr/sbin/mta\n"
    for page in ("man1/mta.1", "man1/mta-queue.1", "man1/mailq.1",
                 "man5/mta.conf.5", "man5/mta-spool.5", "man8/sendmail.8"):
        box.sh("zcat /usr/share/man/%s.gz > /dev/null" % page)


def test_without_a_mail_name(box):
    """As a fresh system is: no /etc/mailname, or one without a domain."""
    box.copy(build()[1], "/tmp/mta.deb")
    for name in ("rm -f /etc/mailname", "echo box > /etc/mailname"):
        box.sh(name + "; dpkg -i /tmp/mta.deb; mta config --check")
        assert "\n#hostname = " in box.file("/etc/mta/mta.conf")
        box.sh("dpkg -P mta")


def works(box, service):
    assert box.submit("alice", "before-the-start") == 0
    service.start()
    assert box.submit("alice", "by-alice", user="alice") == 0
    until("mail for alice", lambda:
          box.arrived("before-the-start", "by-alice"))
    assert box.sh("stat -c %U /var/mail/alice") == "alice\n"
    assert box.sh("mailq") == "Mail queue is empty\n"


def null_client_stands_ready(box):
    """As README.md has it: a password, and the # of two groups removed."""
    box.sh("cp /etc/mta/mta.conf /tmp/before; umask 077;"
           " echo secret > /etc/mta/password;"
           " sed -i 's/^#\\(send: {\\|rewrite: {\\|};\\|    .*\\)$/\\1/'"
           " /etc/mta/mta.conf")
    assert box.fails("mta config --check") == 0
    assert "USER file:/etc/mta/password" in box.sh("mta config --show")
    assert "rewrite.root" in box.run("mta route root")[1]
    box.sh("mv /tmp/before /etc/mta/mta.conf; rm /etc/mta/password")


def log_is_rotated(box):
    before = box.sh("ls /var/log/mta").split()
    assert before == ["mta.log"]
    box.sh("logrotate -f /etc/logrotate.d/mta")
    assert box.submit("alice", "after-rotation") == 0
    until("the new file", lambda: box.fails(
        "grep -q deliver.delivered /var/log/mta/mta.log") == 0)
    box.sh("grep -q deliver.delivered /var/log/mta/mta.log.1")


def upgrade_keeps_what_is_there(box, service, package, dir):
    box.sh("echo '# mine' >> /etc/mta/mta.conf")
    assert box.submit("joe@elsewhere.test", "waits") == 0
    box.copy(repack(package, dir + "/next", dir + "/next.deb",
                    Version="99.1"), "/tmp/next.deb")
    box.sh("dpkg -i /tmp/next.deb")
    assert "Version: 99.1\n" in box.sh("dpkg -s mta")
    assert box.file("/etc/mta/mta.conf").endswith("# mine\n")
    assert "joe@elsewhere.test" in box.sh("mailq")
    service.stop()
    service.start()
    assert "joe@elsewhere.test" in box.sh("mailq")
    service.stop()


def left_behind(box):
    found = box.sh("find / -xdev -path '*mta*' ! -path '/var/lib/dpkg/*' "
                   "! -path '/tmp/*'").split()
    return [x for x in found if re.search(r"/mta\b", x)]


def purge_leaves_mail_and_nothing_else(box):
    said = box.sh("dpkg -r mta")
    assert "mail still waits in /var/spool/mta" in said
    assert box.file("/etc/mta/mta.conf").endswith("# mine\n")
    assert "stays" in box.sh("dpkg -P mta")
    box.sh("ls /var/spool/mta/remote/*.seg; id mta")
    assert box.fails("ls -d /etc/mta /var/log/mta /var/lib/mta") == 2
    assert left_behind(box)
    box.sh("dpkg -i /tmp/mta.deb")
    assert "joe@elsewhere.test" in box.sh("mailq")
    box.sh("MTA_PURGE_QUEUE=yes dpkg -P mta")
    assert left_behind(box) == []
    box.sh("dpkg -i /tmp/mta.deb; mta queue stats; dpkg -P mta")
    assert left_behind(box) == []
    assert box.arrived("by-alice")


def test_package(box, tmp_path):
    changes, package = build()
    good("lintian", "--allow-root", "--fail-on", "error", changes)
    install_in_place_of_another(box, package, str(tmp_path))
    service = Service(box)
    works(box, service)
    null_client_stands_ready(box)
    log_is_rotated(box)
    upgrade_keeps_what_is_there(box, service, package, str(tmp_path))
    purge_leaves_mail_and_nothing_else(box)


def test_versions_are_one():
    """Of the changelog and of the program."""
    with open(os.path.join(ROOT, "debian/changelog")) as f:
        version = re.match(r"mta \((.*?)\)", f.readline()).group(1)
    assert good(MTA, "version") == "mta %s\n" % version
