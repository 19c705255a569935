"""A root directory for a peer whose package cannot be installed beside
others: the host's /usr with the package's over it, and all else its own."""

import glob
import os
import re
import shutil
import subprocess

import harness
from peers import Peer

PACKAGES = os.path.join(harness.ROOT, "build", "peers")
COPIED = ["ld.so.cache", "services", "protocols", "localtime"]
OWN = {"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n"
                        "services: files\nprotocols: files\n",
       "hosts": "127.0.0.1 localhost\n", "mailname": "peer.test\n"}


def mount(*args):
    subprocess.run(["mount", *args], check=True)


class Rooted(Peer):
    package = "?"
    users = {}  # name: (uid, home)

    @classmethod
    def version(cls):
        found = glob.glob(os.path.join(PACKAGES, "*.deb"))
        for path in found:
            m = re.match(r"%s_([^_]+)_" % cls.package, os.path.basename(path))
            if m:
                return m.group(1).replace("%3a", ":")
        return ""

    @property
    def root(self):
        return self.dir + "/root"

    @property
    def mail(self):
        return self.root + "/var/mail"

    def make_etc(self):
        etc = self.root + "/etc"
        os.makedirs(etc)
        for name in COPIED:
            if os.path.exists("/etc/" + name):
                shutil.copy("/etc/" + name, etc)
        shutil.copy("/etc/resolv.conf", etc + "/resolv.conf")
        for name, text in OWN.items():
            self.write("/etc/" + name, text)
        for name, form in (("passwd", "%s:x:%d:%d::%s:/bin/false\n"),
                           ("group", "%s:x:%d:\n")):
            with open("/etc/" + name) as f:
                text = f.read()
            for user, (uid, home) in self.users.items():
                text += form % ((user, uid, uid, home)
                                if name == "passwd" else (user, uid))
            self.write("/etc/" + name, text)

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + path, "w") as f:
            f.write(text)

    def prepare(self):
        self.make_etc()
        for d in ("usr", "proc", "dev", "tmp", "run", "var/mail", "var/log",
                  "var/spool", "var/lib"):
            os.makedirs(os.path.join(self.root, d))
        os.chmod(self.root + "/tmp", 0o1777)
        os.symlink("/run", self.root + "/var/run")
        for link in ("bin", "sbin", "lib", "lib64"):
            if os.path.islink("/" + link):
                os.symlink(os.readlink("/" + link), self.root + "/" + link)
        over = os.path.join(PACKAGES, self.name, "usr")
        mount("-t", "overlay", "-o", "lowerdir=%s:/usr" % over, "overlay",
              self.root + "/usr")
        mount("--rbind", "/proc", self.root + "/proc")
        mount("--rbind", "/dev", self.root + "/dev")
        self.configure()

    def cleanup(self):
        for d in ("usr", "proc", "dev"):
            subprocess.run(["umount", "-l", self.root + "/" + d], check=False,
                           stderr=subprocess.DEVNULL)

    def inside(self, *cmd):
        return ["chroot", self.root, *cmd]

    def stop(self):
        self.started_by.terminate()
        self.started_by.wait()
        harness.until("%s gone" % self.name, lambda: not self.group.pids(),
                      60)
