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
