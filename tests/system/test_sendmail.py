"""`mta sendmail`: options, header, addresses, exit statuses, the ways into the
queue."""

import contextlib
import json
import os
import pwd
import re
import resource
import socket
import stat
import subprocess
import tempfile
import threading

import pytest

from harness import DEADLINE, MTA, UNDER_VALGRIND, until
from peer import Peer
from test_full import Ballast, small_disk

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = pwd.getpwnam("nobody")
LOGIN = pwd.getpwuid(os.geteuid()).pw_name
USAGE, DATA, NOUSER, UNAVAILABLE, TEMP, NOPERM, CONFIG = \
    64, 65, 67, 69, 75, 77, 78
TEXT = b"Subject: x\n\nhello\n"
SOON = {"MTA_STOP_TIMEOUT": "1s"}
EVERY = {"EMAIL": None, "NAME": None}
QUIET = {k: v for k, v in os.environ.items() if k not in EVERY}


def sendmail(m, *args, input=TEXT, name=None, env=None, uid=None, limits=None,
             **more):
    """Run it as its own program, by that name, with the settings of m."""
    def become():
        for what, limit in (limits or {}).items():
            resource.setrlimit(what, (limit, limit))
        if uid is not None:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
    if uid is not None or limits:
        more["preexec_fn"] = become
    command = [name or "sendmail"] + (["-C", m.conf] if m else [])
    if input is not None:
        more["input"] = input
    return subprocess.run(
        command + list(args), executable=MTA,
        env=dict(QUIET, **(env or {})), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=DEADLINE * 4, **more)


def good(m, *args, **kwargs):
    done = sendmail(m, *args, **kwargs)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stdout and not done.stderr, done
    return done


@pytest.fixture
def served(mta):
    m = mta("serve", {"hostname": "mx.here.test",
                      "local.domains": ["here.test", "mx.here.test"]})
    os.chmod(m.dir, 0o755)
    os.chmod(m.conf, 0o644)
    until("socket", lambda: os.path.exists(os.path.join(m.queue, "submit")))
    return m


def text_of(m, user="joe", n=1):
    """The text of the only message in a mailbox, without the fields of ours."""
    return take_apart(m.copies(user, n)[-1])


def take_apart(copy):
    head, _, body = copy.decode("utf-8", "surrogateescape").partition("\n\n")
    fields = []
    for line in head.split("\n"):
        if line[:1] in " \t":
            fields[-1] += "\n" + line
        else:
            fields.append(line)
    return fields, body


def named(fields, name):
    return [f.split(":", 1)[1].strip() for f in fields
            if f.lower().startswith(name.lower() + ":")]


def sender_of(m):
    (e,) = until("accepted", lambda: m.events("serve.accepted"))
    return e["from"]


# --- options ----------------------------------------------------------------

IGNORED = [
    [], ["-i"], ["-oi"], ["-oitrue"], ["-bm"], ["-b", "m"], ["-ba"],
    ["-B8BITMIME"], ["-B", "7BIT"], ["-B", "nonsense"],
    ["-odb"], ["-odi"], ["-odq"], ["-odd"], ["-o", "i"],
    ["-oem"], ["-oep"], ["-oeq"], ["-oew"], ["-oee"], ["-em"], ["-ep"],
    ["-eq"], ["-e", "m"], ["-om"], ["-m"], ["-o7"], ["-o8"], ["-oA/x"],
    ["-oB/x"], ["-oXx"], ["-O", "opt=val"], ["-Oopt=val"], ["-Ac"], ["-Am"],
    ["-G"], ["-h", "3"], ["-h3"], ["-L", "tag"], ["-Ltag"], ["-p", "SMTP"],
    ["-X", "/nowhere/log"], ["-U"], ["-n"], ["-x"], ["-E"], ["-J"], ["-d"],
    ["-d0.1"], ["-F", "Full Name"], ["-FFull"], ["-N", "never"],
    ["-Nsuccess,failure"], ["-R", "hdrs"], ["-Rfull"], ["-V", "env+id"],
    ["-fa@here.test"], ["-r", "a@here.test"], ["-ra@here.test"], ["--"],
    ["-im"], ["-mi"], ["-FCronDaemon", "-odi", "-oem", "-oi"],
    ["-i", "-FCronDaemon", "-B8BITMIME", "-oem"], ["-oi", "-fa@b", "-odi"],
    ["-FAnacron", "-odi"], ["-oem", "-oi", "-f", "a@b"],
]


@pytest.mark.parametrize("args", IGNORED, ids=" ".join)
def test_options_that_callers_give(served, args):
    """Each with a recipient behind it, which is the only one."""
    good(served, *args, "joe")
    assert text_of(served)[1] == "hello\n"
    (e,) = until("the line", lambda: served.events("serve.accepted"))
    assert e["nrcpt"] == "1"
    assert not served.events("serve.note")


@pytest.mark.parametrize("args", [["-t"], ["-ti"], ["-it"], ["-t", "-i"],
                                  ["-t", "-oi"], ["-tim"], ["-i", "-m", "-t"]],
                         ids=" ".join)
def test_recipients_of_the_text(served, args):
    good(served, *args, input=b"To: joe\n" + TEXT)
    assert text_of(served)[1] == "hello\n"


@pytest.mark.parametrize("option", ["-Z", "-Zvalue", "--wrong=1", "-tZ", "-k"])
def test_unknown_options_lose_no_mail(served, option):
    good(served, option, "joe", input=b"To: joe\n" + TEXT)
    assert text_of(served)[1] == "hello\n"
    (note,) = until("note", lambda: served.events("serve.note"))
    assert note["text"] == "sendmail: unknown option " + option
    (e,) = until("the line", lambda: served.events("serve.accepted"))
    assert note["sid"] == e["sid"]


@pytest.mark.parametrize("args", [["-bz"], ["-b"], ["-bm", "-bx"]])
def test_unknown_modes_are_refused(served, args):
    done = sendmail(served, *args, "joe" if args[-1] != "-b" else "-b")
    assert done.returncode == USAGE and b"no such mode" in done.stderr
    assert not served.queued()


@pytest.mark.parametrize("option", ["-f", "-F", "-C", "-N", "-B", "-qR"])
def test_missing_value(served, option):
    done = sendmail(served, "joe", option)
    assert done.returncode == USAGE and b"needs a value" in done.stderr


@pytest.mark.parametrize("mode", ["-bh", "-bH"])
def test_host_status_is_nothing(served, mode):
    good(served, mode)


def test_dash_only_behind_dashes(served):
    """A recipient must not become an option, nor an option a recipient."""
    good(served, "-f", "a@here.test", "--", "-X/tmp/x@elsewhere.test", "joe")
    assert len(served.copies("joe")) == 1
    (q,) = [q for q in served.queued() if q["queue"] == "remote"]
    assert q["recipients"][0]["address"] == "-X/tmp/x@elsewhere.test"


