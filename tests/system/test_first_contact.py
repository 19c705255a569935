"""A first contact: what the program says without arguments, and that its
errors name the way out."""

import os
import re
import socket
import subprocess

import pytest

from harness import MTA, free_port

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def mta_says(*args, **more):
    done = subprocess.run([MTA, *args], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, **more)
    return done.returncode, done.stdout, done.stderr


def test_no_arguments():
    """What it is, and three commands that go on from there and exist."""
    status, out, err = mta_says()
    assert status == 64 and out == ""
    assert err.startswith("mta ") and "mail system" in err.split("\n")[0]
    steps = [line for line in err.split("\n") if line.startswith("  mta ")]
    assert len(steps) == 3
    listed = re.findall(r"^  (\w+) ", mta_says("help")[1], re.M)
    for command in re.findall(r"\bmta (\w+)", "\n".join(steps)):
        assert command in listed
    assert {"run", "config", "check", "help"} <= set(re.findall(r"mta (\w+)", err))


WAYS_OUT = [
    (["qeue"], 64, "did you mean 'queue'?"),
    (["frob"], 64, "Try 'mta help'"),
    (["help", "frob"], 64, "Try 'mta help'"),
    (["run", "--prot", "25"], 64, "did you mean '--port'?"),
    (["run", "--foo"], 64, "Try 'mta help run'"),
    (["run", "-o", "serve.workres=2"], 64, "did you mean 'serve.workers'?"),
    (["run", "-o", "hostname"], 64, "should be key=value"),
    (["run", "--port", "99999"], 64, "a number from 1 to 65535"),
    (["run", "-c", "/nowhere/x"], 78, "'mta config --dump' prints a sample"),
    (["run", "--user", "no_such"], 78, "make it: useradd --system no_such"),
    (["route"], 64, "mta route ADDRESS"),
    (["route", "a@@"], 64, "an address is USER@example.com"),
    (["queue", "list", "--queue-dir", "/nowhere"], 72, "--queue-dir or -c"),
    (["queue", "stats", "--queue-dir", "/nowhere"], 72, "--queue-dir or -c"),
    (["queue", "show", "x", "--queue-dir", "/nowhere"], 64,
     "'mta queue list' has them"),
    (["queue", "hold", "--queue-dir", "/nowhere"], 64, "or --all"),
    (["log", "-f", "--event", "foo"], 64, "a name is as send.deferred"),
    (["check", "--address", "foo"], 64, "write 192.0.2.1"),
    (["log", "-f"], 78, "set it to a file"),
    (["log", "-f", "--log-file", "/nowhere/x"], None, "--log-file"),
    (["queue", "lst"], 64, "no action 'lst'; did you mean 'list'?"),
    (["queue", "frob"], 64, "but list, show, cat"),
    (["queue", "show"], 64, "needs an id; 'mta queue list' has them"),
    (["queue", "cat"], 64, "needs an id; 'mta queue list' has them"),
    (["queue", "show", "a", "b"], 64, "'b' is not expected behind 'show'"),
    (["queue", "list", "extra"], 64, "'extra' is not expected behind 'list'"),
    (["queue", "show", "x", "--all"], 64, "'show' takes no --all"),
    (["queue", "list", "--timeout", "5s"], 64, "'list' takes no --timeout"),
    (["dkim"], 64, "keygen DOMAIN SELECTOR FILE"),
    (["dkim", "frob"], 64, "write keygen DOMAIN SELECTOR FILE"),
    (["dkim", "keygen", "a.b"], 64, "write keygen DOMAIN SELECTOR FILE"),
    (["dkim", "keygen", "a.b", "s", "/nowhere/k"], None, "make its directory"),
    (["dkim", "keygen", "a.b", "s", "/etc/passwd"], None, "name another file"),
    (["dkim", "record", "/nowhere/k"], None, "'mta dkim keygen' makes one"),
    (["fsm", "sender"], 64, "write server or client"),
    (["route", ""], 64, "'': Empty address (an address is USER@example.com)"),
    (["route", "Joe <joe@example.com>"], 64, "an address is USER@example.com"),
]

