"""Local recipients: who they are, what lands in their mailbox, and what
happens when a mailbox cannot take it (R6, R16)."""

import fcntl
import glob
import mailbox
import os
import pwd
import re
import signal
import stat
import time

import pytest

from harness import Mta, until
from wire import as_body

ALIASES = r"""
# who gets what
list: ann, bob,
    cleo
nested: list, dora
twice: ann, list, nested, ann
deep0: deep1
deep1: deep2
deep2: deep3
deep3: DEEP4
deep4: deep5@here.test
deep5: cleo
joe: joe, archive
away: x@far.test, y@far.test
mixed: ann, z@far.test
"odd name": bob
quoting: "two words"@far.test
circle0: circle1
circle1: circle2
circle2: circle0
escape: circle0, dora
selfish: selfish
final: \list
dead: nobody-of-that-name
half: ann, nobody-of-that-name
ann+vip: bob
info: cleo
info@second.test: dora
empty-tag: list+work
root: ann
"""
USERS = """
# one a line
ann
Bob
cleo
dora
joe
archive
carl@second.test
"""
SENDER = "a@client.test"
# address, mailboxes that get a copy, remote recipients (the sender: of a
# notice, because an alias leads nowhere); or the refusal
RESOLVED = [
    ("ann@here.test", "ann", ""),
    ("ANN@Here.Test", "ann", ""),
    ("bob@here.test", "bob", ""),
    ("ann@second.test", "ann", ""),
    ("carl@second.test", "carl@second.test", ""),
    ("carl@here.test", 550, "5.1.1"),
    ("zoe@here.test", 550, "5.1.1"),
    ("an@here.test", 550, "5.1.1"),
    ("ann+tag@here.test", "ann", ""),
    ("ann+a+b@here.test", "ann", ""),
    ("ann+@here.test", "ann", ""),
    ("+ann@here.test", 550, "5.1.1"),
    ("zoe+ann@here.test", 550, "5.1.1"),
    ("ann+vip@here.test", "bob", ""),
    ("Ann+VIP@here.test", "bob", ""),
    ('"ann"@here.test', "ann", ""),
    ('"a\\nn"@here.test', "ann", ""),
    ('"odd name"@here.test', "bob", ""),
    ('"an n"@here.test', 550, "5.1.1"),
    ('"../ann"@here.test', 550, "5.1.1"),
    ("list@here.test", "ann bob cleo", ""),
    ("LIST@here.test", "ann bob cleo", ""),
    ("list+x@here.test", "ann bob cleo", ""),
    ("nested@here.test", "ann bob cleo dora", ""),
    ("twice@here.test", "ann bob cleo dora", ""),
    ("deep0@here.test", "cleo", ""),
    ("empty-tag@here.test", "ann bob cleo", ""),
    ("joe@here.test", "archive joe", ""),
    ("away@here.test", "", "x@far.test y@far.test"),
    ("mixed@here.test", "ann", "z@far.test"),
    ("quoting@here.test", "", '"two words"@far.test'),
    ("circle0@here.test", 554, "5.4.6"),
    ("circle2+x@here.test", 554, "5.4.6"),
    ("escape@here.test", "dora", ""),
    ("selfish@here.test", "", SENDER),
    ("final@here.test", "", SENDER),
    ("dead@here.test", "", SENDER),
    ("half@here.test", "ann", SENDER),
    ("info@here.test", "cleo", ""),
    ("info@second.test", "dora", ""),
    ("postmaster", "postmaster", ""),
    ("PostMaster", "postmaster", ""),
    ("postmaster@here.test", "postmaster", ""),
    ("POSTMASTER@second.test", "postmaster", ""),
    ("postmaster+x@here.test", "postmaster", ""),
    ("mailer-daemon@here.test", "postmaster", ""),
    ("root@here.test", "ann", ""),
]


