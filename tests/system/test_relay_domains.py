"""Domains of other hosts whose mail anybody may send here: as their second
MX, or as a gateway in front of them (serve.relay_domains)."""

import contextlib
import os

import pytest

from dnsserver import DnsServer
from harness import free_port, until
from peer import Peer

ZONES = {
    "backup.test": "@ MX 10 a\n@ MX 20 mx.here.test.\n@ MX 30 b\n"
                   "a A 127.0.0.2\nb A 127.0.0.3",
    "plain.test": "@ MX 10 a\na A 127.0.0.2",
    "here.test": "mx A 127.0.0.1",
}
STRANGERS = {"serve.relay_networks": [], "serve.early_talk": "accept",
             "send.retry_min": "1h", "send.retry_max": "1h"}


def system(mta, domains, files=None, command="serve", **more):
    m = mta(command, {**STRANGERS, **more}, start=False)
    for name, text in (files or {}).items():
        write(os.path.join(m.dir, name), text)
    m.settings["serve.relay_domains"] = [x.replace("%s", m.dir)
                                         for x in domains]
    m.write_conf()
    return m.start()


def write(path, text):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.rename(path + ".new", path)


def verdict(m, address):
    with m.raw() as c:
        c.say("EHLO client.test")
        assert c.say("MAIL FROM:<a@client.test>")[0] == 250
        code, lines = c.say("RCPT TO:<%s>" % address)
    return code, lines[0]


DOMAINS = ["all.test", ".below.test", "some.test=file:%s/some"]
OPEN = [
    ("x@all.test", 250, "2.1.5"),
    ("x@ALL.TEST", 250, "2.1.5"),
    ("@a.test,@b.test:x@all.test", 250, "2.1.5"),
    # its host may trust this one and send it on
    ("x%elsewhere.test@all.test", 550, "5.7.1"),
    ("elsewhere.test!x@all.test", 550, "5.7.1"),
    ("\"x@elsewhere.test\"@all.test", 550, "5.7.1"),
    ("ann+%elsewhere.test@some.test", 550, "5.1.1"),
    ("x@sub.all.test", 550, "5.7.1"),
    ("x@all.test.elsewhere.test", 550, "5.7.1"),
    ("@all.test:x@elsewhere.test", 550, "5.7.1"),
    ("x@all.test@elsewhere.test", 501, "5.1.3"),
    ("\"x@all.test\"@elsewhere.test", 550, "5.7.1"),
    ("x@elsewhere.test", 550, "5.7.1"),
    ("x@[127.0.0.9]", 550, "5.7.1"),
    ("x@below.test", 550, "5.7.1"),
    ("x@a.below.test", 250, "2.1.5"),
    ("ann@some.test", 250, "2.1.5"),
    ("Ann+tag@some.test", 250, "2.1.5"),
    ("\"ann\"@some.test", 250, "2.1.5"),
    ("zoe@some.test", 550, "5.1.1"),
    ("postmaster@some.test", 250, "2.1.5"),
    ("joe@here.test", 250, "2.1.5"),
]


@pytest.fixture(scope="module")
def gate(all_reports, tmp_path_factory):
    from harness import Mta
    some = str(tmp_path_factory.mktemp("relay"))
    write(some + "/some", "# who is there\nann\n")
    with Mta("serve", {**STRANGERS, "serve.max_errors": 1000,
                       "serve.max_unknown": 100000,
                       "serve.relay_domains": [
                           x.replace("%s", some) for x in DOMAINS]}) as m:
        yield m


@pytest.mark.parametrize("address,code,status", OPEN, ids=[x[0] for x in OPEN])
def test_who_may_send_where(gate, address, code, status):
    got, line = verdict(gate, address)
    assert got == code and line.startswith(status + " "), line
    if status == "5.1.1":
        assert "relay recipient table" in line


def test_relay_networks_hear_of_unknown_recipients_too(mta):
    m = system(mta, ["some.test=file:%s/some"], {"some": "ann\n"},
               **{"serve.relay_networks": ["127.0.0.0/8"]})
    assert verdict(m, "zoe@some.test")[0] == 550
    assert verdict(m, "ann@some.test")[0] == 250
    assert verdict(m, "zoe@elsewhere.test")[0] == 250