# What people write who know another mail system, or guess.
SETTINGS = [
    ("serve.port=25", "here it is 'serve.listen'"),
    ("relayhost=[h.test]", "here it is 'send.relay_host'"),
    ("mynetworks=10.0.0.0/8", "here it is 'serve.relay_networks'"),
    ("serve.listen=25", "192.0.2.1:25"),
    ("serve.listen=*:25", "0.0.0.0:25 and [::]:25"),
    ("serve.listen=0.0.0.0:587 submission", "known by serve.relay_networks"),
    ("serve.listen=0.0.0.0:465 ssl", "did you mean tls?"),
    ("serve.extra_commands=AUTH", "known by serve.relay_networks"),
    ("serve.extra_commands=STARTTLS", "set serve.tls_cert and serve.tls_key"),
    ("serve.relay_networks=192.168.1.5/24", "write 192.168.1.0/24"),
    ("serve.relay_networks=10.0.0.0/255.0.0.0", "write 10.0.0.0/8"),
    ("serve.relay_networks=127.0.0.0/8 10.0.0.0/8", "a comma between"),
    ("serve.max_message_size=50MB", "write 64K, 50M or 2G"),
    ("serve.max_message_size=1", "out of bounds, 1024 to"),
    ("send.relay_host=smtps://h.test:465", "smtp.example.net:587"),
    ("send.relay_host=h.test 587", "write host:25"),
    ("send.tls=yes", "not one of none, may, encrypt, verify"),
    ("send.queue_lifetime=5 days", "write 30s, 5m, 4h or 5d"),
    ("send.retry_min=5h", "set both"),
    ("send.routes=example.com", "example.com=host:25"),
    ("send.relay_user=joe", "send.relay_host is not set"),
    ("local.aliases=hash:/etc/aliases", "write /etc/aliases"),
    ("local.mail_dir=~joe/Maildir", "begins with ~/"),
    ("local.users=/etc/mta/users", "file:PATH"),
    ("log.file=syslog", '"-" is standard output'),
    ("log.level=verbose", "not one of debug, info, warn, error"),
    ("dkim.keys=/etc/mta/key", "write example.com:selector:/path"),
    ("rewrite.from=box", "write user@example.com"),
    ("rewrite.rules=root=joe@example.com", "sender root@box.example="),
]


@pytest.mark.parametrize("args,status,text", WAYS_OUT,
                         ids=[" ".join(row[0]) for row in WAYS_OUT])
def test_an_error_names_the_way_out(args, status, text, tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MTA_")}
    if "-c" not in args and args[0] not in ("qeue", "frob", "help"):
        conf = tmp_path / "mta.conf"
        conf.write_text('hostname = "a.example";\n')
        args = [*args, "-c", str(conf)]
    got, _, err = mta_says(*args, env=env)
    assert text in err
    assert got == status if status is not None else got != 0


@pytest.mark.parametrize("setting,text", SETTINGS,
                         ids=[s for s, _ in SETTINGS])
def test_a_wrong_setting(setting, text):
    status, _, err = mta_says("config", "--check", "--offline", "-o", setting)
    assert status == 64
    assert text in err


FILES = [
    ('hostname = "a.example";\nsend: { port = 25; };\nsend: { tls = "may"; };',
     ":3: duplicate setting name", "a group stands there once"),
    ("hostname = a.example;", ":1: syntax error", 'name = "text";'),
    ("serve.workers = 4;", ":1: syntax error", "group: { name"),
    ('\ufeffhostname = "a.example";', ":1: begins", "byte order mark"),
    ('@include "gone.conf"', ":1: ", "in the directory of this file"),
    ('serve = "25";', ":1: serve is a group", "write serve: { }"),
]


@pytest.mark.parametrize("file,place,text", FILES,
                         ids=[t[0].split("\n")[-1] for t in FILES])
def test_a_wrong_file(file, place, text, tmp_path):
    conf = tmp_path / "mta.conf"
    conf.write_text(file + "\n", encoding="utf-8")
    status, _, err = mta_says("config", "--check", "--offline", "-c",
                              str(conf))
    assert status == 78
    assert str(conf) + place in err and text in err


def test_names_of_programs_are_commands():
    for name, page in (("mailq", "queue"), ("smtpd", "serve")):
        status, out, _ = mta_says(name, "-h")
        assert status == 0 and out.startswith("usage: mta " + page), name


def test_a_network_without_its_prefix(tmp_path):
    """Is taken, as one address, and warned about."""
    conf = tmp_path / "mta.conf"
    conf.write_text('queue_dir = "%s/q";\nlocal: { mail_dir = "%s/m"; };\n'
                    'user = "%s";\nserve: { listen = "127.0.0.1:2525";'
                    ' relay_networks = [ "192.168.1.0" ]; };\n' % (
                        tmp_path, tmp_path, "root" if not os.getuid() else ""))
    _, _, err = mta_says("config", "--check", "-c", str(conf))
    assert "its network is written 192.168.1.0/24" in err


def test_a_port_that_is_taken(tmp_path):
    port = free_port()
    with socket.socket() as s:
        s.bind(("127.0.0.1", port))
        s.listen()
        status, _, err = mta_says(
            "run", "--user", str(os.getuid()) if os.getuid() else "root",
            "--queue-dir", str(tmp_path / "q"), "-o",
            "local.mail_dir=%s" % tmp_path, "-o",
            "serve.listen=127.0.0.1:%d" % port)
    assert status != 0
    assert "stop it or set serve.listen" in err


@AS_ROOT
def test_a_queue_of_another_user(tmp_path):
    """Refused to a user who is neither its owner nor root, and the error says
    so."""
    queue = tmp_path / "q"
    queue.mkdir(mode=0o711)
    (queue / "local").mkdir(mode=0o700)
    for command in (["list"], ["stats"], ["drain"]):
        status, _, err = mta_says("queue", *command, "--queue-dir",
                                  str(queue), user=65534, group=65534,
                                  extra_groups=[])
        assert status != 0
        assert "this is for root and for the user" in err
