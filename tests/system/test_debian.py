"""The Debian package: it is built, lintian finds no errors, and in a minimal
system it takes the place of another MTA, works, keeps settings and mail in an
upgrade, and leaves nothing behind but mail.

The system is made once by mmdebstrap, below build/; each test has a layer of
its own over it, in namespaces.  There is no systemd in it: the service is
started with the capabilities that its unit leaves it."""

import glob
import os
import re
import shutil
import subprocess

import pytest

from harness import MTA, ROOT, children_of, until

NEEDED = ["mmdebstrap", "lintian", "dpkg-buildpackage", "dh", "unshare",
          "nsenter", "setpriv"]
BASE = os.path.join(ROOT, "build", "debroot")
PACKAGES = """adduser base-files base-passwd bash ca-certificates coreutils dash
    debianutils diffutils dpkg findutils grep gzip hostname init-system-helpers
    libc-bin libconfig9 libidn2-0 libssl3 login logrotate mawk passwd perl-base
    sed tar util-linux""".split()
MOUNTS = """
set -e
mount -t tmpfs none %(dir)s
mkdir %(dir)s/upper %(dir)s/work %(dir)s/root
mount -t overlay overlay %(dir)s/root \\
    -o lowerdir=%(base)s,upperdir=%(dir)s/upper,workdir=%(dir)s/work
mount -t proc proc %(dir)s/root/proc
mount --rbind /dev %(dir)s/root/dev
ip link set lo up
echo ready
exec sleep 1000
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(os.path.dirname(MTA) != ROOT,
                       reason="builds without sanitizers"),
    pytest.mark.skipif(not all(map(shutil.which, NEEDED)),
                       reason="needs " + ", ".join(NEEDED)),
]


def run(*args, **kwargs):
    done = subprocess.run(args, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          **kwargs)
    return done.returncode, done.stdout.decode(errors="replace")


def good(*args, **kwargs):
    status, said = run(*args, **kwargs)
    assert status == 0, "%s:\n%s" % (" ".join(args), said[-4000:])
    return said


def base():
    """The system without mta."""
    if not os.path.isdir(BASE):
        shutil.rmtree(BASE + ".new", ignore_errors=True)
        sources = "/etc/apt/sources.list.d/debian.sources"
        with open("/etc/os-release") as f:
            release = re.search(r"VERSION_CODENAME=(\w+)", f.read()).group(1)
        status, said = run(
            "mmdebstrap", "--mode=root", "--variant=custom",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--include=" + ",".join(PACKAGES), release, BASE + ".new",
            *([sources] if os.path.exists(sources) else []))
        if status != 0:
            pytest.skip("mmdebstrap: " + said[-300:])
        os.rename(BASE + ".new", BASE)
    return BASE


def build():
    """The package, as `make deb` makes it, but for the time of optimizing."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    env.update(CC="ccache gcc" if shutil.which("ccache") else "gcc",
               DEB_BUILD_OPTIONS="noautodbgsym parallel=2",
               DEB_CFLAGS_STRIP="-g", DEB_CPPFLAGS_STRIP="-D_FORTIFY_SOURCE=2",
               DEB_CFLAGS_APPEND="-O0 -U_FORTIFY_SOURCE")
    good("make", "-s", "-C", ROOT, "deb", env=env)
    (changes,) = glob.glob(os.path.join(ROOT, "build/deb/mta_*.changes"))
    (package,) = glob.glob(os.path.join(ROOT, "build/deb/mta_*.deb"))
    return changes, package