def test_verbose(served):
    done = sendmail(served, "-v", "joe")
    said = done.stderr.decode()
    assert done.returncode == 0
    for word in ("220 mx.here.test", ">>> MAIL FROM:<%s@mx.here.test>" % LOGIN,
                 ">>> RCPT TO:<joe@mx.here.test>", "354 ", "queued as"):
        assert word in said, said


@pytest.mark.parametrize("args, code, said", [
    (["-N", "sometimes"], USAGE, "-N sometimes"),
    (["-N", "never,failure"], USAGE, "-N never,failure"),
    (["-R", "nothing"], USAGE, "-R nothing"),
    (["-V", "x" * 200], USAGE, "-V"),
])
def test_bad_notices(served, args, code, said):
    done = sendmail(served, *args, "joe@elsewhere.test")
    assert done.returncode == code and said in done.stderr.decode()
    assert not served.queued()


def test_notices(served):
    good(served, "-N", "failure,delay", "-R", "hdrs", "-V", "id +=1",
         "joe@elsewhere.test")
    (q,) = served.queued()
    shown = json.loads(served.tool("queue", "show", q["id"],
                                   "--json").stdout.decode().split("\n")[0])
    assert shown["ret"] == "hdrs" and "id" in shown["envid"], shown
    assert "DELAY" in json.dumps(shown).upper()


# --- recipients -------------------------------------------------------------

@pytest.mark.parametrize("head, args, want", [
    ("To: a\n", [], "a"),
    ("To: a, b\nCc: c\nBcc: d\n", [], "a b c d"),
    ("To: a\n", ["b"], "a b"),
    ("To: a, A B <b>, \"C, D\" <c@here.test>\n", [], "a b c"),
    ("To: friends: a, b;, c\nCc: undisclosed-recipients:;\n", [], "a b c"),
    ("To: a (b, c)\n", [], "a"),
    ("To: A <a> B <b> <c>, d\n", [], "a b c d"),
    ("To: a,\n\tb,\n c\n", [], "a b c"),
    ("to:a\nCC : b\n", [], "a b"),
    ("To: a\nTo: b\n", [], "a b"),
    ("To: a, a, a@mx.here.test\nCc: <a>\n", ["a"], "a"),
    ("To:\nCc: a\n", [], "a"),
    ("To: <@x.test:a@here.test>\n", [], "a"),
    ("Resent-To: a\nTo: b\nCc: c\n", [], "a"),
    ("Resent-To: a\nResent-Cc: b\nResent-Bcc: c\nReceived: x\n"
     "Resent-To: d\nTo: e\n", [], "a b c"),
    ("Resent-From: x\nSubject: y\nResent-To: a\nTo: b\n", [], "a"),
    ("X-To: b\nReply-To: c\nFrom: d\nTo: a\n", [], "a"),
    ("To: a@here.test, b\r\n", [], "a b"),
], ids=str)
def test_addresses_of_the_header(served, head, args, want):
    good(served, "-t", *args, input=head.encode() + b"\nhello\n")
    got = until("delivered", lambda: len(
        {e["to"] for e in served.deliveries()}) >= len(want.split()) and
        {e["to"].split("@")[0] for e in served.deliveries()})
    assert got == set(want.split())
    served.settle()
    assert len(served.deliveries()) == len(want.split())


@pytest.mark.parametrize("args", [["-t"], ["joe"]])
def test_bcc_is_for_the_envelope_alone(served, args):
    good(served, *args, input=b"To: joe\nBcc: ann,\n bob\n"
         b"bcc : y\nCc: carl\nSubject: x\n\nBcc: text\n")
    fields, body = text_of(served)
    assert not named(fields, "bcc") and "y" not in fields
    assert "ann" not in "".join(fields) and body == "Bcc: text\n"
    assert named(fields, "Cc") and named(fields, "Subject") == ["x"]
    good(served, *args, input=b"Resent-To: zoe\nResent-Bcc: ann\n" + TEXT)
    user = "zoe" if args == ["-t"] else "joe"
    head = b"".join(served.copies(user, 1 if args == ["-t"] else 2))
    assert b"Resent-To: zoe" in head and b"Resent-Bcc" not in head


@pytest.mark.parametrize("args", [["-t"], [], ["-t", "-f", "a@b"]])
def test_no_recipients(served, args):
    done = sendmail(served, *args)
    assert done.returncode == DATA and b"no recipient" in done.stderr
    assert not served.queued()


def test_lists_as_arguments(served):
    good(served, "a, B <b@here.test>", "c@here.test,d")
    for user in "abcd":
        assert len(served.copies(user)) == 1


@pytest.mark.parametrize("bad", ["a@", "@here.test", "a b", "a..b@here.test",
                                 "a@b@c", "x" * 300, "a@-b.test"])
def test_bad_addresses(served, bad):
    """Others get it; the status says that not all of it is well."""
    done = sendmail(served, bad)
    assert done.returncode == DATA and b"bad address" in done.stderr
    assert not served.queued()
    done = sendmail(served, bad, "joe")
    assert done.returncode == DATA and b"bad address" in done.stderr
    assert text_of(served)[1] == "hello\n"


@pytest.mark.parametrize("bad", [
    "Joe <joe smith@here.test>",
    "(and so on, joe@here.test", "\"Joe <joe@here.test>"])
def test_malformed_lists(served, bad):
    """Nobody is left out without a word."""
    done = sendmail(served, "-t", input=b"Cc: ann\nTo: bob, %s\n" %
                    bad.encode() + TEXT)
    assert done.returncode == DATA and b"bad address" in done.stderr, done
    assert len(served.copies("ann")) == len(served.copies("bob")) == 1
    assert len(served.deliveries()) == 2


@pytest.mark.parametrize("value", ["\"%s\" <joe>, ann", "joe (%s), ann",
                                   "%s\n <joe>, ann"])
def test_names_of_any_length(served, value):
    """Also of one that is longer than what is rewritten."""
    name = "x, y" if value[0] != "%" else "x y"
    good(served, "-t", input=("To: %s\n" % value % (name * 1000)).encode() +
         TEXT)
    assert len(served.copies("joe")) == len(served.copies("ann")) == 1


def test_unknown_user(mta):
    m = mta("serve", start=False)
    users = os.path.join(m.dir, "users")
    with open(users, "w") as f:
        f.write("joe\nann\n")
    m.settings["local.users"] = "file:" + users
    m.write_conf()
    m.start()
    until("socket", lambda: os.path.exists(os.path.join(m.queue, "submit")))
    done = sendmail(m, "nope@here.test")
    assert done.returncode == NOUSER
    assert b"nope@here.test: 550" in done.stderr
    assert not m.queued()
    done = sendmail(m, "nope@here.test", "joe@here.test", "ann@here.test")
    assert done.returncode == NOUSER
    assert len(m.copies("joe")) == len(m.copies("ann")) == 1


