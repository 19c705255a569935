"""DKIM: what is signed, by which key, and that it never goes unsigned."""

import contextlib
import email
import glob
import hashlib
import os
import re
import signal
import subprocess
import time

import dkim
import pytest

from dkimjudge import Keys, judge, signatures
from harness import DEADLINE, UNDER_VALGRIND, is_alive, until
from peer import Peer
from processes import by_role
from provider import Gmail

CHUNKING = ("PIPELINING", "8BITMIME", "SIZE 100000000", "CHUNKING")
DATE = b"Date: Mon, 30 Nov 2026 02:00:00 +0000\r\n"  # OpenDKIM wants one
FROM = b"From: Ann <ann@src.test>\r\n"


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path)


@pytest.fixture
def relay(mta, keys):
    """relay(...): a peer, and a system that relays all to it and signs for
    src.test, unless there are other keys."""
    made = []

    def make(command="run", answers=None, extensions=None, **settings):
        p = Peer("127.0.0.1", answers=answers,
                 **({"extensions": extensions} if extensions else {}))
        made.append(p)
        if not keys.settings:
            keys.add("src.test", "s1")
        more = {"send.relay_host": "127.0.0.1:%d" % p.port,
                "dkim.keys": keys.settings}
        more.update({k.replace("__", "."): v for k, v in settings.items()})
        return p, mta(command, more)
    yield make
    for p in made:
        p.close()


def submit(m, data, rcpts=("bob@x.test",), sender="ann@src.test"):
    with m.smtp() as s:
        s.sendmail(sender, list(rcpts), DATE + data, ["BODY=8BITMIME"])


def taken(p, n=1, deadline=DEADLINE):
    until("%d messages at the peer" % n, lambda: len(p.messages) >= n,
          deadline)
    return [x.data for x in p.messages]


def signer(m):
    return until("the signer", lambda: by_role(m.process.pid).get("signer"))[0]


# --- what is signed ---------------------------------------------------------

TEXTS = {
    "plain": FROM + b"To: bob@x.test\r\nSubject: x\r\n\r\nhello\r\n",
    "empty body": FROM + b"\r\n",
    "no body": FROM + b"Subject: x\r\n",
    "blank lines": FROM + b"\r\n\r\n\r\nhello \t \r\n\t\r\n\r\n\r\n",
    "only blank lines": FROM + b"\r\n\r\n \r\n\t\r\n\r\n",
    "no last line end": FROM + b"\r\nhello",
    "8bit": FROM + b"Subject: \xc3\xa4\r\n\r\n\xc3\xb6 \xff\xfe\r\n",
    "long lines": FROM + b"\r\n" + b"x" * 5000 + b"  " + b"y" * 70000 + b"\r\n",
    "blanks": FROM + b"Subject:\t a \t b\t\r\n\r\na  b\tc \t d\r\n  e\r\n",
    "folded": b"FROM:\r\n\tAnn\r\n <ann@src.test>\r\nSubject: a\r\n b\r\n\tc"
              b"\r\n \r\nTo:\r\n  bob@x.test\r\n\r\nx\r\n",
    "dots": FROM + b"\r\n.\r\n..\r\n.x\r\n",
    "one name often": FROM + b"".join(b"Resent-To: a%d@x.test\r\n" % i
                                      for i in range(30)) + b"\r\nx\r\n",
    "very many fields": b"".join(b"Resent-Cc: a%d@x.test\r\n" % i
                                 for i in range(900)) + FROM + b"\r\nx\r\n",
    "large header": b"X-Long: " + b"x" * 60000 + b"\r\nSubject: "
                    + b"word " * 190 + b"\r\n" + FROM + b"\r\nx\r\n",
    "list": FROM + b"List-Unsubscribe: <https://src.test/u>\r\n"
            b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            b"List-Id: <l.src.test>\r\nX-Mine: y\r\nReceived: from z\r\n"
            b"\r\nx\r\n",
    "large": FROM + b"\r\n" + b"".join(b"line %d  of many\r\n" % i
                                       for i in range(60000)) + b"\r\n\r\n",
}


