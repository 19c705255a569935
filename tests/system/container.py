"""A container without a container engine, for test_container.py: namespaces of
its own, a read-only root of nothing but the program, a volume, any uid.

    with Container(root, volume, env={"MTA_SEND_RELAY_HOST": ...}) as c:
        c.start()
        with c.raw() as client: ...

container_root.sh makes the root.  Run as a program this module is the inside:
it makes the namespaces and becomes the program, which is PID 1 there.
"""

import array
import contextlib
import ctypes
import fcntl
import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUTS, NEWIPC = 0x00020000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
SIOCSIFFLAGS, SIOCGIFFLAGS, IFF_UP = 0x8914, 0x8913, 1
LAST_CAP = 63
NUMBERS = itertools.count()
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
ID = "3f8a5cd1e07b"  # what a host is called whose name is a container's id


def call(name, *args):
    if getattr(LIBC, name)(*args) != 0:
        why = ctypes.get_errno()
        raise OSError(why, "%s: %s" % (name, os.strerror(why)))


def mount(source, target, kind, flags, data=""):
    call("mount", source.encode(), target.encode(),
         kind.encode() if kind else None, ctypes.c_ulong(flags), data.encode())


def forbidden():
    """Why there can be no containers here, or None."""
    if os.geteuid() != 0:
        return "needs root, to be any other uid"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--net",
         "--uts", "--ipc", "--fork", "--mount-proc", "true"],
        stderr=subprocess.PIPE)
    return None if done.returncode == 0 else done.stderr.decode().strip()


def files_of(root):
    """Their names below it."""
    return {os.path.relpath(os.path.join(at, name), root)
            for at, _, files in os.walk(root) for name in files}


def root_size(root):
    """Octets of its files, without the certificates, which are the host's."""
    return sum(os.path.getsize(os.path.join(root, name))
               for name in files_of(root) - {CERTIFICATES})


# --- the inside ---------------------------------------------------------------

