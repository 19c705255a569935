"""A Debian system to install the package in, for test_debian.py and
test_systemd.py.

Its root is made once by mmdebstrap, below build/; each Box has a layer of its
own over it, in namespaces, with loopback alone for a network.
"""

import contextlib
import fcntl
import glob
import os
import re
import shutil
import subprocess

import pytest

from harness import MTA, ROOT, tree_of

NEEDED = ["mmdebstrap", "lintian", "dpkg-buildpackage", "dh", "unshare",
          "nsenter", "setpriv", "pivot_root"]
BASE = os.path.join(ROOT, "build", "debroot")
PACKAGES = """adduser base-files base-passwd bash ca-certificates coreutils
    cron dash debianutils diffutils dpkg findutils grep gzip hostname
    init-system-helpers libc-bin libconfig9 libidn2-0 libssl3 login logrotate
    mawk mount passwd perl-base sed systemd tar util-linux""".split()
# What the package is made of.
SOURCES = ["Makefile", "mta.c", "src", "include", "debian", "docs", "conf"]
BOOT_ROOT = os.path.join(ROOT, "tests/tools/boot_root.sh")

marks = [
    pytest.mark.slow,
    pytest.mark.limit(600),  # the first makes root and package, others wait
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


@contextlib.contextmanager
def one_at_a_time(name):
    """The first test makes it, and those beside it wait for that."""
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name + ".lock", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def base():
    """The system without mta."""
    with one_at_a_time(BASE):
        wanted = " ".join(PACKAGES)
        with contextlib.suppress(FileNotFoundError):
            with open(BASE + ".packages") as f:
                if f.read() == wanted:
                    return BASE
        make_base()
        with open(BASE + ".packages", "w") as f:
            f.write(wanted)
    return BASE


def make_base():
    for old in (BASE, BASE + ".new"):
        shutil.rmtree(old, ignore_errors=True)
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


def changed(name):
    """When a file was, or the last one in a directory."""
    path = os.path.join(ROOT, name)
    inside = glob.glob(path + "/**", recursive=True) * os.path.isdir(path)
    return max(map(os.path.getmtime, [path, *inside]))


def built():
    """(changes, package), if there is one, and nothing is newer than it."""
    made = [glob.glob(os.path.join(ROOT, "build/deb/mta_*" + end))
            for end in (".changes", ".deb")]
    if [len(x) for x in made] != [1, 1]:
        return None
    found = tuple(x[0] for x in made)
    ours = min(map(os.path.getmtime, found))
    return found if ours > max(map(changed, SOURCES)) else None


def build():
    """The package, as `make deb` makes it, but with the flags of the Makefile:
    in `make tests` ccache has all of its objects, wherever they were made.
    (debhelper has a home of its own.)"""
    with one_at_a_time(os.path.join(ROOT, "build/deb")):
        return built() or make_package()


def make_package():
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    env.update(DEB_BUILD_OPTIONS="noautodbgsym parallel=2",
               DEB_CFLAGS_SET="-O2 -g", DEB_CPPFLAGS_SET="",
               DEB_LDFLAGS_SET="", CCACHE_NOHASHDIR="1")
    if shutil.which("ccache"):
        env.setdefault("CC", "ccache cc")
        env.setdefault("CCACHE_DIR", good("ccache", "-k", "cache_dir").strip())
    good("make", "-s", "-C", ROOT, "deb", env=env)
    return built()


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


class Box:
    """A system in namespaces, with what is done in it.  Its PID 1 does nothing,
    or is what is asked for."""

    def __init__(self, dir, *init):
        self.ours = subprocess.Popen(
            [BOOT_ROOT, base(), dir, *(init or ("sleep", "1000"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.ours.stdout.readline() == b"ready\n"
        self.init = tree_of(self.ours.pid)[2]  # below its keeper and unshare

    def inside(self, *args):
        return ["nsenter", "-t", str(self.init), "-m", "-n", "-p", "-i", "-u",
                "-C", "-r", "-w", "env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "DEBIAN_FRONTEND=noninteractive", *args]

    def run(self, line):
        """(status, what it said)"""
        return run(*self.inside("sh", "-c", line))

    def sh(self, line):
        return good(*self.inside("sh", "-c", line))

    def fails(self, line):
        return self.run(line)[0]

    def file(self, name):
        return self.sh("cat " + name)

    def copy(self, file, name):
        with open(file, "rb") as f:
            self.write(name, f.read())

    def write(self, name, text):
        subprocess.run(self.inside("sh", "-c", "cat > " + name), input=text,
                       check=True)

    def arrived(self, *subjects, user="alice"):
        text = self.sh("cat /var/mail/%s 2>/dev/null || true" % user)
        return all("Subject: %s\n" % s in text for s in subjects)

    def submit(self, to, subject, user="root"):
        return self.fails(
            "printf 'Subject: %s\\n\\nhello\\n' | setpriv --reuid=%s "
            "--clear-groups /usr/lib/sendmail %s" % (subject, user, to))

    def close(self):
        self.ours.stdin.close()
        self.ours.wait()
        self.ours.stdout.close()