def test_hundreds_of_recipients(served):
    users = ["u%03d" % i for i in range(350)]
    good(served, "-t", input=("To: %s\n\nx\n" % ",\n ".join(
        users)).encode())
    until("all", lambda: len(served.deliveries()) == 350)


def test_too_many_recipients(mta):
    m = mta("serve", {"serve.max_recipients": 3})
    done = sendmail(m, "a", "b", "c", "d")
    assert done.returncode == DATA and b"serve.max_recipients" in done.stderr
    assert not m.queued()


# --- the sender -------------------------------------------------------------

@pytest.mark.parametrize("args, env, want", [
    ([], {}, LOGIN + "@mx.here.test"),
    (["-f", "a@b.test"], {}, "a@b.test"),
    (["-fa@b.test"], {}, "a@b.test"),
    (["-r", "a"], {}, "a@mx.here.test"),
    (["-f", ""], {}, ""),
    (["-f", "<>"], {}, ""),
    (["-f<>"], {}, ""),
    (["-f", "<a@b.test>"], {}, "a@b.test"),
    (["-f", "A B <a@b.test>"], {}, "a@b.test"),
    (["-f", "a@b.test", "-f", "c@d.test"], {}, "c@d.test"),
    ([], {"EMAIL": "e@f.test"}, "e@f.test"),
    ([], {"EMAIL": "E F <e@f.test>"}, "e@f.test"),
    ([], {"EMAIL": "of another program"}, LOGIN + "@mx.here.test"),
    ([], {"EMAIL": "(none)"}, LOGIN + "@mx.here.test"),
    (["-f", "a@b.test"], {"EMAIL": "e@f.test"}, "a@b.test"),
    (["-f", "<>"], {"EMAIL": "e@f.test"}, ""),
], ids=str)
def test_sender(served, args, env, want):
    good(served, *args, "joe", env=env)
    assert sender_of(served) == "<%s>" % want


@pytest.mark.parametrize("bad", ["a b@", "<a b@here.test>", "a@", "\"a",
                                 "x" * 300])
def test_bad_sender(served, bad):
    done = sendmail(served, "-f", bad, "joe")
    assert done.returncode == DATA and b"bad sender" in done.stderr
    assert not served.queued()


@AS_ROOT
@pytest.mark.parametrize("name, want", [
    ("", "54321"), ("joe", "joe"), ("J\\joe", '"J\\\\joe"'),
    ("joe doe", '"joe doe"'), ("x" * 400, "54321"), ("a,b <c>", '"a,b <c>"')])
def test_user_without_a_name(served, name, want):
    """As containers have them.  A name is no list of addresses."""
    good(served, "joe", uid=54321, env={"LOGNAME": name})
    fields, _ = text_of(served)
    want = "<%s@mx.here.test>" % want
    assert named(fields, "Return-Path") == [want]
    assert named(fields, "From")[0].endswith(want)
    assert named(fields, "Received")[0].startswith(
        "by mx.here.test (mta, from userid 54321)")


@pytest.mark.parametrize("args, env, want", [
    (["-F", "Cron Daemon"], {}, "Cron Daemon <%s>"),
    ([], {"NAME": "Full Name"}, "Full Name <%s>"),
    (["-F", "A"], {"NAME": "B"}, "A <%s>"),
    (["-F", "root (Cron)"], {}, '"root (Cron)" <%s>'),
    (["-F", 'a "b" \\c'], {}, '"a \\"b\\" \\\\c" <%s>'),
    (["-F", "J\u00f6rg"], {}, "=?UTF-8?B?SsO2cmc=?= <%s>"),
    (["-F", "a\nBcc: b"], {}, '"a Bcc: b" <%s>'),
    (["-F", ""], {}, "<%s>"),
], ids=str)
def test_from_is_added(served, args, env, want):
    good(served, *args, "joe", env=env)
    fields, _ = text_of(served)
    assert named(fields, "From") == [want % (LOGIN + "@mx.here.test")]
    assert not named(fields, "Bcc")


def test_from_of_the_user(served):
    full = pwd.getpwuid(os.geteuid()).pw_gecos.split(",")[0]
    good(served, "joe")
    fields, _ = text_of(served)
    (value,) = named(fields, "From")
    assert value == ("%s <%s@mx.here.test>" % (full, LOGIN)).lstrip()


@pytest.mark.parametrize("args, want", [
    (["-f", "a@b.test"], "<a@b.test>"),
    (["-f", "<>", "-F", "X"], "X <%s@mx.here.test>" % LOGIN)])
def test_from_of_the_sender(served, args, want):
    good(served, *args, "joe")
    assert named(text_of(served)[0], "From") == [want]


def test_from_is_kept(served):
    good(served, "-F", "X", "joe", input=b"from: Y <y@b.test>\n" + TEXT)
    fields, _ = text_of(served)
    assert named(fields, "From") == ["Y <y@b.test>"]


def test_empty_from_is_replaced(served):
    good(served, "-f", "a@b.test", "joe", input=b"From:\n \n" + TEXT)
    fields, _ = text_of(served)
    assert named(fields, "From") == ["<a@b.test>"]


def test_resent_fields(served):
    good(served, "-t", "-f", "a@b.test", input=b"Resent-To: joe\nFrom: y@b.test"
         b"\nTo: z\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n\nx\n")
    fields, _ = text_of(served)
    assert named(fields, "Resent-From") == ["<a@b.test>"]
    assert len(named(fields, "Resent-Date")) == 1
    assert re.match(r"<.*@mx\.here\.test>$",
                    named(fields, "Resent-Message-ID")[0])
    assert named(fields, "From") == ["y@b.test"]
    assert len(named(fields, "Date")) == 1


def test_resent_fields_are_kept(served):
    given = b"Resent-From: r@b.test\nResent-Date: d\nResent-Message-ID: <i>\n"
    good(served, "-t", input=given + b"Resent-To: joe\n" + TEXT)
    fields, _ = text_of(served)
    assert named(fields, "Resent-From") == ["r@b.test"]
    assert named(fields, "Resent-Date") == ["d"]
    assert named(fields, "Resent-Message-ID") == ["<i>"]


# --- the text ---------------------------------------------------------------