def bring_up(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        ask = array.array("B", struct.pack("16sH14x", name, 0))
        fcntl.ioctl(s, SIOCGIFFLAGS, ask, True)
        flags = struct.unpack_from("H", ask, 16)[0] | IFF_UP
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", name, flags))


def fill_root(plan):
    """As an engine does: the root, /proc, /dev, the volume, files."""
    root = plan["root"]
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount(root, root, None, MS_BIND | MS_REC)
    mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", root + "/dev", "tmpfs", MS_NOSUID, "mode=755")
    for name in ("null", "zero", "full", "random", "urandom"):
        path = "%s/dev/%s" % (root, name)
        open(path, "w").close()
        mount("/dev/" + name, path, None, MS_BIND)
    mount("tmpfs", root + "/etc/mta", "tmpfs", MS_NOSUID, "mode=755")
    for name, text in plan["files"].items():
        path = "%s/etc/mta/%s" % (root, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o444)
    if plan["volume"]:
        os.makedirs(root + plan["at"], exist_ok=True)
        mount(plan["volume"], root + plan["at"], None, MS_BIND)
    mount(root, root, None,
          MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def become(plan):
    """The user, without any capability, for ever."""
    os.chroot(plan["root"])
    os.chdir("/")
    for cap in range(LAST_CAP + 1):
        LIBC.prctl(PR_CAPBSET_DROP, cap, 0, 0, 0)
    os.setgroups(plan["groups"])
    os.setgid(plan["gid"])
    os.setuid(plan["uid"])
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def inside(plan):
    """Fork the PID 1, which waits for a line before it is the program."""
    call("unshare", NEWUSER | NEWNS | NEWPID | NEWNET | NEWUTS | NEWIPC)
    os.write(1, b"unshared\n")
    os.read(0, 1)  # the ids are mapped now
    os.setgroups([])
    os.setgid(0)
    os.setuid(0)
    socket.sethostname(plan["hostname"])
    bring_up(b"lo")
    pid = os.fork()
    if pid == 0:
        fill_root(plan)
        become(plan)
        os.write(1, b"ready\n")
        os.read(0, 1)
        log = os.open("/dev/null", os.O_RDONLY)
        os.dup2(log, 0)
        os.dup2(plan["out"], 1)
        os.execve("/mta", ["/mta"] + plan["argv"], plan["env"])
    os.close(plan["out"])
    os.write(1, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xff)


# --- the outside --------------------------------------------------------------

def in_netns(pid, do):
    """do() in the network of another process; a socket stays there."""
    done = []

    def run():
        try:
            fd = os.open("/proc/%d/ns/net" % pid, os.O_RDONLY)
            try:
                call("setns", fd, NEWNET)
            finally:
                os.close(fd)
            done.append(do())
        except OSError as e:  # for the caller
            done.append(e)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(done[0], OSError):
        raise done[0]
    return done[0]


class Container:
    PORT = 2525
    ENV = {"MTA_SERVE_LISTEN": "[::]:2525,0.0.0.0:2525"}  # as Containerfile

    def __init__(self, root, volume, uid=12345, gid=0, groups=(), env=(),
                 argv=("run",), files=(), at="/var/spool/mta", hostname=ID):
        own = "%s.%d" % (volume, next(NUMBERS))
        self.log, self.errors = own + ".log", own + ".errors"
        self.uid, self.gid = uid, gid
        self.env = dict(self.ENV, **dict(env))
        out = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        plan = {"root": root, "volume": volume, "at": at, "uid": uid,
                "gid": gid, "groups": list(groups), "env": self.env,
                "argv": list(argv), "files": dict(files), "out": out,
                "hostname": hostname}
        with open(self.errors, "ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__), json.dumps(plan)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err,
                pass_fds=[out], bufsize=0)
        os.close(out)
        self.pid = None
        self._line(b"unshared")
        for kind in ("uid", "gid"):
            with open("/proc/%d/%s_map" % (self.process.pid, kind), "w") as f:
                f.write("0 0 65536\n")
        self.process.stdin.write(b"\n")
        said = {self._line(), self._line()}
        self.pid = int((said - {b"ready"}).pop())

    def _line(self, want=None):
        line = self.process.stdout.readline().strip()
        assert line and want in (None, line), (line, self.stderr())
        return line

    def start(self):
        """The program begins; returns the time."""
        began = time.monotonic()
        self.process.stdin.write(b"\n")
        return began

    def socket(self, *address):
        return in_netns(self.pid, lambda: socket.create_connection(*address))

    def greeting(self, deadline=30):
        """A client that has read the greeting: (socket, line)."""
        end = time.monotonic() + deadline
        while True:
            try:
                s = self.socket(("127.0.0.1", self.PORT), 5)
                return s, s.makefile("rb").readline()
            except ConnectionRefusedError:
                assert self.process.poll() is None and \
                    time.monotonic() < end, self.stderr()
                time.sleep(0.001)

    def tool(self, *args, env=(), uid=None, **kwargs):
        """A command in the running container, as `podman exec` does it."""
        ids = ["-S", str(self.uid if uid is None else uid), "-G",
               str(self.gid)]
        return subprocess.run(
            ["nsenter", "-t", str(self.pid), "-U", "-m", "-p", "-n", "-i",
             "-u", *ids, "--root=/proc/%d/root" % self.pid, "--wd=/", "/mta",
             *args], env=dict(self.env, **dict(env)), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=60, **kwargs)

    def lines(self):
        with open(self.log, errors="replace") as f:
            return f.read().splitlines()

    def stderr(self):
        with open(self.errors, errors="replace") as f:
            return f.read()

    def stop(self, signo=signal.SIGTERM):
        """As `podman stop` does it; (exit status, seconds)."""
        began = time.monotonic()
        os.kill(self.pid, signo)
        return self.wait(), time.monotonic() - began

    def wait(self):
        return self.process.wait(timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


if __name__ == "__main__":
    inside(json.loads(sys.argv[1]))
