"""mta as a container: the root of conf/Containerfile in namespaces of its own,
read-only, as a uid that no file knows, without capabilities."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import container
import pytest
import yaml
from container import CERTIFICATES, ID, Container, in_netns
from harness import MTA, ROOT, Raw, children_of, is_alive, tree_of, until
from peer import Peer

CONF = os.path.join(ROOT, "conf")
# Not a script that stands before it: there is no shell in the container.
BINARY = os.environ.get("NAPPING_MTA", os.environ.get("VALGRIND_MTA", MTA))
SANITIZED = "/san-" in BINARY
WHY_NOT = container.forbidden()
pytestmark = pytest.mark.skipif(WHY_NOT is not None,
                                reason="no containers: %s" % WHY_NOT)
NULL_CLIENT = {"MTA_SEND_RELAY_HOST": "[127.0.0.1]:2526",
               "MTA_REWRITE_FROM": "box@example.com"}
IMPATIENT = dict(NULL_CLIENT, MTA_SEND_RETRY_MIN="1s", MTA_SEND_RETRY_MAX="2s")
ROOT_FILE = {"root": "joe@example.com\n"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("container") / "root")
    os.makedirs(path)
    subprocess.run([os.path.join(ROOT, "tests/tools/container_root.sh"), path,
                    BINARY], check=True)
    return path


@pytest.fixture
def volume(tmp_path):
    """As an engine makes it: like the place in the image."""
    path = str(tmp_path / "volume")
    os.mkdir(path)
    os.chmod(path, 0o770)
    return path


@pytest.fixture
def run(root, volume, tmp_path):
    made = []
    for d in (tmp_path, *list(tmp_path.parents)[:2]):
        os.chmod(d, 0o755)  # pytest's are closed to other uids

    def make(go=True, **kwargs):
        c = Container(root, kwargs.pop("volume", volume), **kwargs)
        made.append(c)
        if go:
            c.start()
        return c
    yield make
    for c in made:
        c.__exit__()


def smarthost(c):
    """In the network of the container."""
    return in_netns(c.pid, lambda: Peer(port=2526))


def client(c):
    s, greeting = c.greeting()
    s.settimeout(30)
    raw = Raw.__new__(Raw)
    raw.sock, raw.file = s, s.makefile("rb")
    assert greeting.startswith(b"220 "), greeting
    return raw


def submit(c, recipient="root", sender="root@localhost"):
    with client(c) as s:
        assert s.say("EHLO there.test")[0] == 250
        assert s.say("MAIL FROM:<%s>" % sender)[0] == 250
        code, lines = s.say("RCPT TO:<%s>" % recipient)
        if code != 250:
            return code, lines
        assert s.say("DATA")[0] == 354
        s.send("From: root (Cron Daemon)\r\nTo: %s\r\nSubject: it\r\n\r\n"
               "works\r\n.\r\n" % recipient)
        return s.reply()


def id_of(reply):
    assert reply[0] == 250, reply
    return reply[1][0].split("queued as ")[1]


def started(c):
    until("it is up", lambda: any("send.start" in x for x in c.lines()))


# --- the image ----------------------------------------------------------------

def test_root_holds_nothing_else(root):
    found, size = container.files_of(root), container.root_size(root)
    rest = {x for x in found if not re.search(r"\.so(\.\d+)*$", x)}
    assert rest - {CERTIFICATES} == {"mta"}, rest
    if not SANITIZED:
        assert size <= 15 << 20, size
    print("container root: %.1f MiB" % (size / 1048576.0))


def containerfile():
    """The last stage, as (instruction, rest)."""
    with open(os.path.join(CONF, "Containerfile")) as f:
        text = f.read().replace("\\\n", " ")
    stage = text.split("FROM scratch\n")[1]
    return dict(line.split(None, 1) for line in stage.splitlines()
                if line and not line.startswith("#"))


def test_the_image_is_what_is_tried_here():
    told = containerfile()
    (name, value), = Container.ENV.items()
    assert told["ENV"] == '%s="%s"' % (name, value)
    assert json.loads(told["ENTRYPOINT"]) == ["/mta", "run"]
    assert told["VOLUME"] == "/var/spool/mta"
    assert told["STOPSIGNAL"] == "SIGTERM"
    assert told["USER"].endswith(":0") and told["USER"] != "0:0"
    assert "container_root.sh /image" in open(
        os.path.join(CONF, "Containerfile")).read()


def test_the_build_is_given_what_it_needs(tmp_path):
    """By COPY, and an engine by .dockerignore, and nothing of build/."""
    with open(os.path.join(CONF, "Containerfile")) as f:
        copied = [name for line in f if re.match("COPY (?!--)", line)
                  for name in line.split()[1:-1]]
    with open(os.path.join(ROOT, ".dockerignore")) as f:
        told = [x for x in f.read().splitlines() if not x.startswith("#")]
    assert told == ["*"] + ["!" + name for name in copied]
    subprocess.run(["cp", "-r", "--parents", *copied, tmp_path], cwd=ROOT,
                   check=True)
    said = subprocess.run(["make", "-n", "-C", tmp_path], check=True,
                          stdout=subprocess.PIPE).stdout.decode()
    assert "src/serve/worker.c" in said


def manifests():
    with open(os.path.join(CONF, "compose.yaml")) as f:
        service = yaml.safe_load(f)["services"]["mta"]
    yield "compose", service["environment"]
    with open(os.path.join(CONF, "kubernetes.yaml")) as f:
        pod, = [x for x in yaml.safe_load_all(f)
                if x["kind"] == "StatefulSet"]
    env = pod["spec"]["template"]["spec"]["containers"][0]["env"]
    yield "kubernetes", {x["name"]: x["value"] for x in env}


@pytest.mark.parametrize("name,env", manifests(), ids=lambda x: str(x)[:10])
def test_settings_of_the_manifests_start(run, tmp_path, name, env):
    """Each as it stands, with the secret in its place."""
    secret = env.pop("MTA_SEND_RELAY_PASSWORD_FILE")
    assert secret.startswith("/run/secrets/")
    env["MTA_SEND_RELAY_PASSWORD_FILE"] = "/etc/mta/password"
    at = os.path.dirname(env.get("MTA_QUEUE_DIR", "/var/spool/mta/run"))
    with run(at=at, env=env, files={"password": "secret\n"}) as c:
        started(c)
        assert "warning" not in c.stderr()
        shown = c.tool("config", "--show").stdout.decode()
        assert "secret" not in re.sub("/run/secrets", "", shown)
        assert c.stop()[0] == 0


# --- its life -------------------------------------------------------------------

def test_start_to_greeting(run):
    """50 ms are asked of a machine that is free; here it may be busy."""
    c = run(go=False)
    began = c.start()
    s, line = c.greeting()
    took = time.monotonic() - began
    s.close()
    print("start to greeting: %.0f ms" % (took * 1000))
    assert line == b"220 %s ESMTP mta\r\n" % ID.encode()
    assert took < 30


def test_three_settings_and_a_message(run):
    c = run(go=False, files=ROOT_FILE, env=dict(
        NULL_CLIENT, MTA_REWRITE_ROOT_FILE="/etc/mta/root"))
    with smarthost(c) as peer:
        began = c.start()
        where = id_of(submit(c, sender="root"))
        message = until("mail", lambda: peer.messages)[0]
        print("container start to first message delivered: %.0f ms" %
              ((time.monotonic() - began) * 1000))
        assert message.sender.startswith("MAIL FROM:<box@example.com>")
        assert message.rcpts[0].startswith("RCPT TO:<joe@example.com>")
        assert b"box@example.com" in message.data
        assert b"root (Cron Daemon)" not in message.data
        # Not the id of the container, which is no name elsewhere.
        assert peer.lines()[0][0] == "EHLO [127.0.0.1]"
        until("the log has it", lambda: [
            x for x in c.lines() if "send.delivered" in x and where in x])
        assert c.stop()[0] == 0
        assert c.lines()[-1].split()[2] == "log.stop"


def test_who_and_what_it_is(run):
    with run(uid=987654321 % 65000) as c:
        started(c)
        with open("/proc/%d/status" % c.pid) as f:
            status = dict(x.split(":", 1) for x in f.read().splitlines())
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0
        assert status["NSpid"].split()[-1] == "1"
        assert set(status["Uid"].split()) == {str(c.uid)}
        for path in ("etc/passwd", "etc/resolv.conf", "tmp", "etc/services"):
            assert not os.path.exists("/proc/%d/root/%s" % (c.pid, path))
        with open("/proc/%d/mountinfo" % c.pid) as f:
            mounts = {x.split()[4]: x.split()[5] for x in f}
        assert mounts["/"].startswith("ro,")
        assert not [x for x in c.lines() if " error " in x or " warn " in x]


def test_users_that_do_not_exist_are_refused(run):
    """Without /etc/passwd no look-up can fail for a moment only."""
    with run() as c:
        code, lines = submit(c, "somebody@localhost")
        assert code == 550, lines


def test_orphans_are_reaped(run):
    with run() as c:
        started(c)
        code = ("import ctypes, os, sys\n"
                "f = os.open('/proc/%d/ns/pid', os.O_RDONLY)\n"
                "assert ctypes.CDLL(None).setns(f, 0x20000000) == 0\n"
                "r, w = os.pipe()\n"
                "if os.fork() == 0:\n"
                "    if os.fork() == 0:\n"
                "        os.close(w); os.read(r, 1); os._exit(3)\n"
                "    os._exit(0)\n"
                "os.wait(); os.write(1, b'\\n'); os.read(0, 1)\n")
        before = set(children_of(c.pid))
        p = subprocess.Popen([sys.executable, "-c", code % c.pid],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert p.stdout.readline() == b"\n"
        orphan, = set(children_of(c.pid)) - before
        p.communicate(b"\n")
        until("it is gone", lambda: not os.path.exists("/proc/%d" % orphan))
        assert c.stop()[0] == 0


def test_a_stop_waits_for_a_transaction(run):
    """SIGTERM: the text in hand is taken and kept; all within stop_timeout."""
    with run(env={"MTA_STOP_TIMEOUT": "30s"}) as c:
        with client(c) as s:
            for line in ("EHLO there.test", "MAIL FROM:<a@there.test>",
                         "RCPT TO:<b@there.test>", "DATA"):
                assert s.say(line)[0] in (250, 354)
            s.send("Subject: half\r\n\r\nfirst\r\n")
            family = tree_of(c.pid)
            began = time.monotonic()
            os.kill(c.pid, signal.SIGTERM)
            until("no more clients", lambda: refused(c))
            s.send("second\r\n.\r\n")
            assert s.reply()[0] == 250
        assert c.wait() == 0
        assert time.monotonic() - began < 30  # its text is the last one
        assert not any(is_alive(p) for p in family)


def refused(c):
    try:
        c.socket(("127.0.0.1", c.PORT), 5).close()
    except OSError:
        return True
    return False


def test_a_silent_client_does_not_hold_up_a_stop(run):
    with run(env={"MTA_STOP_TIMEOUT": "2s"}) as c:
        with client(c):
            status, took = c.stop()
        assert status == 0 and took < 2 + 2


def test_a_new_container_has_the_queue(run):
    with run(env=IMPATIENT) as c:
        where = id_of(submit(c, "b@there.test"))
        assert c.stop()[0] == 0
    c = run(go=False, env=IMPATIENT, hostname="9e107d9d372b")
    with smarthost(c) as peer:
        c.start()
        until("mail", lambda: peer.messages)
        until("its story", lambda: b"delivered" in
              c.tool("queue", "show", where).stdout)


def test_another_uid_is_told_why(run):
    with run() as c:
        started(c)
        assert c.stop()[0] == 0
    c = run(uid=4711)
    assert c.wait() == 77
    assert re.search(r"/var/spool/mta/\S+ belongs to 12345, not to 4711: "
                     r"chown .*4711", c.stderr())


def give_to_group(volume):
    """As Kubernetes does it before each start."""
    subprocess.run(["chgrp", "-R", "2000", volume], check=True)
    subprocess.run(["chmod", "-R", "g+rwX", volume], check=True)
    subprocess.run(["find", volume, "-type", "d", "-exec", "chmod", "g+s",
                    "{}", "+"], check=True)


def test_fsgroup_of_kubernetes(run, volume):
    """The volume is root's, for a group; and all of it is given to that group
    again before each start."""
    os.chown(volume, 0, 2000)
    os.chmod(volume, 0o2775)
    for _ in range(2):
        c = run(uid=1000, gid=1000, groups=[2000], env=NULL_CLIENT)
        id_of(submit(c, "b@there.test"))
        assert c.stop()[0] == 0, c.stderr()
        give_to_group(volume)
    c = run(uid=1000, gid=1000, groups=[2000], env=NULL_CLIENT)
    started(c)
    assert c.tool("queue", "list", "--json").stdout.count(b"\n") == 2
    for name in ("local", "remote"):
        mode = os.stat(os.path.join(volume, name)).st_mode
        assert mode & 0o777 == 0o700, oct(mode)


@pytest.mark.parametrize("owner,mode", [
    ((0, 2000), 0o2775), ((0, 0), 0o777)], ids=["fsgroup", "for_all"])
def test_a_directory_in_the_volume(run, volume, owner, mode):
    """As kubernetes.yaml has it: a claim that follows fsGroup, and one that
    does not but is for all, as an emptyDir or a directory of the node is."""
    os.chown(volume, *owner)
    os.chmod(volume, mode)
    env = dict(NULL_CLIENT, MTA_QUEUE_DIR="/queue/mta")
    for n in range(2):
        with run(at="/queue", uid=1000, gid=1000, groups=[2000], env=env) as c:
            id_of(submit(c, "b@there.test"))
            started(c)
            assert c.tool("check", "--health").returncode == 0
            assert c.tool("queue", "list", "--json").stdout.count(b"\n") == n + 1
            assert os.stat(volume + "/mta").st_mode & 0o777 == 0o711
            assert c.stop()[0] == 0, c.stderr()
        if owner[1]:
            give_to_group(volume)


# --- bad settings ---------------------------------------------------------------

@pytest.mark.parametrize("env,text", [
    ({"MTA_STOP_TIMEOUT": "soon"}, "MTA_STOP_TIMEOUT"),
    ({"MTA_SEND_RELAY_HOST": "[half:587"}, "MTA_SEND_RELAY_HOST"),
    ({"MTA_LOG_FORMAT": "yaml"}, "MTA_LOG_FORMAT"),
    ({"MTA_REWRITE_FROM": "no address"}, "MTA_REWRITE_FROM"),
    ({"MTA_SEND_RELAY_PASSWORD_FILE": "/run/secrets/none"},
     "MTA_SEND_RELAY_PASSWORD_FILE: /run/secrets/none: No such file"),
    ({"MTA_REWRITE_ROOT": "a@b.test", "MTA_REWRITE_ROOT_FILE": "/etc/mta/x"},
     "both MTA_REWRITE_ROOT and MTA_REWRITE_ROOT_FILE are set"),
    ({"MTA_SERVE_LISTEN": "0.0.0.0:25"}, "0.0.0.0:25"),
], ids=lambda x: next(iter(x)) if isinstance(x, dict) else "")
def test_a_bad_value_stops_the_start(run, env, text):
    c = run(env=env)
    assert c.wait() in (64, 77, 78)
    assert text in c.stderr(), c.stderr()


def test_a_variable_that_is_no_setting(run):
    with run(env={"MTA_SEND_RELAYHOST": "x", "MTA_PORT": "tcp://10.0.0.1:25",
                  "MTA_SERVICE_HOST": "10.0.0.1"}) as c:
        started(c)
        assert ("no setting 'MTA_SEND_RELAYHOST'; the nearest is "
                "'MTA_SEND_RELAY_HOST'") in c.stderr()
        assert c.stop()[0] == 0


def test_root_is_refused(run):
    c = run(uid=0)
    assert c.wait() == 78
    assert "user" in c.stderr()


def test_a_volume_that_cannot_be_written(run, volume):
    os.chmod(volume, 0o755)
    c = run()
    assert c.wait() == 77
    assert "/var/spool/mta belongs to 0, not to 12345" in c.stderr()


# --- commands in it ---------------------------------------------------------------

def test_commands_in_the_container(run):
    with run(env=NULL_CLIENT) as c:
        where = id_of(submit(c, "b@there.test"))
        started(c)
        listed = c.tool("queue", "list", "--json").stdout
        assert json.loads(listed)["id"] == where
        shown = c.tool("queue", "show", where)
        assert shown.returncode == 0 and b"b@there.test" in shown.stdout
        held = c.tool("queue", "hold", where)
        assert held.returncode == 0, held.stderr
        assert b"held" in c.tool("queue", "list").stdout


def test_sendmail_in_the_container(run):
    c = run(go=False, env=dict(NULL_CLIENT, MTA_REWRITE_ROOT="joe@example.com"))
    with smarthost(c) as peer:
        c.start()
        started(c)
        sent = c.tool("sendmail", "-t",
                      input=b"To: root\nSubject: disk\n\nis full\n")
        assert sent.returncode == 0, sent.stderr
        message = until("mail", lambda: peer.messages)[0]
        assert message.sender.startswith("MAIL FROM:<box@example.com>")
        assert message.rcpts[0].startswith("RCPT TO:<joe@example.com>")


def test_drain_before_the_stop(run):
    """As preStop does it: exit 75 while mail remains, 0 once it has left."""
    c = run(go=False, env=NULL_CLIENT)
    c.start()
    id_of(submit(c, "b@there.test"))
    started(c)
    left = c.tool("queue", "drain", "--timeout", "1s")
    assert left.returncode == 75, left
    with smarthost(c) as peer:
        done = c.tool("queue", "drain", "--timeout", "60s")
        assert done.returncode == 0, done.stderr
        assert len(peer.messages) == 1
    assert c.stop()[0] == 0


def test_health(run):
    with run() as c:
        started(c)
        assert c.tool("check", "--health").returncode == 0
        assert not [x for x in c.lines() if "serve.connect" in x]
        assert c.tool("check", "--health", env={
            "MTA_SERVE_LISTEN": "127.0.0.1:2999"}).returncode == 1


def test_check_in_the_container(run):
    """The volume is root's, but all of it can be looked at."""
    with run() as c:
        started(c)
        found = [json.loads(x) for x in
                 c.tool("check", "--json").stdout.splitlines()]
        assert {x["state"] for x in found if x["check"] == "settings"} == {
            "ok"}, found
        assert [x for x in found if x["check"] == "hostname" and
                x["state"] == "fault" and ID in x["what"]], found
