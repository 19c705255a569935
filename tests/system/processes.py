"""Who is who in a running system, and what it holds."""

import ctypes
import errno
import glob
import os
import signal
import struct

from harness import children_of, tree_of, until

IPC_NOWAIT = 0o4000


def sysv_key(m):
    """Under this key the system has its message queue and shared memory."""
    with open(m.queue + "/run/log.key") as f:
        return int(f.read().split()[0], 16)


def sysv_objects(key):
    """What exists under the key: as ipcs -q and ipcs -m show it."""
    found = []
    for kind in ("msg", "shm"):
        with open("/proc/sysvipc/" + kind) as f:
            found += [kind for line in f.readlines()[1:]
                      if int(line.split()[0]) & 0xffffffff == key]
    return found


def fill_queue(m):
    """Nothing more fits into the message queue of the log."""
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.msgget(ctypes.c_int32(sysv_key(m)), 0)
    assert queue >= 0
    for n in (1024, 1):
        message = struct.pack("l", n) + b"\n" * n
        while libc.msgsnd(queue, message, n, IPC_NOWAIT) == 0:
            pass
    assert ctypes.get_errno() == errno.EAGAIN


# The names of processes, as far as the kernel keeps them; but for a number.
NAMES = {"mta-supervisor": "supervisor", "mta-log": "log",
         "mta-serve maste": "serve", "mta-worker": "worker",
         "mta-deliver mas": "deliver master", "mta-deliver": "deliver",
         "mta-mailbox": "mailbox", "mta-user helper": "user helper",
         "mta-sender": "send", "mta-signer": "signer", "mta-token": "token"}
SERVICES = ("log", "serve", "deliver master", "send")


def role_of(pid):
    """None: it has just ended, or has no name of its own yet."""
    try:
        with open("/proc/%d/comm" % pid) as f:
            return NAMES.get(f.read().rstrip(" 0123456789\n"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def by_role(top):
    """role -> pids, of all that runs below top just now, itself included."""
    found = {}
    for pid in tree_of(top):
        role = role_of(pid)
        if role is not None:
            found.setdefault(role, []).append(pid)
    return found


def is_open(pid, path):
    for fd in glob.glob("/proc/%d/fd/*" % pid):
        try:
            if os.readlink(fd) == path:
                return True
        except OSError:
            pass
    return False


def service(m, name):
    """The pid of a child of the supervisor that does its work already."""
    for pid in children_of(m.process.pid):
        if role_of(pid) != name:
            continue
        if name == "log" and is_open(pid, m.log):
            return pid
        if name in ("serve", "deliver master") and children_of(pid):
            return pid
        if name == "send" and threads(pid) > 1:
            return pid
    return None


def threads(pid):
    try:
        return len(os.listdir("/proc/%d/task" % pid))
    except FileNotFoundError:  # it has just ended
        return 0


def state_of(pid):
    """A letter, as ps shows it."""
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def signals(pid, field):
    """Of /proc, all at one moment.  SigCgt under valgrind: of any process
    nearly all, but those that are ignored and SIGCHLD as elsewhere."""
    try:
        with open("/proc/%d/status" % pid) as f:
            mask = next(x for x in f if x.startswith(field)).split()[1]
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        return set()  # it has just ended
    return {n for n in range(1, 65) if int(mask, 16) >> (n - 1) & 1}


def is_pending(pid, signo):
    """Sent to the process, and not taken yet."""
    return signo in signals(pid, "ShdPnd")


def find(m, name):
    return until("service " + name, lambda: service(m, name))


def is_ready(worker):
    """It has its handlers, which come last (SIGINT, ignored, behind SIGTERM
    and SIGUSR2): all that it keeps is open."""
    return signal.SIGINT in signals(worker, "SigIgn")


def workers(m):
    """All of them, ready."""
    n = m.settings["serve.workers"]

    def all_there():
        pid = service(m, "serve")
        kids = [kid for kid in (children_of(pid) if pid else [])
                if role_of(kid) == "worker" and is_ready(kid)]
        return kids if len(kids) == n else None
    return until("%d workers" % n, all_there)


def send_one(m, user="ann", client=None):
    c = client or m.raw()
    c.say("EHLO client.test")
    assert c.say("MAIL FROM:<a@client.test>")[0] == 250
    assert c.say("RCPT TO:<%s@here.test>" % user)[0] == 250
    assert c.say("DATA")[0] == 354
    code, words = c.say("Subject: x\r\n\r\nx\r\n.")
    assert code == 250, words
    if client is None:
        c.close()
    return words[0].split()[-1]


def roles(m):
    """role -> pids, of all that runs just now."""
    found = by_role(m.process.pid)
    found["supervisor"] = [m.process.pid]
    for name in SERVICES:
        pid = service(m, name)
        found[name] = [pid] if pid else []
    return {name: pids for name, pids in found.items() if pids}


def owner(m, client):
    """The worker that has accepted that client; None: nobody yet."""
    port = client.getsockname()[1]
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    here = ":%04X" % m.port
    inodes = {"socket:[%s]" % r[9] for r in rows
              if r[1].endswith(here) and r[2].endswith(":%04X" % port)}
    for pid in roles(m).get("worker", []):
        for fd in glob.glob("/proc/%d/fd/*" % pid):
            try:
                if os.readlink(fd) in inodes:
                    return pid
            except OSError:
                pass
    return None