def make(mta, settings=None, command="serve", files=None):
    """A system whose settings may name files of its own as %s."""
    m = mta(command, settings, start=False)
    for name, text in (files or {}).items():
        with open(os.path.join(m.dir, name), "w", encoding="utf-8") as f:
            f.write(text)
    for key, value in m.settings.items():
        if isinstance(value, str):
            m.settings[key] = value.replace("%s", m.dir)
    m.write_conf()
    return m.start()


def hand_in(m, rcpts, text=b"Subject: x\r\n\r\nx\r\n", sender=SENDER):
    """The answer to the first refused RCPT, or else to the dot."""
    with m.raw() as c:
        c.say("EHLO client.test")
        assert c.say("MAIL FROM:<%s>" % sender)[0] == 250
        for r in rcpts:
            got = c.say("RCPT TO:<%s>" % r)
            if got[0] != 250:
                return got
        assert c.say("DATA")[0] == 354
        c.send(text + b".\r\n")
        return c.reply()


def boxes(m):
    """Of all users, by their keys, once what has come is there."""
    m.settle()
    tops = [os.path.relpath(os.path.dirname(new), m.mail) for new in
            glob.glob(os.path.join(m.mail, "**", "new"), recursive=True)]
    return {"@".join(reversed(top.split("/"))): m.mailbox(top)
            for top in tops if m.mailbox(top)}


def empty_boxes(m):
    m.settle()
    for path in glob.glob(os.path.join(m.mail, "**", "new", "*"),
                          recursive=True):
        os.unlink(path)


def delivered_for(address):
    """The field that a copy has: the address as the client named it, or the
    alias that was replaced by a list."""
    local, _, domain = address.lower().partition("@")
    return [address, local.split("+")[0] + "@" + (domain or "here.test")]


@pytest.fixture(scope="module")
def known():
    m = Mta("serve", {"local.domains": ["here.test", "second.test"]},
            start=False)
    for name, text in (("aliases", ALIASES), ("users", USERS)):
        with open(os.path.join(m.dir, name), "w", encoding="utf-8") as f:
            f.write(text)
    m.settings["local.aliases"] = m.dir + "/aliases"
    m.settings["local.users"] = "file:%s/users" % m.dir
    m.write_conf()
    with m.start():
        yield m


@pytest.mark.parametrize("address,got,more", RESOLVED,
                         ids=[r[0] for r in RESOLVED])
def test_recipient(known, address, got, more):
    empty_boxes(known)
    before = {q["id"] for q in known.queued()}
    code, words = hand_in(known, [address])
    found = boxes(known)
    queued = [q for q in known.queued() if q["id"] not in before]
    if isinstance(got, int):
        assert (code, words[0].split()[0]) == (got, more)
        assert not found and not queued
        return
    assert code == 250, words
    assert sorted(found) == got.split()
    assert {len(v) for v in found.values()} <= {1}
    for copies in found.values():
        assert any(("\nDelivered-To: %s\n" % a).encode() in copies[0]
                   for a in delivered_for(address))
    remote = [r["address"] for q in queued for r in q["recipients"]]
    assert sorted(remote) == sorted(re.findall(r'(?:"[^"]*"|\S)+', more))


@pytest.mark.parametrize("name,status", [
    ("selfish", b"5.1.1"), ("final", b"5.1.1"), ("dead", b"5.1.1"),
    ("half", b"5.1.1")])
def test_an_alias_that_leads_nowhere_is_returned(known, name, status):
    before = {q["id"] for q in known.queued()}
    assert hand_in(known, [name + "@here.test"])[0] == 250
    notice = until("a notice", lambda: [
        q for q in known.queued() if q["sender"] == "" and
        q["id"] not in before])
    assert len(notice) == 1
    text = known.tool("queue", "cat", notice[0]["id"]).stdout
    assert b"\nStatus: " + status in text.replace(b"\r", b"")
    assert known.mail.encode() not in text  # nor are our paths shown


