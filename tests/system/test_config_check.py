"""`mta config --check` checks what a start checks, with the same words."""
import os
import subprocess

import pytest

from harness import DEADLINE, MTA

ROOT = os.geteuid() == 0
EX_USAGE, EX_CONFIG = 64, 78


def run(m, *args, **env):
    done = subprocess.run([MTA, *args, "-c", m.conf], timeout=DEADLINE * 2,
                          env=dict(os.environ, **env),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stderr.decode()


def check(m, *args, **env):
    return run(m, "config", "--check", *args, **env)


def test_what_is_well_is_silent(mta):
    m = mta("serve", {"user": ""} if not ROOT else {"user": "nobody"},
            start=False)
    assert check(m) == (0, "")
    assert check(m, "--offline") == (0, "")


@pytest.mark.parametrize("key,value,said", [
    ("user", "no-such-user", "user: no such user: no-such-user"),
    ("group", "no-such-group", "group: no such group: no-such-group"),
    ("queue_dir", "%s/file", "queue_dir: "),
    ("queue_dir", "%s/file/below", "queue_dir: "),
    ("local.mail_dir", "%s/file", "local.mail_dir: "),
    ("local.aliases", "%s/none", "local.aliases: "),
    ("local.users", "file:%s/none", "local.users: "),
    ("local.aliases", "%s/bad", "local.aliases: "),
    ("local.users", "file:%s/bad", "local.users: "),
    ("log.file", "%s/none/log", "log.file: "),
    ("log.file", "%s", "log.file: "),
    ("send.relay_host", "127.0.0.1:%d", "loops back to itself"),
    ("send.relay_host", "[localhost]:%d", "loops back to itself"),
    ("send.routes", "a.test=lmtp:192.0.2.1:24,b.test=192.0.2.1:24",
     "192.0.2.1:24 is named with lmtp: and without"),
])
def test_a_start_and_the_check_refuse_alike(mta, key, value, said):
    m = mta("serve", start=False)
    with open(m.dir + "/file", "w", encoding="utf-8"):
        pass
    with open(m.dir + "/bad", "w", encoding="utf-8") as f:
        f.write("two words: x y\n")
    m.settings[key] = value.replace("%s", m.dir).replace("%d", str(m.port))
    m.write_conf()
    status, text = check(m)
    assert status != 0 and said in text, text
    with open(m.conf, encoding="utf-8") as f:
        line = 1 + [x.partition(" ")[0] for x in f].index(
            key.rpartition(".")[2])
    assert "%s:%d: %s: " % (m.conf, line, key) in text
    assert run(m, "serve") == (status, text.replace("mta config", "mta serve"))
    assert not os.path.exists(m.queue)
    assert check(m, "--offline") == (0, "")


def test_owner_of_mailboxes_must_exist(mta):
    m = mta("serve", {"local.user": "no-such-user"}, start=False)
    status, text = check(m)
    assert status == EX_CONFIG
    assert "local.user: no such user: no-such-user" in text
    assert run(m, "serve") == (status, text.replace("mta config", "mta serve"))


def test_mailboxes_below_homes_are_no_directory_to_check(mta):
    m = mta("serve", {"user": "nobody" if ROOT else "",
                      "local.users": "passwd",
                      "local.mail_dir": "~/Maildir"}, start=False)
    assert check(m) == (0, "")


@pytest.mark.skipif(not ROOT, reason="root alone can be too much")
def test_root_must_be_asked_for(mta):
    m = mta("serve", {"user": ""}, start=False)
    for command in (("serve",), ("run",), ("send",), ("log",),
                    ("config", "--check")):
        status, text = run(m, *command)
        assert status == EX_CONFIG and "user = \"root\"" in text, text
    m.settings["user"] = "root"
    m.write_conf()
    status, text = check(m)
    assert status == 0 and "warning: user is" in text


@pytest.mark.skipif(not ROOT, reason="root alone can change users")
def test_the_account_mta_is_the_default(mta):
    m = mta("serve", start=False)
    del m.settings["user"]
    m.write_conf()
    with open("/etc/passwd", encoding="utf-8") as f:
        users = f.read()
    with open(m.dir + "/passwd", "w", encoding="utf-8") as f:
        f.write(users + "mta:x:64123:64123::/:/usr/sbin/nologin\n")
    os.chown(m.mail, 64123, 64123)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c",
         "mount --bind %s/passwd /etc/passwd && %s config --check -c %s && "
         "%s config --show -c %s" % (m.dir, MTA, m.conf, MTA, m.conf)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE)
    shown = done.stdout.decode()
    assert done.returncode == 0 and 'user = "mta"  # default' in shown, shown


def test_members_of_aliases_are_warned_about(mta):
    m = mta("serve", {"log.level": "info"}, start=False)
    with open(m.dir + "/aliases", "w", encoding="utf-8") as f:
        f.write("all: ann, %s\n" % ", ".join("x%d" % i for i in range(12)))
    with open(m.dir + "/users", "w", encoding="utf-8") as f:
        f.write("ann\n")
    m.settings.update({"local.aliases": m.dir + "/aliases",
                       "local.users": "file:" + m.dir + "/users"})
    m.write_conf()
    status, text = check(m)
    assert status == 0
    assert "warning: %s/aliases:1: all: no such user: x9\n" % m.dir in text
    assert "no such user: x10" not in text and "2 more members" in text
    m.start()
    assert "no such user: x9" in m.errors()


def test_variables_of_others_are_warned_about(mta):
    m = mta("serve", start=False)
    status, text = check(m, MTA_PORT="tcp://10.0.0.1:25",
                         MTA_SERVICE_HOST="10.0.0.1")
    assert status == 0
    assert "warning: environment: no setting 'MTA_PORT'" in text
    assert "warning: environment: no setting 'MTA_SERVICE_HOST'" in text
    assert "warning" not in run(m, "queue", "list", MTA_PORT="25")[1]
    status, text = check(m, MTA_SEND_MTA_STS="on")
    assert status == EX_CONFIG and "not in this version" in text


@pytest.mark.parametrize("argv,said", [
    (["help", "chek"], "no command 'chek'"),
    (["chek"], "mta: unknown command 'chek'; did you mean 'check'?"),
    (["config", "--offline"], "--offline goes with --check"),
])
def test_wrong_words(argv, said):
    done = subprocess.run([MTA, *argv], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=DEADLINE)
    assert done.returncode == EX_USAGE
    assert said in done.stderr.decode()


def test_what_is_not_built_stands_in_no_help():
    def out(*argv):
        return subprocess.run([MTA, *argv], stdout=subprocess.PIPE, check=True,
                              timeout=DEADLINE).stdout.decode()
    told = out("help") + out("config", "--dump") + out("config", "--man") + \
        "".join(out("help", c) for c in ("queue", "log", "config", "send"))
    for name in ("mta_sts", "BDAT"):
        assert name not in told