OVERSIGNED = ["reply-to", "subject", "date", "to", "cc", "message-id"]


@pytest.mark.memory
@pytest.mark.parametrize("extensions", [None, CHUNKING],
                         ids=["DATA", "BDAT"])
def test_all_kinds_of_text(relay, keys, extensions):
    p, m = relay(extensions=extensions)
    names = ["plain", "8bit", "large"] if UNDER_VALGRIND else list(TEXTS)
    for n, name in enumerate(names, 1):
        data = TEXTS[name]
        submit(m, data, ["bob%d@x.test" % n])
        got = taken(p, n)[-1]
        found = judge(keys, got)
        assert len(found) == 1, name
        s = found[0]
        assert (s["v"], s["a"], s["c"]) == ("1", "rsa-sha256",
                                            "relaxed/relaxed")
        assert (s["d"], s["s"]) == ("src.test", "s1") and "l" not in s
        assert abs(int(s["t"]) - time.time()) < 60
        assert s["h"].startswith("from:from")
        signed = s["h"].split(":")
        for field in email.message_from_bytes(data).keys():
            may = not field.lower().startswith(("x-", "received"))
            assert (field.lower().strip() in signed) == may, field
        fields = [f.lower().strip()
                  for f in email.message_from_bytes(DATE + data).keys()]
        for field in set(fields + OVERSIGNED):
            more = (len(fields) <= 65 and field in fields and
                    field in OVERSIGNED or field == "from")
            assert signed.count(field) == more + min(
                64, fields.count(field)) * (field in signed), field
        for line in got.split(b"\r\n\r\n")[0].split(b"\r\nReceived:")[0] \
                .split(b"\r\n"):
            assert len(line) < 78, line
        assert got.index(b"DKIM-Signature:") == 0
        assert got.rstrip(b"\r\n").endswith(data.rstrip(b"\r\n")), name
    assert not m.events("send.unsigned")


@pytest.mark.parametrize("field,breaks", [
    (b"Subject: other", True), (b"To: all@x.test", True),
    (b"Date: Tue, 1 Dec 2026 02:00:00 +0000", True), (b"From: e@x.test", True),
    (b"Cc: e@x.test", False),  # none was there, which may be so for a list
    (b"List-Id: <l.x.test>", False)])
def test_what_is_put_on_top_breaks_the_signature(relay, keys, field, breaks):
    p, m = relay()
    submit(m, TEXTS["plain"])
    data = taken(p)[0]
    judge(keys, data)
    changed = field + b"\r\n" + data
    assert dkim.DKIM(changed).verify(0, dnsfunc=keys.txt) != breaks


def test_the_size_at_mail_is_that_of_all(relay, keys):
    p, m = relay()
    submit(m, TEXTS["plain"])
    data = taken(p)[0]
    size = re.search(r"SIZE=(\d+)", p.messages[0].sender)
    assert int(size[1]) == len(data)


def test_a_signature_that_is_too_much_is_named(relay, keys):
    """It does not go without, and sender and log see why it came back."""
    p, m = relay(send__session_linger="0s")
    submit(m, TEXTS["plain"])
    n = len(taken(p)[0])
    p.extensions = ("PIPELINING", "SIZE %d" % (n - 100))
    submit(m, TEXTS["plain"], ["joe@x.test"])
    said = until("returned", lambda: m.events("send.bounced"))[0]
    assert said["status"] == "5.3.4", said
    assert re.search(r"message size %d exceeds size limit %d of the host by "
                     r"our DKIM signature of \d+ octets" % (n, n - 100),
                     said["reply"]), said


def test_two_keys_of_a_domain_make_two_signatures(relay, keys):
    keys.add("src.test", "rsa")
    keys.add("src.test", "ed", "--ed25519")
    keys.add("other.test", "rsa")
    p, m = relay()
    submit(m, TEXTS["plain"])
    found = judge(keys, taken(p)[0])
    assert [(s["s"], s["a"]) for s in found] == [("rsa", "rsa-sha256"),
                                                 ("ed", "ed25519-sha256")]
    assert found[0]["bh"] == found[1]["bh"]