def test_a_mailbox_gets_one_copy(known):
    empty_boxes(known)
    code, words = hand_in(known, ["ann+one@here.test", "ann@here.test",
                                  "list@here.test", "ann@second.test",
                                  "nested@here.test"])
    assert code == 250 and words[0].startswith("2.0.0 Ok: queued as ")
    found = boxes(known)
    assert {k: len(v) for k, v in found.items()} == {
        "ann": 1, "bob": 1, "cleo": 1, "dora": 1}
    # no copy names by which aliases the others came
    assert re.findall(rb"\nDelivered-To: (.*)", found["bob"][0]) == [
        b"bob@here.test"]
    assert re.findall(rb"\nDelivered-To: (.*)", found["dora"][0]) == [
        b"dora@here.test"]


def test_postmaster_follows_its_alias(mta):
    m = make(mta, {"local.aliases": "%s/aliases",
                   "local.users": "file:%s/users"},
             files={"aliases": "postmaster: root\nroot: ann\n",
                    "users": "ann\n"})
    for address in ("postmaster", "postmaster@here.test",
                    "mailer-daemon@here.test"):
        assert hand_in(m, [address])[0] == 250
    assert {k: len(v) for k, v in boxes(m).items()} == {"ann": 3}


@pytest.mark.parametrize("delimiter,address,box", [
    ("", "ann+x@here.test", None), ("-", "ann-x@here.test", "ann"),
    ("-", "ann+x@here.test", None), ("+-", "ann-x@here.test", "ann")])
def test_delimiter(mta, delimiter, address, box):
    m = make(mta, {"local.users": "file:%s/users",
                   "local.recipient_delimiter": delimiter},
             files={"users": "ann\n"})
    assert hand_in(m, [address])[0] == (250 if box else 550)
    assert list(boxes(m)) == ([box] if box else [])


def test_users_of_the_system(mta):
    """Root's mail dir, but the names of passwd."""
    m = make(mta, {"local.users": "passwd"})
    names = [p.pw_name for p in pwd.getpwall()][:3]
    for name in names:
        assert hand_in(m, [name + "@here.test"])[0] == 250
    assert sorted(boxes(m)) == sorted(names)
    assert hand_in(m, ["no-user-of-this-name@here.test"])[0] == 550


@pytest.mark.parametrize("files,key,value,said", [
    ({}, "local.aliases", "%s/none", "/none"),
    ({}, "local.users", "file:%s/none", "/none"),
    ({"a": "x: |/bin/sh\n"}, "local.aliases", "%s/a", "/a:1: "),
    ({"a": "x: y\nx: z\n"}, "local.aliases", "%s/a", "/a:2: "),
    ({"a": "\nx y\n"}, "local.aliases", "%s/a", "/a:2: "),
    ({"u": "ann\n../x\n"}, "local.users", "file:%s/u", "/u:2: "),
    ({}, "serve.relay_networks", "10.0.0.0/33", "serve.relay_networks: "),
    ({}, "dns.servers", "nowhere", "'nowhere'")])
def test_mistakes_in_files_end_the_start(mta, files, key, value, said):
    m = mta("serve", start=False)
    for name, text in files.items():
        with open(os.path.join(m.dir, name), "w", encoding="utf-8") as f:
            f.write(text)
    value = value.replace("%s", m.dir)
    is_list = isinstance(m.settings.get(key, []), list)
    m.settings[key] = [value] if is_list else value
    m.write_conf()
    m.start(wait=False)
    assert m.process.wait(timeout=30) != 0
    m.process = None
    assert said in m.errors(), m.errors()


# --- what is in front of the text -------------------------------------------

FIELDS = re.compile(
    rb"Return-Path: <(?P<path>[^\n]*)>\n"
    rb"Delivered-To: (?P<to>[^\n]*)\n"
    rb"Received: from (?P<helo>\S+) \((?P<name>\S+) \[(?P<ip>[^\]]+)\]\)\n"
    rb"\tby (?P<by>\S+) with (?P<with>\S+) id (?P<id>\S+?)"
    rb"(?:\n\tfor <(?P<for>[^\n]*)>)?;(?:\n\t| )(?P<date>[^\n]+)\n")


