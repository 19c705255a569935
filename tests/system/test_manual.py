"""The manual pages and README: their examples work, and the options that they
name are those of the program."""

import email
import email.utils
import json
import os
import re
import signal
import subprocess
import tempfile

import pytest

from harness import MTA, ROOT, connect, free_port, until
from peer import Peer

COMMANDS = ["run", "serve", "send", "log", "queue", "config", "fsm"]
SETTING = re.compile(r"\w+( =|:) ")


def text_of(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def plain(line):
    """Without the escapes of roff."""
    for escape, text in (("\\(dq", '"'), ("\\(aq", "'"), ("\\&", ""),
                         ("\\-", "-"), ("\\e", "\\")):
        line = line.replace(escape, text)
    return line


def displays(page):
    """Blocks of several lines, and single lines, shown as they are typed."""
    source = text_of(page)
    if page.endswith(".md"):
        found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", source, re.M)
        return [re.sub(r"^    ", "", block, flags=re.M).strip("\n")
                for block in found]
    return [plain(a or b).strip("\n") for a, b in re.findall(
        r"^\.Bd -literal.*\n((?:.*\n)*?)\.Ed$|^\.Dl (.*)$", source, re.M)]


def configurations(page):
    return [d for d in displays(page) if SETTING.match(d)]


def commands(page):
    return [d for d in displays(page) if re.search(r"\bmta [a-z]", d)
            and not SETTING.match(d)]


def named(page, kind):
    return [pytest.param(x, id="%s %d" % (os.path.basename(page), n))
            for n, x in enumerate(kind(page))]


def rendered(page):
    out = subprocess.run(["mandoc", "-T", "ascii", page], cwd=ROOT, check=True,
                         stdout=subprocess.PIPE).stdout.decode()
    return re.sub(".\b", "", out)


def test_examples_are_found():
    assert len(configurations("docs/mta.conf.5")) >= 3
    assert len(commands("docs/mta.conf.5")) >= 4
    assert len(commands("docs/mta.1")) >= 8
    assert configurations("README.md")


@pytest.mark.parametrize("text", named("docs/mta.conf.5", configurations) +
                         named("README.md", configurations) +
                         named("docs/migration.md", configurations))
def test_configuration_loads(text, tmp_path):
    conf = tmp_path / "mta.conf"
    conf.write_text(text)
    done = subprocess.run([MTA, "config", "--check", "--offline",
                           "-c", str(conf)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (done.returncode, done.stdout) == (0, b"")
    shown = subprocess.run([MTA, "config", "--show", "-c", str(conf)],
                           stdout=subprocess.PIPE, check=True).stdout.decode()
    for name in re.findall(r"^ *(\w+) = (?!\{)", text, re.M):
        assert re.search(r"\b%s = .*%s" % (name, conf), shown), name


@pytest.fixture
def shell(mta):
    """A system with one message in its queue, and how to run commands in its
    directory, where they find mta and mta.conf."""
    with Peer() as peer, tempfile.TemporaryDirectory() as bin:
        m = mta("serve", {"dns.servers": ["127.0.0.1:1"],
                          "send.routes": ["far.test=127.0.0.1:%d" % peer.port]})
        with m.smtp() as s:
            s.sendmail("a@here.test", ["u@far.test"], "Subject: x\r\n\r\nx\r\n")
        m.stop()
        with open(os.path.join(m.dir, "domains"), "w") as f:
            f.write("here.test\nexample.com\n")
        with open(os.path.join(bin, "mta"), "w") as f:
            f.write('#!/bin/sh\nexec "%s" "$@"\n' % MTA)
            os.fchmod(f.fileno(), 0o755)
        m.env.update(MTA_CONFIG=m.conf, PATH=bin + ":" + os.environ["PATH"])
        yield m


def run_daemon(m, line, port):
    process = subprocess.Popen(["sh", "-c", "exec env " + line], cwd=m.dir,
                               env=m.env, stdout=subprocess.DEVNULL)
    try:
        connect("127.0.0.1", port).close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize("line", named("docs/mta.1", commands) +
                         named("docs/mta.conf.5", commands))
def test_command_runs(shell, line):
    m = shell
    other = free_port()
    id = m.queued()[0]["id"]
    line = line.replace("2525", str(other)).replace("/etc/mta", m.dir)
    line = re.sub(r"\bID\b", id, line)
    os.makedirs(os.path.join(m.dir, "queue"), exist_ok=True)
    if re.search(r"\bmta (run|serve)\b", line):
        run_daemon(m, line, other if str(other) in line else m.port)
        return
    done = subprocess.run(["sh", "-c", line], cwd=m.dir, env=m.env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = done.stdout.decode()
    assert done.returncode == 0, said
    if id in line or "queue list" in line:
        assert id in said or "Subject: x" in said
    if "send" in line:
        assert m.queued() == []


@pytest.mark.parametrize("page", ["docs/mta.1", "docs/mta.conf.5"])
def test_long_options_have_two_dashes(page):
    text = rendered(page)
    assert re.search(r"(?<![\w-])--[a-z]{2}", text)
    assert re.findall(r"(?<![\w-])-[a-z]{2}[\w-]*", text) == []


def options_in_page(command):
    """What its entries name, but for what all commands understand."""
    entries = re.split(r"^     (?=[a-z])", rendered("docs/mta.1"), flags=re.M)
    return {o for e in entries if re.match(command + r"\b", e)
            for o in re.findall(r"--[a-z-]+", e)} - {"--json"}


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_those_of_the_program(command):
    said = subprocess.run([MTA, "help", command], check=True,
                          stdout=subprocess.PIPE).stdout.decode()
    known = set(re.findall(r"--[a-z-]+", said)) - {"--json"}
    assert options_in_page(command) == known


# --- coming from another system ----------------------------------------------

def migration():
    """(names there, what stands here) of each row of the page."""
    for line in text_of("docs/migration.md").split("\n"):
        cells = re.split(r"(?<!\\) \| ", line.strip("| "))
        if line.startswith("| ") and len(cells) == 2:
            yield re.findall(r"`([A-Za-z_]+)`", cells[0]), cells[1]


def refusal(*argv):
    done = subprocess.run([MTA, "config", "--check", "--offline", *argv],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode() if done.returncode else ""


def test_migration_names_settings_that_exist():
    keys = set(json.loads(subprocess.run(
        [MTA, "config", "--show", "--json"], check=True,
        stdout=subprocess.PIPE).stdout))
    groups = {k.split(".")[0] for k in keys if "." in k}
    named = {(g, k) for _, here in migration()
             for g, k in re.findall(r"`(\w+)\.(\w+)", here) if g in groups}
    assert len(named) > 40
    assert [x for x in sorted(named) if "%s.%s" % x not in keys] == []


def test_examples_of_migration_are_good_settings():
    """What stands in the right column with a value."""
    found = sorted({(k, v) for _, here in migration() for k, v in
                    re.findall(r"`(\w+\.\w+) = (.*?)`", here)})
    assert len(found) > 15
    for key, value in found:
        more = ["-o", "send.relay_host=[host]:587"]
        if key == "send.relay_token":
            more += ["-o", "send.relay_user=joe"]
        text = value[1:-1].strip() if value.startswith("[") else value
        text = text.replace('"', "")
        assert refusal(*more, "-o", "%s=%s" % (key, text)) == "", (key, value)


def test_names_of_other_systems_are_refused_with_ours():
    """As the page has it; a name that stands for no single setting is only
    refused."""
    cells = {}
    for names, here in migration():
        for name in names:
            cells[name] = cells.get(name, "") + here
    known = 0
    for name, here in cells.items():
        ours = re.search(r"here it is '([\w.]+)'", refusal("-o", name + "=x"))
        if ours and name.lower() != "port":  # dma and msmtp mean another one
            known += 1
            assert "`%s" % ours[1] in here, (name, ours[1])
    assert known > 60


# --- the first message ------------------------------------------------------

def test_the_first_message_is_one(tmp_path):
    """What make run starts, and the commands that it prints."""
    port = free_port()

    def run(line):
        """What it prints; the message may still be on its way to a mailbox."""
        done = subprocess.run(["sh", "-c", line], cwd=ROOT,
                              stdout=subprocess.PIPE)
        return done.returncode == 0 and (done.stdout.decode() or " ")

    env = dict(os.environ, MTA=MTA, TRY_DIR=str(tmp_path / "local"),
               TRY_PORT=str(port))
    with open(tmp_path / "out", "wb") as out:
        process = subprocess.Popen([os.path.join(ROOT, "conf", "try.sh")],
                                   cwd=tmp_path, env=env, stdout=out)
    try:
        connect("127.0.0.1", port).close()
        printed = re.findall(r"^  ((?:.*\\\n)*.*)$",
                             (tmp_path / "out").read_text(), re.M)
        assert len(printed) == 3
        said = [until(line, lambda line=line: run(line)) for line in printed]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    mail = email.message_from_string(said[1])
    for name in ("From", "To", "Subject", "Date", "Message-ID", "Received"):
        assert mail[name], name
    assert email.utils.parsedate_to_datetime(mail["Date"]).tzinfo
    assert mail.get_payload().startswith("Hello ")