@pytest.mark.parametrize("author,domain", [
    (b"ann@src.test", "src.test"),
    (b"Ann <ann@SRC.Test>", "src.test"),
    (b"ann@deep.below.src.test", "src.test"),
    (b"ann@sub.src.test", "sub.src.test"),
    (b"ann@x.sub.src.test", "sub.src.test"),
    (b"ann@src.test, bob@src.test", "src.test"),
    (b"ann@notsrc.test", None),
    (b"ann@test", None),
    (b"ann@other.test", None),
])
def test_the_key_is_that_of_the_author(relay, keys, author, domain):
    """Of From's domain, or of the nearest one above it, and no other."""
    keys.add("src.test", "s1")
    keys.add("sub.src.test", "s1")
    p, m = relay()
    submit(m, b"From: " + author + b"\r\nSender: ann@src.test\r\n\r\nx\r\n")
    found = judge(keys, taken(p)[0])
    assert [s["d"] for s in found] == ([domain] if domain else [])
    assert not m.events("send.unsigned")


@pytest.mark.parametrize("header,why", [
    (b"Subject: x\r\n", "no From field"),
    (FROM + b"From: <bob@src.test>\r\n", "several From fields"),
    (FROM + b"FROM   : <bob@src.test>\r\n", "several From fields"),
    (b"From: ann@src.test, bob@other.test\r\n", "addresses of several domains"),
    (b"From: nobody:;\r\n", "no address"),
    (b"From: " + b"a@src.test,\r\n " * 2000 + b"b@src.test\r\n",
     "a From field that is too long"),
])
def test_without_one_author_it_goes_unsigned_and_the_log_says_so(
        relay, header, why):
    p, m = relay()
    submit(m, header + b"\r\nx\r\n")
    assert signatures(taken(p)[0]) == []
    line = until("the line", lambda: m.events("send.unsigned"))[0]
    assert line["error"] == why and line["level"] == "warn"


def test_mail_of_strangers_is_not_signed(relay, keys, tmp_path):
    """It leaves by an alias."""
    aliases = tmp_path / "aliases"
    aliases.write_text("away: bob@x.test\n")
    p, m = relay(serve__relay_networks=["192.0.2.0/24"],
                 local__aliases=str(aliases))
    submit(m, TEXTS["plain"], ["away@here.test"])
    assert signatures(taken(p)[0]) == []


# --- by all doors -----------------------------------------------------------

def test_mail_that_an_alias_sends_on_is_signed(relay, keys, tmp_path):
    aliases = tmp_path / "aliases"
    aliases.write_text("away: bob@x.test, joe@y.test\n")
    p, m = relay(local__aliases=str(aliases))
    submit(m, TEXTS["blanks"], ["away@here.test"])
    data = taken(p)[0]
    assert b"Delivered-To: away@here.test\r\n" in data
    assert len(judge(keys, data)) == 1


def test_a_bounce_is_signed(relay, keys):
    keys.add("here.test", "s1")
    p, m = relay(answers={"RCPT": ["550 5.1.1 no", "250 ok"]})
    submit(m, TEXTS["plain"])
    found = judge(keys, taken(p)[0])
    assert "MAIL FROM:<>" in p.messages[0].sender
    assert [s["d"] for s in found] == ["here.test"]


def test_one_message_to_several_hosts(mta, keys):
    with Peer("127.0.0.1") as a, Peer("127.0.0.2") as b:
        keys.add("src.test", "s1")
        m = mta("run", {"dkim.keys": keys.settings, "send.routes": [
            "x.test=[127.0.0.1]:%d" % a.port,
            "y.test=[127.0.0.2]:%d" % b.port]})
        submit(m, TEXTS["plain"], ["bob@x.test", "joe@y.test"])
        one, two = taken(a)[0], taken(b)[0]
        assert one == two and len(judge(keys, one)) == 1