@pytest.fixture(scope="module")
def anybody():
    with Mta("serve") as m:
        yield m


@pytest.mark.parametrize("sender", ["a@client.test", "", '"a b"@client.test'])
@pytest.mark.parametrize("hello,how", [("EHLO", b"ESMTP"), ("HELO", b"SMTP")])
def test_trace_fields(anybody, hello, how, sender):
    empty_boxes(anybody)
    with anybody.raw() as c:
        c.say(hello + " client.test")
        c.say("MAIL FROM:<%s>" % sender)
        c.say("RCPT TO:<Trace+x@here.test>")
        c.say("DATA")
        code, words = c.say("Subject: x\r\n\r\nx\r\n.")
    assert code == 250
    found = FIELDS.match(anybody.copies("trace")[0]).groupdict()
    date = found.pop("date").decode()
    assert re.fullmatch(r"\w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
                        date), date
    assert found == {
        "path": sender.encode(), "to": b"Trace+x@here.test",
        "helo": b"client.test", "name": b"unknown", "ip": b"127.0.0.1",
        "by": b"mx.here.test", "with": how,
        "id": words[0].split()[-1].encode(), "for": b"Trace+x@here.test"}


def test_no_recipient_is_told_of_the_others(anybody):
    """With more than one there is no "for": Bcc must stay blind."""
    empty_boxes(anybody)
    assert hand_in(anybody, ["secret@here.test", "open@here.test"])[0] == 250
    assert b"secret" not in anybody.copies("open")[0]


@pytest.mark.memory
def test_one_id_everywhere(mta):
    """In the answer, in Received, in the queue and in the log."""
    m = mta("serve")
    _, words = hand_in(m, ["ann@here.test", "x@far.test"])
    ident = words[0].split()[-1]
    assert words[0] == "2.0.0 Ok: queued as " + ident
    assert FIELDS.match(m.copies("ann")[0])["id"].decode() == ident
    assert [q["id"] for q in m.queued()] == [ident]
    assert b" id " + ident.encode() in m.tool("queue", "cat", ident).stdout
    _, words = hand_in(m, ["ann@here.test"])
    other = words[0].split()[-1]
    assert words[0] == "2.0.0 Ok: queued as " + other and other != ident
    m.copies("ann", 2)
    m.stop()  # then all of the log is written
    accepted = {e["id"]: e for e in m.events("serve.accepted")}
    assert set(accepted) == {ident, other}
    assert accepted[ident]["from"] == "<a@client.test>"
    assert accepted[ident]["nrcpt"] == "2"
    assert int(accepted[ident]["size"]) > 0
    assert accepted[ident]["sid"] != accepted[other]["sid"]
    assert {e["id"] for e in m.deliveries()} == {ident, other}


LOOPS = [
    ("none", b"", 250),
    ("100", b"Received: x\r\n" * 100, 250),
    ("101", b"Received: x\r\n" * 101, 554),
    ("101 in odd spelling", b"rEcEiVeD : x\r\n\ty\r\n" * 101, 554),
    ("101 among others", b"X-A: b\r\nReceived:\r\n x\r\n" * 101, 554),
    ("101 in the text", b"Subject: x\r\n\r\n" + b"Received: x\r\n" * 101, 250),
    ("101 similar ones", b"X-Received: x\r\nReceived-SPF: x\r\n" * 101, 250),
    ("500 and a large text", b"Received: x\r\n" * 500 + b"\r\n" +
     b"y" * 998 + b"\r\n" * 400000, 554),
]


@pytest.mark.parametrize("name,head,code", LOOPS, ids=[x[0] for x in LOOPS])
def test_loop_limit(anybody, name, head, code):
    empty_boxes(anybody)
    got = hand_in(anybody, ["loop@here.test"], head + b"\r\nx\r\n")
    assert got[0] == code
    if code != 250:
        assert got[1][0].startswith("5.4.6 ")
    anybody.copies("loop", int(code == 250))