def test_addresses_are_not_to_be_guessed(mta):
    m = system(mta, ["some.test=file:%s/some"], {"some": "ann\n"},
               **{"serve.max_unknown": 2, "serve.max_errors": 100})
    with m.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        codes = [c.say("RCPT TO:<u%d@some.test>" % i)[0] for i in range(5)]
    assert codes == [550] * 4 + [421]


def test_second_mx_sends_to_the_first_alone(mta):
    """Hosts of equal or worse preference than ourselves are left out."""
    with Peer("127.0.0.2", answers={"GREETING": ["421 no"]}) as first, \
            Peer("127.0.0.3", first.port) as worse, \
            contextlib.closing(DnsServer(ZONES)) as dns:
        m = system(mta, ["backup.test"], command="run", **{
            "dns.servers": [dns.address], "send.port": first.port,
            "send.retry_min": "1s", "send.retry_max": "1s"})
        with m.smtp() as s:
            s.sendmail("a@client.test", ["joe@backup.test"],
                       b"Subject: x\r\n\r\nhi\r\n")
        until("taken", lambda: first.messages)
        assert not worse.sessions
        assert first.messages[0].rcpts == ["RCPT TO:<joe@backup.test>"]


def test_gateway_sends_by_route(mta):
    with Peer() as inside:
        m = system(mta, ["plain.test"], command="run", **{
            "send.routes": ["plain.test=[127.0.0.1]:%d" % inside.port]})
        with m.smtp() as s:
            s.sendmail("a@client.test", ["joe@plain.test"],
                       b"Subject: x\r\n\r\nhi\r\n")
        until("taken", lambda: inside.messages)


@pytest.mark.parametrize("hops,code", [(100, 250), (101, 554)])
def test_a_loop_ends(gate, hops, code):
    """RFC 5321 6.3: by the number of Received fields."""
    with gate.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        c.say("RCPT TO:<x@all.test>")
        c.say("DATA")
        c.send("Received: from a by b\r\n" * hops + "\r\nx\r\n")
        got, lines = c.say(".")
    assert got == code, lines
    assert code == 250 or lines[0].startswith("5.4.6 ")


def test_a_file_of_recipients_that_changes(mta):
    """Without a signal; a bad one changes nothing."""
    m = system(mta, ["some.test=file:%s/some"], {"some": "ann\n"},
               **{"serve.workers": 1})
    some = os.path.join(m.dir, "some")
    assert verdict(m, "bob@some.test")[0] == 550
    write(some, "bob\n")
    until("bob is known", lambda: verdict(m, "bob@some.test")[0] == 250)
    assert verdict(m, "ann@some.test")[0] == 550
    write(some, "ann\n@some.test\n")
    until("that is refused", lambda: [
        e for e in m.events("config.reload", level="error")
        if some + ":2: not a recipient" in e.get("error", "")])
    assert verdict(m, "bob@some.test")[0] == 250


def test_only_root_may_read_the_file(mta):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    m = mta("serve", {**STRANGERS, "user": "nobody"}, start=False)
    os.chmod(m.dir, 0o755)
    some = os.path.join(m.dir, "some")
    write(some, "ann\n")
    os.chmod(some, 0o600)
    m.settings["serve.relay_domains"] = ["some.test=file:" + some]
    m.settings["log.file"] = "-"
    m.settings["local.user"] = "nobody"
    m.write_conf()
    m.start()
    assert verdict(m, "ann@some.test")[0] == 250
    assert verdict(m, "bob@some.test")[0] == 550


@pytest.mark.parametrize("domains,said", [
    (["here.test"], "here.test is one of local.domains, too"),
    (["a.test", "A.test"], "a.test stands there twice"),
    (["a.test=file:/nowhere/at/all"], "/nowhere/at/all"),
], ids=["local", "twice", "no file"])
def test_a_start_is_refused(mta, domains, said):
    m = mta("serve", {"serve.relay_domains": domains}, start=False)
    m.start(wait=False)
    assert m.process.wait(30) in (78, 66, 77), m.errors()
    m.process = None
    assert "serve.relay_domains: " in m.errors() and said in m.errors()