@pytest.mark.parametrize("accepted_with", [True, False],
                         ids=["hashed", "not hashed"])
def test_what_waits_is_signed_when_it_leaves(relay, keys, accepted_with):
    """After a restart; and mail that came before there was a key."""
    p, m = relay("serve")
    if not accepted_with:
        m.stop()
        m.settings["dkim.keys"] = []
        m.write_conf()
        m.start()
    for name in ("plain", "blanks", "large"):
        submit(m, TEXTS[name])
    m.stop()
    m.settings["dkim.keys"] = keys.settings
    m.write_conf()
    assert m.tool("send", "--drain", "--timeout", "20s").returncode == 0
    for data in taken(p, 3):
        assert len(judge(keys, data)) == 1


@pytest.mark.parametrize("setting,value", [
    (None, None), ("dkim.keys", []),
    ("serve.relay_networks", ["192.0.2.0/24"])])
@pytest.mark.parametrize("big", [False, True], ids=["small", "large"])
def test_the_server_keeps_the_hash_of_the_body(relay, keys, setting, value,
                                               big):
    """Of what is to be signed, and of nothing else."""
    p, m = relay("serve", serve__relay_domains=["x.test"])
    if setting:
        m.stop()
        m.settings[setting] = value
        m.write_conf()
        m.start()
    line = b"line to be hashed\r\n"
    submit(m, FROM + b"\r\n" + line.replace(b" ", b" \t ") * (
        20000 if big else 1) + b"\r\n\r\n")
    m.stop()
    want = hashlib.sha256(line * (20000 if big else 1)).digest()
    found = False
    for name in os.listdir(m.queue + "/remote"):
        if name.endswith(".seg"):
            with open(m.queue + "/remote/" + name, "rb") as f:
                found |= b"\x20\x20\x00" + want in f.read()
    assert found == (setting is None)


def test_a_later_try_is_signed_again(relay, keys):
    p, m = relay(answers={"DOT": ["451 later", "250 ok"]})
    submit(m, TEXTS["plain"])
    assert len(judge(keys, taken(p)[0])) == 1


def test_a_receiver_that_verifies(relay, keys):
    """As Gmail does; what no key of ours is for is returned."""
    def check(session, data):
        good = dkim.verify(data, dnsfunc=keys.txt)
        return "250 ok" if good else Gmail.UNAUTHENTICATED
    keys.add("src.test", "s1")
    keys.add("here.test", "s1")
    p, m = relay(answers={"DOT": check})
    for author in ("ann@src.test", "ann@other.test", "bob@src.test"):
        submit(m, b"From: " + author.encode() + b"\r\n\r\nx\r\n",
               sender=author)
    taken(p, 3)  # with the notice
    line = until("the refusal", lambda: m.events("send.bounced"))[0]
    assert (line["from"], line["status"]) == ("<ann@other.test>", "5.7.26")
    assert sorted("<>" in x.sender for x in p.messages) == [False, False, True]


def test_rot_is_not_delivered(relay, keys):
    p, m = relay("serve")
    submit(m, TEXTS["plain"].replace(b"hello", b"hello-to-rot"))
    m.stop()
    for name in os.listdir(m.queue + "/remote"):
        path = m.queue + "/remote/" + name
        if not name.endswith(".seg"):
            continue
        with open(path, "r+b") as f:
            at = f.read().find(b"hello-to-rot")
            if at >= 0:
                f.seek(at)
                f.write(b"j")
    assert m.tool("send", "--once", check=False).returncode == 75
    assert p.messages == []
    assert m.events("queue.unreadable", error="message damaged on disk")


# --- the signer -------------------------------------------------------------

def test_a_signer_that_dies(relay, keys):
    """Whatever it has in its hands then is signed by the next one."""
    p, m = relay()
    total = 150
    pids = set()
    with m.smtp() as s:
        for i in range(total):
            s.sendmail("a@src.test", ["b%d@x.test" % i],
                       DATE + TEXTS["plain"])
            if i % 50 == 25:
                pid = signer(m)
                pids.add(pid)
                os.kill(pid, signal.SIGKILL)
    for data in taken(p, total):
        assert len(signatures(data)) == 1
    judge(keys, p.messages[-1].data)
    assert signer(m) not in pids
    assert "signer died of signal 9; starting it again" in m.errors()