# --- Maildir ----------------------------------------------------------------

@pytest.mark.memory
def test_maildir_layout(mta):
    m = mta("serve")
    for i in range(20):
        assert hand_in(m, ["ann@here.test"])[0] == 250
    m.copies("ann", 20)
    box = os.path.join(m.mail, "ann")
    assert sorted(os.listdir(box)) == ["cur", "new", "tmp"]
    assert os.listdir(box + "/tmp") == os.listdir(box + "/cur") == []
    names = os.listdir(box + "/new")
    assert len(names) == 20
    for n in names:
        assert re.fullmatch(r"\d{10}\.[\w-]+\.mx\.here\.test", n), n
        mode = os.stat(box + "/new/" + n).st_mode
        assert stat.S_IMODE(mode) == 0o600
    for d in ("", "/tmp", "/new", "/cur"):
        assert stat.S_IMODE(os.stat(box + d).st_mode) == 0o700
    assert len(mailbox.Maildir(box)) == 20  # as another program sees it


def test_mailbox_removed_meanwhile_is_made_again(mta):
    m = mta("serve", {"serve.workers": 1})
    assert hand_in(m, ["ann@here.test"])[0] == 250
    m.copies("ann")
    for path in glob.glob(m.mail + "/ann/new/*"):
        os.unlink(path)
    for d in ("/ann/new", "/ann/tmp", "/ann/cur", "/ann"):
        os.rmdir(m.mail + d)
    assert hand_in(m, ["ann@here.test"])[0] == 250
    m.copies("ann")


def test_links_are_not_followed(mta):
    """Somebody who can write to mail_dir must not lead mail elsewhere."""
    m = mta("serve")
    os.mkdir(m.dir + "/elsewhere")
    os.symlink(m.dir + "/elsewhere", m.mail + "/ann")
    assert hand_in(m, ["ann@here.test"])[0] == 250
    until("a try", lambda: m.events("deliver.mailbox", mailbox="ann"))
    assert os.listdir(m.dir + "/elsewhere") == []
    os.unlink(m.mail + "/ann")
    m.copies("ann", 1)


# --- mailboxes that cannot take it now --------------------------------------

def as_nobody(mta, command, settings=None):
    """A system that cannot write where it may not: root could.  Everything
    belongs to nobody, who it runs as."""
    m = mta(command, settings, start=False)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        m.settings["user"] = "nobody"
        for path in (m.dir, m.mail):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    m.write_conf()
    return m.start()


def lock_out(m, user, sub="new"):
    """Nothing can be made there: mail for this one waits."""
    path = "%s/%s/%s" % (m.mail, user, sub)
    os.chmod(path, 0o500)
    return lambda: os.chmod(path, 0o700)


@pytest.mark.parametrize("other", [None, "bob@here.test", "x@far.test"])
def test_mail_for_an_unwritable_mailbox_waits(mta, other):
    """It is for the administrator to repair: that mailbox alone waits, and its
    mail is there, whole, once it can be."""
    m = as_nobody(mta, "run", {"send.routes": ["far.test=127.0.0.1:1"]})
    assert hand_in(m, ["ann@here.test"])[0] == 250
    m.copies("ann", 1)
    let_in = lock_out(m, "ann")
    text = b"Subject: waits\r\n\r\n" + b"z" * 400000 + b"\r\n.end\r\n"
    code, words = hand_in(m, ["ann@here.test"] + ([other] if other else []),
                          text.replace(b"\n.", b"\n.."))
    assert code == 250
    ident = words[0].split()[-1]
    assert words[0] == "2.0.0 Ok: queued as " + ident
    if other == "bob@here.test":
        m.copies("bob", 1)

    def waiting():
        return [r for q in m.queued() for r in q["recipients"]
                if r["address"] == "ann@here.test" and r["status"]
                and r["state"] != "delivering"]
    assert [(r["state"], r["status"][:2]) for r in until("a try", waiting)] \
        == [("pending", "4.")]
    until("a line", lambda: m.events("deliver.mailbox", mailbox="ann"))
    assert len(m.mailbox("ann")) == 1
    assert os.listdir(m.mail + "/ann/tmp") == []
    let_in()
    copies = [c for c in m.copies("ann", 2) if b"waits" in c]
    assert len(copies) == 1
    assert copies[0].endswith(text.replace(b"\r\n", b"\n"))
    assert copies[0].startswith(b"Return-Path: <a@client.test>\n"
                                b"Delivered-To: ann@here.test\nReceived: ")
    until("nothing of it waits", lambda: not waiting())
    assert m.queued() == [] or other == "x@far.test"