@pytest.mark.parametrize("given, subject, body", [
    (b"Subject: x\n\na\nb\n", "x", "a\nb\n"),
    (b"Subject: x\r\n\r\na\r\nb\r\n", "x", "a\nb\n"),
    (b"Subject: x\r\nX: y\r\n\r\na\nb\r\nc\n", "x", "a\nb\nc\n"),
    (b"Subject: x\n\na\r\nb\n", "x", "a\nb\n"),
    (b"Subject: x\r\r\n\r\na\r\r\nb\r\n", "x", "a\nb\n"),
    (b"Subject: x\n\na\rb\r\n\rc\n", "x", "a b\n c\n"),
    (b"Subject: x\n\nno end", "x", "no end\n"),
    (b"Subject: x\n\nno end\r", "x", "no end\n"),
    (b"Subject: x\n\n", "x", ""),
    (b"Subject: x\n", "x", ""),
    (b"Subject: x", "x", ""),
    (b"", None, ""),
    (b"\n", None, ""),
    (b"\nSubject: x\n", None, "Subject: x\n"),
    (b"text alone\nmore\n", None, "text alone\nmore\n"),
    (b" begins with a blank\n", None, " begins with a blank\n"),
    (b"Subject: x\nno field\n\nb\n", "x", "no field\n\nb\n"),
    (b"From joe Mon Jan  1 00:00:00 2024\nSubject: x\n\na\n", "x", "a\n"),
    (b">From joe Mon\nFrom ann\nSubject: x\n\nFrom b\n", "x", "From b\n"),
    (b"Subject: x\n\n\n\n", "x", "\n\n"),
    (b"Subject: x\n\n\xff\xfe \xc3\xb6\n", "x", "\udcff\udcfe \u00f6\n"),
    (b"Subject: x\n\n" + b"y" * 3000 + b"\n", "x", "y" * 3000 + "\n"),
    (b"Subject: x\n\n.a\n..\n...\n", "x", ".a\n..\n...\n"),
    (b"Subject: x\n\n\0.a\n\0\0b\0\n", "x", " .a\n  b \n"),
], ids=lambda v: repr(v)[:30])
def test_lines(served, given, subject, body):
    good(served, "joe", input=given)
    fields, got = text_of(served)
    assert got == body
    assert named(fields, "Subject") == ([subject] if subject else [])
    assert b"\r" not in served.mailbox("joe")[0]


@pytest.mark.parametrize("args, given, body", [
    ([], b"a\n.\nb\n", "a\n"),
    ([], b"a\r\n.\r\nb\r\n", "a\n"),
    ([], b"a\n.", "a\n"),
    ([], b"a\n. \nb\n", "a\n. \nb\n"),
    (["-i"], b"a\n.\nb\n", "a\n.\nb\n"),
    (["-oi"], b"a\n.\nb", "a\n.\nb\n"),
    (["-i"], b"a\n.", "a\n.\n"),
    (["-ti"], b"a\n..\n.\r\nb\n", "a\n..\n.\nb\n"),
])
def test_a_line_with_one_dot(served, args, given, body):
    good(served, *args, "joe", input=b"Subject: x\n\n" + given)
    assert text_of(served)[1] == body


def test_pieces(served):
    """The caller writes an octet at a time, and takes its time."""
    text = b"Subject: x\r\n\r\n.a\r\n\r\n..\r\nb\r\r\nc\rd\r\n"
    p = subprocess.Popen(["sendmail", "-C", served.conf, "joe"],
                         executable=MTA, stdin=subprocess.PIPE, env=QUIET)
    for i in range(len(text)):
        p.stdin.write(text[i:i + 1])
        p.stdin.flush()
    p.stdin.close()
    assert p.wait(DEADLINE) == 0
    assert text_of(served)[1] == ".a\n\n..\nb\nc d\n"


def test_input_that_does_not_wait(served):
    """The caller, or another program, has set O_NONBLOCK."""
    r, w = os.pipe()
    os.set_blocking(r, False)
    p = subprocess.Popen(["sendmail", "-C", served.conf, "joe"], executable=MTA,
                         stdin=r, env=QUIET, stderr=subprocess.PIPE)
    os.close(r)
    until("it waits", lambda: p.poll() is not None or state_of(p.pid) == "S")
    os.write(w, TEXT)
    os.close(w)
    _, said = p.communicate(timeout=DEADLINE)
    assert p.returncode == 0, said
    assert text_of(served)[1] == "hello\n"


def state_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def test_return_path_of_before(served):
    """Of a message from a mailbox: each delivery writes its own."""
    good(served, "-f", "a@b.test", "joe",
         input=b"Return-Path: <x@y.test>\nReceived: z\n" + TEXT)
    fields, _ = text_of(served)
    assert named(fields, "Return-Path") == ["<a@b.test>"]
    assert named(fields, "Received")[1:] == ["z"]


def test_header_of_a_megabyte(served):
    long = b"X-Long: " + b"y" * (1 << 20) + b"\n"
    many = b"".join(b"X-%d: z\n" % i for i in range(1000))
    good(served, "-t", input=long + many + b"To: joe\n" + TEXT)
    fields, body = text_of(served)
    assert body == "hello\n" and named(fields, "X-999") == ["z"]
    assert len(named(fields, "X-Long")[0]) == 1 << 20


def test_one_large_line(served):
    """It is no header that is too long."""
    good(served, "joe", input=b"y" * (5 << 20))
    assert text_of(served)[1] == "y" * (5 << 20) + "\n"


def test_header_without_end(served):
    done = sendmail(served, "joe", input=b"X: " + b"y" * (5 << 20))
    assert done.returncode == DATA and b"header is longer" in done.stderr
    done = sendmail(served, "joe", input=b"X: y\n" * (1 << 20))
    assert done.returncode == DATA and b"header is longer" in done.stderr
    assert not served.queued()