@pytest.mark.slow
def test_a_signer_that_hangs(mta, keys):
    """Its mail waits and says why, other mail goes on; it is replaced."""
    keys.add("src.test", "s1")
    with Peer("127.0.0.1") as a, Peer("127.0.0.2") as b:
        m = mta("run", {"dkim.keys": keys.settings, "send.routes": [
            "x.test=[127.0.0.1]:%d" % a.port,
            "y.test=[127.0.0.2]:%d" % b.port],
            "serve.relay_networks": ["127.0.0.1/32", "127.0.0.2/32"]})
        pid = signer(m)
        with m.smtp():
            pass  # the server is up
        m.kill(signal.SIGSTOP)  # the supervisor does not see it yet
        os.kill(pid, signal.SIGSTOP)
        submit(m, TEXTS["plain"])
        submit(m, b"From: ann@other.test\r\n\r\nx\r\n", ["joe@y.test"])
        until("it is missed", lambda: m.events("send.signer", state="silent"),
              40)
        taken(b)
        assert a.sessions == []
        rcpt = until("a reason", lambda: [
            r for q in m.queued() for r in q["recipients"] if r["reply"]])[0]
        m.kill(signal.SIGCONT)
        assert rcpt["reply"] == "not signed (DKIM): the signer does not answer"
        assert rcpt["attempts"] == 0
        until("it is replaced", lambda: not is_alive(pid), 40)
        assert len(judge(keys, taken(a, 1, 40)[0])) == 1
        assert m.events("send.signer", state="answers")
        assert "signer hangs; starting it again" in m.errors()


def test_a_stop_while_mail_waits_for_its_signature(relay, keys):
    """It is not sent, and not lost."""
    p, m = relay()
    os.kill(signer(m), signal.SIGSTOP)
    submit(m, TEXTS["plain"])
    until("it waits for its signature", lambda: [
        r for q in m.queued() for r in q["recipients"]
        if r["state"] == "delivering"])
    assert m.stop() == 0 and p.sessions == []
    m.start()
    assert len(judge(keys, taken(p)[0])) == 1


def test_other_keys_on_the_disk(relay, keys):
    """Are in use without a reload; a file that is no key is not."""
    path = keys.add("src.test", "s1")
    p, m = relay()
    submit(m, TEXTS["plain"])
    judge(keys, taken(p)[0])
    with open(path, "w") as f:
        f.write("no key")
    until("it is refused", lambda: m.events("config.reload", level="error"))
    submit(m, TEXTS["plain"])
    judge(keys, taken(p, 2)[1])
    os.unlink(path)
    keys.make(path + ".new", "src.test", "s1")
    os.rename(path + ".new", path)
    until("it is taken", lambda: m.events("config.reload", level="info"))
    submit(m, TEXTS["plain"])
    judge(keys, taken(p, 3)[2])


def test_a_key_is_added_by_a_reload(relay, keys):
    keys.add("src.test", "s1")
    p, m = relay(dkim__keys=[])
    submit(m, TEXTS["plain"])
    assert signatures(taken(p)[0]) == []
    assert "signer" not in by_role(m.process.pid)
    m.settings["dkim.keys"] = keys.settings
    m.write_conf()
    m.kill(signal.SIGHUP)
    signer(m)
    submit(m, TEXTS["plain"], ["joe@x.test"])
    assert len(judge(keys, taken(p, 2)[1])) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_keys_that_only_root_can_read(relay, keys):
    keys.add("src.test", "s1")
    p, m = relay("serve")
    m.stop()
    os.chmod(m.dir, 0o755)
    m.settings["user"] = "nobody"
    m.settings["queue_dir"] = m.queue = m.dir + "/other"
    m.command = "run"
    os.chmod(m.mail, 0o777)
    m.write_conf()
    m.start()
    submit(m, TEXTS["plain"])
    assert len(judge(keys, taken(p)[0])) == 1
    with open("/proc/%d/status" % signer(m)) as f:
        assert re.search(r"^Uid:\t65534\t65534", f.read(), re.M)