# --- mbox -------------------------------------------------------------------

TRICKY = (b"From first to last\r\n>From quoted\r\n>>From twice\r\nFromage\r\n"
          b" From indented\r\n\r\nFrom after a blank line\r\nFrom\r\n"
          b">>>>>From five\r\n")


def mbox_of(m, user):
    with open(os.path.join(m.mail, user), "rb") as f:
        return f.read()


def mbox_parts(raw):
    """(envelope line, text) of each message, quoting undone."""
    parts = re.split(rb"(?m)^(From [^\n]*)\n", raw)
    assert parts[0] == b""
    pairs = list(zip(parts[1::2], parts[2::2]))
    assert all(text.endswith(b"\n\n") for _, text in pairs)
    return [(line, re.sub(rb"(?m)^>(>*From )", rb"\1", text[:-1]))
            for line, text in pairs]


def parts_of(m, user, n):
    """Of its n messages, once they are there."""
    def all_there():
        if not os.path.exists(os.path.join(m.mail, user)):
            return None
        raw = mbox_of(m, user)
        if len(re.findall(rb"(?m)^From ", raw)) < n or \
                not raw.endswith(b"\n\n"):
            return None
        return mbox_parts(raw)
    parts = until("%d messages" % n, all_there)
    assert len(parts) == n
    return parts


def test_mbox(mta):
    m = mta("serve", {"local.mailbox": "mbox"})
    texts = [b"Subject: 1\r\n\r\n" + TRICKY, b"", b"From nowhere\r\n",
             b"Subject: 4\r\n\r\n" + b"From x\r\n" * 50000, b"Subject: 5\r\n"]
    for i, text in enumerate(texts):
        sender = "" if i == 2 else "a@client.test"
        assert hand_in(m, ["ann@here.test"], text, sender)[0] == 250
        parts = parts_of(m, "ann", i + 1)
    for i, (line, got) in enumerate(parts):
        who = b"MAILER-DAEMON" if i == 2 else b"a@client.test"
        assert re.fullmatch(rb"From %s \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d "
                            rb"\d{4}" % who, line), line
        head = FIELDS.match(got)
        assert got[head.end():] == as_body(texts[i]).replace(b"\r\n", b"\n")
    box = mailbox.mbox(os.path.join(m.mail, "ann"))
    assert len(box) == len(texts)  # as another program sees it
    box.close()
    assert stat.S_IMODE(os.stat(m.mail + "/ann").st_mode) == 0o600
    until("no lock", lambda: os.listdir(m.mail) == ["ann"])


@pytest.mark.memory
def test_mbox_after_a_torn_message(mta):
    """Ours does not become part of what somebody left unfinished."""
    m = mta("serve", {"local.mailbox": "mbox"})
    with open(m.mail + "/ann", "wb") as f:
        f.write(b"From x Thu Jan  1 00:00:00 1970\nSubject: torn\n\nhalf a l")
    assert hand_in(m, ["ann@here.test"])[0] == 250
    parts_of(m, "ann", 2)


def hold_fcntl(path):
    f = open(path, "r+b")
    fcntl.lockf(f, fcntl.LOCK_EX)
    return f.close