class Box:
    """A system in namespaces, with what is done in it."""

    def __init__(self, dir):
        self.root = dir + "/root"
        self.ours = subprocess.Popen(
            ["unshare", "-mnpiu", "-f", "--kill-child", "--mount-proc", "sh",
             "-c", MOUNTS % {"dir": dir, "base": base()}],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.ours.stdout.readline() == b"ready\n"
        (self.init,) = children_of(self.ours.pid)
        self.daemon = None

    def inside(self, *args):
        return ["nsenter", "-t", str(self.init), "-m", "-n", "-p", "-i", "-u",
                "chroot", self.root, "env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "DEBIAN_FRONTEND=noninteractive", *args]

    def sh(self, line):
        return good(*self.inside("sh", "-c", line))

    def fails(self, line):
        return run(*self.inside("sh", "-c", line))[0]

    def file(self, name):
        return self.sh("cat " + name)

    def copy(self, file, name):
        with open(file, "rb") as f:
            subprocess.run(self.inside("sh", "-c", "cat > " + name), stdin=f,
                           check=True)

    def start(self, capabilities):
        self.daemon = subprocess.Popen(
            self.inside("setpriv", "--no-new-privs",
                        "--bounding-set=-all," + capabilities, "mta", "run"),
            stdin=subprocess.DEVNULL)
        until("the service to run", lambda:
              self.fails("mta check --health") == 0)

    def stop(self):
        (supervisor,) = children_of(self.daemon.pid) or [self.daemon.pid]
        os.kill(supervisor, 15)
        assert self.daemon.wait(60) == 0
        self.daemon = None

    def close(self):
        self.ours.kill()
        self.ours.wait()


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


def repack(package, dir, name, **fields):
    """Another package from the files of this one."""
    if package:
        good("dpkg-deb", "-R", package, dir)
    control = os.path.join(dir, "DEBIAN", "control")
    with open(control) as f:
        text = f.read()
    for field, value in fields.items():
        text = re.sub(r"^%s: .*$" % field, "%s: %s" % (field, value), text,
                      flags=re.M)
    with open(control, "w") as f:
        f.write(text)
    good("dpkg-deb", "--root-owner-group", "-b", dir, name)
    return name


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


def arrived(box, *subjects):
    text = box.sh("cat /var/mail/alice 2>/dev/null || true")
    return all("Subject: %s\n" % s in text for s in subjects)


def submit(box, to, subject, user="root"):
    return box.fails("printf 'Subject: %s\\n\\nhello\\n' | setpriv --reuid=%s "
                     "--clear-groups /usr/lib/sendmail %s"
                     % (subject, user, to))


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


def works(box):
    assert submit(box, "alice", "before-the-start") == 0
    box.start(capabilities_of_the_unit())
    assert submit(box, "alice", "by-alice", user="alice") == 0
    until("mail for alice", lambda:
          arrived(box, "before-the-start", "by-alice"))
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
    assert "rewrite.root" in run(*box.inside("mta", "route", "root"))[1]
    box.sh("mv /tmp/before /etc/mta/mta.conf")


def log_is_rotated(box):
    before = box.sh("ls /var/log/mta").split()
    assert before == ["mta.log"]
    box.sh("logrotate -f /etc/logrotate.d/mta")
    assert submit(box, "alice", "after-rotation") == 0
    until("the new file", lambda: box.fails(
        "grep -q deliver.delivered /var/log/mta/mta.log") == 0)
    box.sh("grep -q deliver.delivered /var/log/mta/mta.log.1")


def upgrade_keeps_what_is_there(box, package, dir):
    box.sh("echo '# mine' >> /etc/mta/mta.conf")
    assert submit(box, "joe@elsewhere.test", "waits") == 0
    box.copy(repack(package, dir + "/next", dir + "/next.deb",
                    Version="99.1"), "/tmp/next.deb")
    box.sh("dpkg -i /tmp/next.deb")
    assert "Version: 99.1\n" in box.sh("dpkg -s mta")
    assert box.file("/etc/mta/mta.conf").endswith("# mine\n")
    assert "joe@elsewhere.test" in box.sh("mailq")
    box.stop()
    box.start(capabilities_of_the_unit())
    assert "joe@elsewhere.test" in box.sh("mailq")
    box.stop()


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
    assert arrived(box, "by-alice")


def test_package(box, tmp_path):
    changes, package = build()
    good("lintian", "--allow-root", "--fail-on", "error", changes)
    install_in_place_of_another(box, package, str(tmp_path))
    works(box)
    null_client_stands_ready(box)
    log_is_rotated(box)
    upgrade_keeps_what_is_there(box, package, str(tmp_path))
    purge_leaves_mail_and_nothing_else(box)


def test_versions_are_one():
    """Of the changelog and of the program."""
    with open(os.path.join(ROOT, "debian/changelog")) as f:
        version = re.match(r"mta \((.*?)\)", f.readline()).group(1)
    assert good(MTA, "version") == "mta %s\n" % version