@pytest.mark.skipif(os.geteuid() != 0 or UNDER_VALGRIND
                    or "/san-" in os.environ.get("MTA", ""),
                    reason="reads the memory of processes")
def test_only_the_signer_has_the_key(relay, keys):
    """Not the text of its file, and no prime of it."""
    path = keys.add("src.test", "s1")
    p, m = relay()
    submit(m, TEXTS["plain"])
    taken(p)
    with open(path, "rb") as f:
        line = f.read().split(b"\n")[5]
    text = subprocess.run(["openssl", "rsa", "-in", path, "-noout", "-text"],
                          check=True, stdout=subprocess.PIPE).stdout.decode()
    hexes = re.search(r"prime1:\n((?: +[0-9a-f:]+\n)+)", text)[1]
    prime = bytes.fromhex(re.sub(r"[\s:]", "", hexes))[-64:]
    for role, pids in by_role(m.process.pid).items():
        for pid in pids:
            memory = memory_of(pid)
            has = line in memory or prime in memory or \
                prime[::-1] in memory
            assert has == (role == "signer"), role


@pytest.mark.skipif(UNDER_VALGRIND, reason="looks at the process")
def test_what_the_signer_may_and_holds(relay):
    p, m = relay()
    pid = signer(m)
    until("it is confined", lambda: m.events("sandbox.on", process="signer"))
    with open("/proc/%d/status" % pid) as f:
        status = dict(x.rstrip("\n").split(":", 1) for x in f)
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert int(status["CapPrm"], 16) == 0

    def more():
        """Beyond what it may hold; it looks for the log's queue now and
        then."""
        held = set()
        for x in glob.glob("/proc/%d/fd/*" % pid):
            with contextlib.suppress(FileNotFoundError):
                held.add(re.sub(r"\[\d+\]", "", os.readlink(x)))
        return held - {"socket:", "pipe:", "/dev/null", m.stderr,
                       "/memfd:mta (deleted)"}
    until("nothing else", lambda: not more())


def memory_of(pid):
    found = []
    with open("/proc/%d/maps" % pid) as maps, \
            open("/proc/%d/mem" % pid, "rb") as mem:
        for line in maps:
            where, mode = line.split()[:2]
            if not mode.startswith("rw"):
                continue
            first, last = (int(x, 16) for x in where.split("-"))
            try:
                mem.seek(first)
                found.append(mem.read(last - first))
            except OSError:
                pass
    return b"".join(found)


# --- settings ---------------------------------------------------------------

@pytest.mark.parametrize("content,why", [
    (None, "No such file or directory"),
    ("", "no private key (PEM) in it"),
    ("1024", "an RSA key of 1024 bits: at least 2048"),
    ("public", "no private key (PEM) in it"),
])
def test_a_bad_key_stops_the_start(mta, keys, tmp_path, content, why):
    path = tmp_path / "key"
    if content == "1024":
        subprocess.run(["openssl", "genrsa", "-out", path, "1024"],
                       check=True, stderr=subprocess.DEVNULL)
    elif content == "public":
        good = keys.add("src.test", "s1")
        subprocess.run(["openssl", "pkey", "-in", good, "-pubout", "-out",
                        path], check=True)
    elif content is not None:
        path.write_text(content)
    m = mta("run", {"dkim.keys": ["src.test:s1:%s" % path]}, start=False)
    m.start(wait=False)
    assert m.process.wait(DEADLINE) != 0
    m.process = None
    line = next(n for n, x in enumerate(open(m.conf), 1) if "src.test" in x)
    assert "%s:%d: dkim.keys: " % (m.conf, line) in m.errors()
    assert "%s: %s" % (path, why) in m.errors()
    said = m.tool("config", "--check", check=False)
    assert said.returncode != 0 and why in said.stderr.decode()