def hold_dotlock(path):
    with open(path + ".lock", "x", encoding="ascii") as f:
        f.write("%d\n" % os.getpid())
    return lambda: os.unlink(path + ".lock")


@pytest.mark.parametrize("hold", [hold_fcntl, hold_dotlock])
def test_mbox_locked_by_another(mta, hold):
    """The lock is waited for, by no client and by no other mailbox."""
    m = mta("serve", {"local.mailbox": "mbox", "deliver.workers": 1})
    assert hand_in(m, ["ann@here.test"])[0] == 250
    parts_of(m, "ann", 1)
    until("no lock", lambda: os.listdir(m.mail) == ["ann"])
    before = mbox_of(m, "ann")
    let_go = hold(m.mail + "/ann")
    text = b"Subject: late\r\n\r\n" + TRICKY
    assert hand_in(m, ["ann@here.test", "bob@here.test"], text)[0] == 250
    parts_of(m, "bob", 1)
    assert hand_in(m, ["bob@here.test"])[0] == 250
    parts_of(m, "bob", 2)
    assert mbox_of(m, "ann") == before
    let_go()
    assert parts_of(m, "ann", 2)[1][1].endswith(
        b"\n" + TRICKY.replace(b"\r\n", b"\n"))
    m.empty_local()
    assert not m.events("deliver.deferred")


def dead_pid():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


@pytest.mark.parametrize("text,age,stale", [
    ("%d\nmta\n", 0, True), ("%d\n", 0, False), ("%d\n", 1000, True)])
def test_lock_of_a_process_that_died(mta, text, age, stale):
    """Our own is known as stale at once, a foreign one after 15 minutes."""
    m = mta("serve", {"local.mailbox": "mbox"})
    path = m.mail + "/ann.lock"
    with open(path, "w", encoding="ascii") as f:
        f.write(text % dead_pid())
    then = os.stat(path).st_mtime - age
    os.utime(path, (then, then))
    assert hand_in(m, ["ann@here.test", "bob@here.test"])[0] == 250
    parts_of(m, "bob", 1)
    if not stale:
        time.sleep(0.5)  # ten tries
        assert os.path.exists(path) and not os.path.exists(m.mail + "/ann")
        os.unlink(path)
    parts_of(m, "ann", 1)
    until("no lock", lambda: not os.path.exists(path))


def test_many_writers_of_one_mbox(mta):
    """Workers append to the queue: none of them waits for the lock, and all
    messages are there, once, whole."""
    m = mta("run", {"local.mailbox": "mbox", "serve.workers": 4})
    clients = [m.raw() for _ in range(12)]
    want = []
    for c in clients:
        c.say("EHLO client.test")
    for turn in range(5):
        for c in clients:
            c.send("MAIL FROM:<a@client.test>\r\nRCPT TO:<ann@here.test>\r\n"
                   "DATA\r\n")
        for i, c in enumerate(clients):
            assert [c.reply()[0] for _ in range(3)] == [250, 250, 354]
            c.send("Subject: %d-%d\r\n\r\n%s\r\n.\r\n" % (turn, i, "x" * 900))
            want.append("%d-%d" % (turn, i))
        assert [c.reply()[0] for c in clients] == [250] * len(clients)
    subjects = [re.search(rb"(?m)^Subject: (.*)$", p)[1].decode()
                for _, p in parts_of(m, "ann", len(want))]
    assert sorted(subjects) == sorted(want)


def test_a_kill_leaves_no_lock_that_counts(mta):
    m = mta("run", {"local.mailbox": "mbox", "serve.workers": 1})
    assert hand_in(m, ["ann@here.test"])[0] == 250
    parts_of(m, "ann", 1)
    m.stop(signal.SIGTERM)
    with open(m.mail + "/ann.lock", "w", encoding="ascii") as f:
        f.write("%d\nmta\n" % dead_pid())  # as after kill -9 in the turn
    m.start()
    assert hand_in(m, ["ann@here.test"])[0] == 250
    parts_of(m, "ann", 2)