@pytest.mark.parametrize("mib", [1, 4, 12])
def test_large_text(served, mib):
    line = b"".join(b"%07d" % i for i in range(10)) + b"\n"
    body = line * ((mib << 20) // len(line))
    good(served, "joe", input=b"Subject: x\n\n" + body,
         env={"TMPDIR": served.dir})
    assert text_of(served)[1].encode() == body
    assert not [f for f in os.listdir(served.dir) if "sendmail" in f]


def test_too_large(mta):
    m = mta("serve", {"serve.max_message_size": "100K"})
    done = sendmail(m, "joe", input=b"Subject: x\n\n" + b"y\n" * 60000)
    assert done.returncode == UNAVAILABLE
    assert b"serve.max_message_size" in done.stderr
    assert not m.queued()


def test_endless_text(mta):
    m = mta("serve", {"serve.max_message_size": "8M"})
    with open("/dev/zero", "rb") as zero:
        done = sendmail(m, "joe", input=None, stdin=zero)
    assert done.returncode == UNAVAILABLE


def test_no_room_for_a_large_text(served):
    done = sendmail(served, "joe", input=b"\n" + b"y\n" * (3 << 20),
                    env={"TMPDIR": "/nowhere"})
    assert done.returncode == TEMP and b"/nowhere" in done.stderr
    assert not served.queued()


def test_closed_input(served):
    done = subprocess.run(["/bin/sh", "-c", 'exec "$0" sendmail -C "$1" joe '
                           "<&-", MTA, served.conf], stderr=subprocess.PIPE)
    assert done.returncode == DATA, done
    assert b"error reading input: Bad file descriptor" in done.stderr
    assert not served.queued()


def test_unreadable_input(served):
    fd = os.open("/", os.O_RDONLY)
    done = sendmail(served, "joe", input=None, stdin=fd)
    os.close(fd)
    assert done.returncode == DATA
    assert b"error reading input: Is a directory" in done.stderr
    assert not served.queued()


def test_closed_output_and_error(served):
    done = subprocess.run(["/bin/sh", "-c", 'printf "\\n%s\\n" "$2" | "$0" '
                           'sendmail -v -C "$1" joe >&- 2>&-',
                           MTA, served.conf, "y" * 100])
    assert done.returncode == 0
    assert text_of(served)[1] == "y" * 100 + "\n"


def test_error_output_that_nobody_reads(served):
    r, w = os.pipe()
    os.close(r)
    p = subprocess.run(["sendmail", "-v", "-C", served.conf, "joe"],
                       executable=MTA, input=TEXT, stderr=w, env=QUIET)
    os.close(w)
    assert p.returncode == 0
    assert text_of(served)[1] == "hello\n"


# --- ways into the queue ----------------------------------------------------

class Server:
    """In the place of a server: answers as a script has it.  Steps: text to
    be sent, a number of lines to be read, or `close`."""

    def __init__(self, queue, *scripts):
        os.makedirs(queue, exist_ok=True)
        self.path = os.path.join(queue, "submit")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(5)
        self.said = []
        self.thread = threading.Thread(target=self.play, args=scripts)
        self.thread.start()

    def play(self, *scripts):
        for script in scripts:
            c, _ = self.listener.accept()
            f = c.makefile("rwb")
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for step in script:
                    if isinstance(step, str):
                        f.write(step.encode() + b"\r\n")
                        f.flush()
                    else:
                        self.said += [f.readline() for _ in range(step)]
                f.close()
            c.close()
        self.listener.close()
        os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join()


OPEN = ("220 x", 4, "250 x", "250 ok", "250 ok", "354 go")


def queue_of(mta, **settings):
    """Settings and a queue, without a server."""
    m = mta("run", {"hostname": "mx.here.test", **settings}, start=False)
    os.chmod(m.dir, 0o755)
    os.chmod(m.conf, 0o644)
    return m


def waiting(m):
    """What is in a queue that there need not be."""
    return m.queued() if os.path.exists(m.queue + "/remote") else []


def directly(m, *args, **kwargs):
    good(m, *args, **kwargs)
    (q,) = m.queued()
    return q


def test_without_a_server(mta):
    """The same message as with one: for here, for elsewhere."""
    m = queue_of(mta)
    assert directly(m, "joe@here.test")["queue"] == "local"
    good(m, "joe@elsewhere.test")
    assert sorted(q["queue"] for q in m.queued()) == ["local", "remote"]
    m.start()
    fields, body = text_of(m)
    assert body == "hello\n"
    assert re.match(r"by mx\.here\.test \(mta, from userid %d\)\s+with ESMTP "
                    r"id \w{16}\s+for <joe@here\.test>; " % os.geteuid(),
                    named(fields, "Received")[0])


def test_socket_of_a_killed_server(mta):
    m = mta("serve")
    until("socket", lambda: os.path.exists(m.queue + "/submit"))
    m.kill_all()
    assert os.path.exists(m.queue + "/submit")
    directly(m, "joe@here.test")


def test_long_queue_directory(mta):
    """Longer than the path of a socket can be."""
    m = mta("serve", start=False)
    m.queue = m.settings["queue_dir"] = os.path.join(m.dir, "q" * 100, "r" * 60)
    m.write_conf()
    m.start()
    until("socket", lambda: os.path.exists(m.queue + "/submit"))
    good(m, "joe@here.test")
    assert until("connect", lambda: m.events("serve.connect",
                                             client="unix:submit"))


def test_without_a_server_users_are_checked(mta):
    m = queue_of(mta)
    users = m.settings["local.users"] = "file:%s/users" % m.dir
    m.write_conf()
    with open(users[5:], "w") as f:
        f.write("joe\n")
    done = sendmail(m, "nope@here.test")
    assert done.returncode == NOUSER, done
    assert len(waiting(m)) == 0
    directly(m, "joe@here.test")


@AS_ROOT
def test_without_a_server_all_users_of_the_system_exist(mta):
    """Also after root has become the owner of the queue."""
    m = queue_of(mta, **{"local.users": "passwd", "user": "nobody"})
    assert directly(m, "daemon@here.test")["queue"] == "local"
    assert sendmail(m, "no-such-user@here.test").returncode == NOUSER


@AS_ROOT
def test_root_writes_as_the_owner_of_the_queue(mta):
    m = queue_of(mta)
    os.makedirs(m.queue, 0o711)
    os.chown(m.queue, NOBODY.pw_uid, NOBODY.pw_gid)
    directly(m, "joe@here.test")
    for dir, dirs, files in os.walk(m.queue):
        for name in dirs + files:
            st = os.lstat(os.path.join(dir, name))
            assert st.st_uid == NOBODY.pw_uid, name
            assert stat.S_IMODE(st.st_mode) & 0o077 == 0, name


@AS_ROOT
@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_root_makes_the_queue_for_its_user(mta, umask):
    m = queue_of(mta, user="nobody")
    directly(m, "joe@here.test", umask=umask)
    assert os.stat(m.queue).st_uid == NOBODY.pw_uid
    assert stat.S_IMODE(os.stat(m.queue).st_mode) == 0o711


@AS_ROOT
def test_owner_of_the_queue_needs_no_root(mta):
    """The container: one user for all."""
    m = queue_of(mta, user="")
    os.makedirs(m.queue, 0o711)
    os.chown(m.queue, 54321, 54321)
    good(m, "joe@here.test", uid=54321)
    assert len(m.queued()) == 1


@AS_ROOT
def test_strangers_are_told(mta):
    m = queue_of(mta)
    directly(m, "joe@here.test")
    done = sendmail(m, "joe@here.test", uid=NOBODY.pw_uid, env=SOON)
    said = done.stderr.decode()
    assert done.returncode == TEMP
    assert "mail system is down" in said and "start it with mta run" in said
    assert "nobody may not write to the queue %s" % m.queue in said
    assert len(m.queued()) == 1


@AS_ROOT
def test_environment_of_another_user(mta):
    """A setuid program calls: it must not lead root to another queue."""
    def become():
        os.setresuid(NOBODY.pw_uid, 0, 0)
    m = queue_of(mta, user="nobody")
    evil = os.path.join(m.dir, "evil")
    good(m, "joe@here.test", preexec_fn=become, env={
        "MTA_QUEUE_DIR": evil, "MTA_USER": "daemon", "MTA_CONFIG": "/nowhere"})
    assert not os.path.exists(evil)
    assert os.stat(m.queue).st_uid == NOBODY.pw_uid and len(m.queued()) == 1


@AS_ROOT
def test_no_process_left(mta):
    m = queue_of(mta, user="")
    os.makedirs(m.queue, 0o711)
    os.chown(m.queue, 54321, 54321)
    done = sendmail(m, "joe@here.test", uid=54321,
                    limits={resource.RLIMIT_NPROC: 1},
                    env={"ASAN_OPTIONS": "detect_leaks=0"})  # by a thread
    assert done.returncode == TEMP and b"fork" in done.stderr, done


def test_a_caller_with_many_files(mta):
    """Which it does not close: more than select() can see."""
    def leak():
        resource.setrlimit(resource.RLIMIT_NOFILE, (1300, 1300))
        for fd in range(3, 1100):
            os.dup2(2, fd)
    m = queue_of(mta)
    directly(m, "joe@here.test", preexec_fn=leak, close_fds=False)


@AS_ROOT
def test_strangers_make_no_queue(mta):
    """A server would refuse it later: it belongs to somebody else."""
    m = queue_of(mta, user="daemon")
    os.chmod(m.dir, 0o777)
    done = sendmail(m, "joe@here.test", uid=NOBODY.pw_uid, env=SOON)
    assert done.returncode == TEMP
    assert not os.path.exists(m.queue)


@AS_ROOT
def test_strangers_wait_for_a_server_that_is_started_again(mta):
    m = queue_of(mta, stop_timeout="30s", **{
        "local.domains": ["mx.here.test"]})
    os.mkdir(m.queue, 0o711)
    p = subprocess.Popen(["sendmail", "-C", m.conf, "joe"], executable=MTA,
                         stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                         env=QUIET, user=NOBODY.pw_uid)
    p.stdin.write(TEXT)
    p.stdin.close()
    until("it waits", lambda: p.poll() is not None or state_of(p.pid) == "S")
    m.start()
    assert p.wait(DEADLINE) == 0, p.stderr.read()
    p.stderr.close()
    assert text_of(m)[1] == "hello\n"


@AS_ROOT
def test_settings_that_cannot_be_read(mta):
    """A file with secrets: the socket is where it usually is."""
    m = mta("serve")
    os.chmod(m.dir, 0o755)
    os.chmod(m.conf, 0o600)
    until("socket", lambda: os.path.exists(os.path.join(m.queue, "submit")))
    env = {"MTA_CONFIG": m.conf, "MTA_QUEUE_DIR": m.queue,
           "MTA_HOSTNAME": "here.test"}
    good(None, "joe", env=env, uid=NOBODY.pw_uid)
    assert len(m.copies("joe")) == 1
    env.update(SOON, MTA_QUEUE_DIR="/nowhere")
    done = sendmail(None, "joe", env=env, uid=NOBODY.pw_uid)
    assert done.returncode == CONFIG and m.conf in done.stderr.decode()
    done = sendmail(m, "joe", uid=NOBODY.pw_uid)  # -C is meant so
    assert done.returncode == CONFIG


@AS_ROOT
def test_names_without_settings(mta):
    """The server knows the name of this host, and its limits."""
    m = mta("serve", {"hostname": "mx.here.test", "serve.max_recipients": 9000,
                      "local.domains": ["mx.here.test"]})
    os.chmod(m.dir, 0o755)
    os.chmod(m.conf, 0o600)
    until("socket", lambda: os.path.exists(os.path.join(m.queue, "submit")))
    env = {"MTA_CONFIG": m.conf, "MTA_QUEUE_DIR": m.queue}
    good(None, "-t", "-f", "ann", env=env, uid=NOBODY.pw_uid,
         input=b"To: joe\n" + TEXT)
    fields, _ = text_of(m)
    assert named(fields, "Return-Path") == named(fields, "From") == \
        ["<ann@mx.here.test>"]
    assert named(fields, "To") == ["joe@mx.here.test"]
    good(None, *["u%d@far.test" % i for i in range(1100)], env=env,
         uid=NOBODY.pw_uid)


@pytest.mark.parametrize("steps", [(), ("220 x",), OPEN[:2], OPEN[:4],
                                   OPEN, OPEN + (2,)])
def test_server_that_dies_before_the_dot(mta, steps):
    """Nothing was accepted: another try, then directly."""
    m = queue_of(mta)
    text = b"Subject: x\n\n" + b"y" * 99 + b"y\n" * (1 << 20)
    with Server(m.queue, steps, steps, steps):
        directly(m, "joe@here.test", input=text)


def test_server_that_dies_once(mta):
    m = queue_of(mta)
    with Server(m.queue, OPEN[:3], OPEN + (6, "250 2.0.0 Ok: queued as X")) \
            as server:
        good(m, "-f", "a@b", "joe@here.test")
    assert b".\r\n" in server.said and not waiting(m)


def test_server_that_dies_behind_the_dot(mta):
    """It may have accepted the message: nothing is sent twice."""
    m = queue_of(mta)
    with Server(m.queue, OPEN + (6,)):
        done = sendmail(m, "-f", "a@b", "joe@here.test")
    assert done.returncode == TEMP
    assert b"may have been accepted" in done.stderr
    assert not waiting(m)


@pytest.mark.parametrize("replies, status, said", [
    (("220 x", 4, "250 x", "452 4.3.1 Insufficient system storage", "503 x",
      "503 x"), TEMP, "452 Insufficient system storage"),
    (("220 x", 4, "250 x", "250 ok", "451 4.3.0 later", "503 x"), TEMP,
     "451 later"),
    (("220 x", 4, "250 x", "250 ok", "550 5.1.1 no", "554 x"), NOUSER,
     "joe@here.test: 550 no"),
    (("220 x", 4, "250 x", "250 ok", "550 5.7.1 no", "554 x"), NOPERM, "no"),
    (OPEN + (6, "452 4.3.1 Insufficient system storage"), TEMP, "452"),
    (OPEN + (6, "550 5.5.2 bare"), DATA, "550 bare"),
    (("220 x", 4, "nonsense"), None, ""),
    (("421 4.3.2 stopping", 4), None, ""),
    (OPEN[:-1] + ("421 4.3.2 stopping",), None, ""),
])
def test_refusals(mta, replies, status, said):
    """None: another way is tried."""
    m = queue_of(mta)
    with Server(m.queue, replies, *([replies] * 2 if status is None and
                                    replies[0] != "421 4.3.2 stopping" else
                                    [OPEN + (6, "250 ok")] * (status is None))):
        done = sendmail(m, "-f", "a@b", "joe@here.test")
    assert done.returncode == (status or 0), done
    assert said in done.stderr.decode()
    if status is not None:
        assert not waiting(m)


def test_one_of_two_refused_for_now(mta):
    """Nothing goes to the other: the caller tries all of it again."""
    m = queue_of(mta)
    with Server(m.queue, ("220 x", 5, "250 x", "250 ok", "250 ok",
                          "451 4.3.0 later", "354 go", 1)) as server:
        done = sendmail(m, "-f", "a@b", "joe@here.test", "ann@here.test")
    assert done.returncode == TEMP and server.said[-1] in (b"", b"DATA\r\n")


def test_callers_wait_for_their_turn(mta):
    """A user has fewer connections than callers."""
    m = mta("serve", {"serve.max_clients_per_ip": 2})
    os.chmod(m.dir, 0o755)
    os.chmod(m.conf, 0o644)
    until("socket", lambda: os.path.exists(os.path.join(m.queue, "submit")))
    uid = NOBODY.pw_uid if os.geteuid() == 0 else None
    n = 20 if UNDER_VALGRIND else 100
    failed = []

    def call():
        done = sendmail(m, "joe@here.test", uid=uid)
        if done.returncode != 0:
            failed.append(done)
    threads = [threading.Thread(target=call) for _ in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed, failed[0]
    until("all", lambda: len(m.mailbox("joe")) == n, 2 * DEADLINE)


@AS_ROOT
def test_a_server_that_is_killed_among_callers(mta):
    """Status 0 means one copy, however often the server dies; 75 is a reply
    to the text that did not come.  Callers without rights wait for the next
    server."""
    m = mta("run", {"stop_timeout": "30s"})
    os.chmod(m.dir, 0o755)
    os.chmod(m.conf, 0o644)
    sent, failed, over = [], [], threading.Event()

    def call(caller, uid):
        n = 0
        while not over.is_set():
            n += 1
            text = b"Subject: %d-%d\n\n" % (caller, n) + b"y\n" * (1 << 2 * n % 18)
            done = sendmail(m, "joe@here.test", input=text, uid=uid)
            if done.returncode == 0:
                sent.append(text.split(b"\n", 1)[0])
            elif done.returncode != TEMP or b"may have been" not in done.stderr:
                failed.append(done)
    threads = [threading.Thread(target=call, args=(i, NOBODY.pw_uid if i % 2
                                                   else None))
               for i in range(4)]
    for t in threads:
        t.start()
    for _ in range(4):
        before = len(sent)
        until("mail", lambda n=before: len(sent) > n + 20 or failed)
        m.kill_all()
        m.start()
    over.set()
    for t in threads:
        t.join()
    assert not failed, failed[0]
    until("all", lambda: len(m.mailbox("joe")) >= len(sent), 2 * DEADLINE)
    got = [re.search(rb"^Subject: \d+-\d+$", c, re.M).group()
           for c in m.settle().mailbox("joe")]
    assert set(sent) <= set(got) and len(set(got)) == len(got)


@AS_ROOT
def test_full_disk():
    """With a server and without: the reply names the reason, the caller may
    try again, and then it works."""
    with small_disk() as m:
        os.chmod(m.dir, 0o755)
        until("socket", lambda: os.path.exists(m.queue + "/submit"))
        ballast = Ballast(m)
        ballast.fill()
        for _ in range(2):
            done = sendmail(m, "joe@here.test")
            assert done.returncode == TEMP, done
            assert b"452 Insufficient system storage" in done.stderr
            if m.process is not None:
                m.stop()
        ballast.drop()
        good(m, "joe@here.test")
        m.start()
        assert len(m.copies("joe")) == 1


@AS_ROOT
def test_full_disk_for_a_large_text(mta):
    """Where it waits while it is read."""
    m = mta("serve")
    small = os.path.join(m.dir, "small")
    os.mkdir(small)
    until("socket", lambda: os.path.exists(m.queue + "/submit"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small],
                   check=True)
    try:
        done = sendmail(m, "joe@here.test", input=b"\n" + b"y\n" * (4 << 20),
                        env={"TMPDIR": small})
        assert done.returncode == TEMP
        assert b"keep the message: No space left" in done.stderr
        assert not m.queued() and not os.listdir(small)
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_file_size_limit(served):
    """Of the caller's, for the file of a large text: no signal ends it."""
    done = sendmail(served, "joe", input=b"\n" + b"y\n" * (4 << 20),
                    limits={resource.RLIMIT_FSIZE: 1 << 20})
    assert done.returncode == TEMP, done
    assert b"keep the message: File too large" in done.stderr


# --- what the server adds ---------------------------------------------------

@pytest.mark.parametrize("server", [True, False])
def test_header_is_completed(mta, server):
    """Date, Message-ID and domains of bare names: the same in both ways."""
    m = queue_of(mta, **{"local.domains": ["here.test", "mx.here.test"]})
    if server:
        m.start()
        until("socket", lambda: os.path.exists(m.queue + "/submit"))
    good(m, "-t", "-f", "a@b.test", input=b"To: joe, Ann <ann>\nFrom: root\n"
         b"Subject: x\n\nhello\n")
    if not server:
        m.start()
    fields, body = text_of(m)
    assert body == "hello\n"
    assert re.match(r"<\w+@mx\.here\.test>$", named(fields, "Message-ID")[0])
    assert len(named(fields, "Date")) == 1
    assert named(fields, "To") == ["joe@mx.here.test, Ann <ann@mx.here.test>"]
    assert named(fields, "From") == ["root@mx.here.test"]


@pytest.mark.parametrize("server", [True, False])
def test_null_client(mta, server):
    m = queue_of(mta, **{"rewrite.from": "box@example.com",
                         "rewrite.root": "admin@example.com",
                         "local.domains": ["mx.here.test"],
                         "send.relay_host": "[127.0.0.9]:25"})
    if server:
        m.start()
        until("socket", lambda: os.path.exists(m.queue + "/submit"))
    good(m, "root", input=b"From: root (Cron Daemon)\nTo: root\n\nhello\n")
    if not server:
        m.start()
    (q,) = until("handed over", lambda: [
        q for q in m.queued() if q["queue"] == "remote"])
    assert q["sender"] == "box@example.com"
    assert q["recipients"][0]["address"] == "admin@example.com"
    text = m.tool("queue", "cat", q["id"]).stdout.decode()
    assert "From: box@example.com (Cron Daemon)" in text, text


# --- -bs --------------------------------------------------------------------

DIALOGUE = (b"EHLO [127.0.0.1]\r\nNOOP\r\nMAIL FROM:<a@here.test>\r\n"
            b"RCPT TO:<joe@here.test>\r\nRSET\r\nMAIL FROM:<a@here.test>\r\n"
            b"RCPT TO:<joe@here.test>\r\nDATA\r\n"
            b"Subject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n")


def check_dialogue(done):
    lines = done.stdout.decode().split("\r\n")
    codes = [x[:3] for x in lines if x[3:4] == " "]
    assert done.returncode == 0 and not done.stderr, done
    assert codes == ["220", "250", "250", "250", "250", "250", "250", "250",
                     "354", "250", "221"], lines


def test_smtp_on_standard_input(served):
    check_dialogue(sendmail(served, "-bs", "-odi", input=DIALOGUE))
    assert text_of(served)[1] == "hello\n"


def test_smtp_without_a_server(mta):
    m = queue_of(mta)
    check_dialogue(sendmail(m, "-bs", input=DIALOGUE))
    assert len(m.queued()) == 1


def test_smtp_from_a_file(served):
    """A client that reads no reply before it has written all."""
    with tempfile.TemporaryFile() as f:
        f.write(DIALOGUE[:18] + b"RSET\r\n" * 200000 + DIALOGUE[18:])
        f.seek(0)
        done = sendmail(served, "-bs", input=None, stdin=f)
    assert done.returncode == 0
    assert done.stdout.count(b"250 ") == 200000 + 8 and \
        done.stdout.endswith(b"221 2.0.0 Bye\r\n"), done.stdout[-200:]
    assert text_of(served)[1] == "hello\n"


def test_smtp_may_send_anywhere(served):
    done = sendmail(served, "-bs", input=DIALOGUE.replace(
        b"TO:<joe@here.test>", b"TO:<joe@elsewhere.test>"))
    check_dialogue(done)


def test_smtp_for_no_network(served):
    """From inetd it would be an open relay."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        with socket.create_connection(s.getsockname()):
            c, _ = s.accept()
            done = sendmail(served, "-bs", input=None, stdin=c)
            c.close()
    assert done.returncode == USAGE and b"-bs is for programs" in done.stderr


def test_smtp_that_the_client_breaks_off(served):
    done = sendmail(served, "-bs", input=DIALOGUE[:-20])
    assert done.returncode == 0
    assert not served.queued()


# --- other modes ------------------------------------------------------------

def test_help(served):
    done = sendmail(served, "--help")
    assert done.returncode == 0 and b"usage: mta sendmail" in done.stdout


@pytest.mark.parametrize("args, name", [(["-bi"], None), (["-I"], None),
                                        ([], "newaliases"),
                                        (["-v"], "/usr/bin/newaliases")])
def test_newaliases(mta, args, name):
    m = mta("run", start=False)
    m.settings["local.aliases"] = aliases = os.path.join(m.dir, "aliases")
    m.write_conf()
    with open(aliases, "w") as f:
        f.write("root: joe\n")
    good(m, *args, name=name)  # nothing runs: only a check
    m.start()
    until("control", lambda: os.path.exists(m.queue + "/run/control.sock"))
    until("delivery", lambda: m.events("deliver.start"))
    before = len(m.events("config.reload"))
    with open(aliases, "w") as f:
        f.write("root: ann\n")
    good(m, *args, name=name)
    assert until("reload", lambda: len(m.events("config.reload")) > before)
    good(m, "root@here.test")
    assert len(m.copies("ann")) == 1
    with open(aliases, "w") as f:
        f.write("root: \"ann\n")
    done = sendmail(m, *args, name=name)
    assert done.returncode == DATA
    assert aliases + ":1" in done.stderr.decode()


def test_verify(served):
    for mode in ("-bv", "-bt"):
        done = sendmail(served, mode, "joe", "ann@here.test")
        assert done.returncode == 0, done
        assert done.stdout.count(b"local") >= 2 and b"ann@here" in done.stdout
    done = sendmail(served, "-bv")
    assert done.returncode == USAGE
    assert not served.queued()


def test_list(served):
    done = sendmail(served, "-bp")
    assert done.returncode == 0 and b"empty" in done.stdout


@pytest.mark.parametrize("args, command, nrcpt", [
    (["-q"], "flush all", 3), (["-q15m"], "flush all", 3),
    (["-qf"], "flush all", 3), (["-qR", "b.test"], "flush domain b.test", 1),
    (["-qRb.test"], "flush domain b.test", 1),
    (["-qSs@here.test"], "flush sender s@here.test", 1),
    (["-qI"], "flush id ", 1)])
def test_queue_run(mta, args, command, nrcpt):
    """As mta queue flush, which has the tests of what follows."""
    m = mta("run", {"send.retry_min": "1h", "send.retry_max": "1h"})
    until("socket", lambda: os.path.exists(m.queue + "/submit"))
    until("control", lambda: os.path.exists(m.queue + "/run/send.sock"))
    for x in "abc":
        sender = "s@here.test" if x == "c" else "t@here.test"
        good(m, "-f", sender, "joe@%s.test" % x)
    until("seen", lambda: len(m.events("send.deferred")) >= 3)
    if args == ["-qI"]:
        args = args + [m.queued()[0]["id"]]
        command += args[1]
    done = sendmail(m, *args)
    assert done.returncode == 0, done
    (e,) = until("flushed", lambda: m.events("queue.operation",
                                             queue="remote"))
    assert e["command"] == command and e["nrcpt"] == str(nrcpt)


@pytest.mark.parametrize("run", [["-q"], ["-q15m"], None])
def test_queue_only(mta, run):
    """It waits for a run of the queue, here or on its way out, whatever
    restarts meanwhile."""
    with Peer() as hop:
        m = mta("run", {"send.routes": ["x.test=[127.0.0.1]:%d" % hop.port],
                        "send.retry_min": "1h" if run else "3s",
                        "send.retry_max": "4h"})
        until("socket", lambda: os.path.exists(m.queue + "/submit"))
        good(m, "-odq", "-f", "s@here.test", "joe@here.test", "joe@x.test")
        good(m, "-odq", "-f", "s@here.test", "ann@x.test")
        good(m, "-odb", "-f", "s@here.test", "bob@here.test", "bob@x.test")
        until("bob has it", lambda: len(hop.messages) == 1)
        until("bob has his", lambda: len(m.mailbox("bob")) == 1)
        if run:
            m.stop()
            m.start()
            until("the queue was read", lambda: len(m.events("send.start")) > 1)
            waits = {r["address"]: r["next_attempt"] for q in m.queued()
                     for r in q["recipients"]}
            assert set(waits) == {"joe@here.test", "joe@x.test", "ann@x.test"}
            assert None not in waits.values()
            assert b", next " in m.tool("queue", "list").stdout
            assert len(hop.messages) == 1 and m.mailbox("joe") == []
            assert sendmail(m, *run).returncode == 0
        m.copies("joe", 1)
        until("all have it", lambda: len(hop.messages) == 3)
        until("empty", lambda: m.queued() == [])


def test_daemon(mta):
    m = mta("serve", start=False)
    p = subprocess.Popen(["/usr/sbin/sendmail", "-C", m.conf, "-bd", "-q30m"],
                         executable=MTA, stdin=subprocess.DEVNULL, env=QUIET,
                         stderr=subprocess.DEVNULL)
    try:
        until("socket", lambda: os.path.exists(os.path.join(m.queue,
                                                            "submit")))
        good(m, "joe@here.test")
    finally:
        p.terminate()
        assert p.wait(DEADLINE) == 0
