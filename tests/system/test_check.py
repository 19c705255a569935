"""`mta check`: each finding once as it should be and once as it should not,
with DNS of our own; and `mta check --health`."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import tempfile
import time

import pytest

import certs
from checking import as_nobody, check, one, reachable
from dnsserver import DnsServer
from harness import DEADLINE, MTA, UNDER_VALGRIND, Clock, free_port, until
from peer import Peer
from processes import by_role, workers

ZONES = {
    "here.test": "@ MX 10 mx\nmx A 192.0.2.1\nother A 192.0.2.99",
    "good.test": "@ MX 10 mx.here.test.",
    "away.test": "@ MX 10 mx.away.test.\nmx A 192.0.2.50",
    "null.test": "@ MX 0 .",
    "pass.test": '@ TXT "v=spf1 include:inc.pass.test -all"\n'
                 'inc TXT "v=spf1 ip4:192.0.2.0/24 ?all"',
    "a.test": '@ TXT "v=spf1 a:mx.here.test/30 mx -all"',
    "redir.test": '@ TXT "v=spf1 redirect=pass.test"',
    "exists.test": '@ TXT "v=spf1 exists:%{ir}.%{v}.ex.%{d} -all"\n'
                   '1.2.0.192.in-addr.ex A 127.0.0.2',
    "split.test": '@ TXT "v=spf1 ip4:192" ".0.2.1 -all"',
    "fail.test": '@ TXT "v=spf1 ip4:198.51.100.1 -all"',
    "soft.test": '@ TXT "v=spf1 mx ~all"',
    "neutral.test": '@ TXT "v=spf1 ip4:198.51.100.1"',
    "two.test": '@ TXT "v=spf1 -all"\n@ TXT "v=spf1 +all"',
    "loop.test": '@ TXT "v=spf1 include:loop.test -all"',
    "many.test": '@ TXT "v=spf1 %s -all"' % " ".join(
        ["a:other.here.test"] * 11),
    "void.test": '@ TXT "v=spf1 a:v1.void.test a:v2.void.test '
                 'a:v3.void.test ip4:192.0.2.1 -all"',
    "word.test": '@ TXT "v=spf1 nonsense -all"',
    "6.test": '@ TXT "v=spf1 ip6:2001:db8::/32 -all"',
    "aligned.test": '_dmarc TXT "v=DMARC1; p=reject"',
    "strict.test": '_dmarc TXT "v=DMARC1; p=none; adkim=s"',
    "tree.test": '_dmarc TXT "v=DMARC1; p=none; sp=quarantine"\n'
                 '_dmarc.own TXT "v=DMARC1; p=reject; psd=n"',
    "psd.test": '_dmarc TXT "v=DMARC1; p=none; psd=y"',
    "trial.test": '_dmarc TXT "v=DMARC1; p=reject; t=y"',
    "np.test": '_dmarc TXT "v=DMARC1; p=none; np=reject"\nthere A 192.0.2.1',
    "spf.test": '_dmarc TXT "v=DMARC1; p=reject; aspf=s"\n'
                '@ TXT "v=spf1 ip4:192.0.2.1 -all"',
    "late.test": '@ TXT "v=spf1 ip4:192.0.2.1 nonsense -all"',
    "sender.test": '@ TXT "v=spf1 exists:%{s}.ex.test -all"',
    "texts.test": "".join('@ TXT "text %d"\n' % n for n in range(40)) +
                  '@ TXT "v=spf1 ip4:192.0.2.1 -all"',
    "evil.test": '@ TXT "v=spf1 \\027[31m -all"',
    "mailed.test": "@ MX 10 mx\nmx A 127.0.0.1\n" + "".join(
        "%s MX 10 mx\n" % name for name in "abcd"),
    "gmail.com": "@ MX 10 mx\nmx A 127.0.0.1",
    "2.0.192.in-addr.arpa": "1 PTR mx.here.test.\n2 PTR nothing.here.test.\n"
                            "99 PTR other.here.test.",
}


@pytest.fixture(scope="module")
def dns():
    with DnsServer(ZONES) as d:
        yield d


@pytest.fixture
def here(mta, dns):
    def make(**settings):
        more = {"dns.servers": [dns.address], "dns.timeout": "1s",
                "local.domains": ["localhost"]}
        more.update({k.replace("__", "."): v for k, v in settings.items()})
        return mta(settings=more, start=False)
    return make


# --- this host ----------------------------------------------------------------

def test_settings(here):
    m = here()
    states = [f["state"] for f in check(m, "settings")]
    assert "fault" not in states and "ok" in states
    m.settings["send.tls_ca"] = os.path.join(m.dir, "none")
    m.write_conf()
    faults = [f for f in check(m, "settings") if f["state"] == "fault"]
    assert m.conf + ":" in faults[0]["what"]
    assert "send.tls_ca" in faults[0]["what"]
    m.settings["send.tls_ca"] = ""
    m.settings["local.aliases"] = os.path.join(m.dir, "aliases")
    m.settings["local.users"] = "file:" + os.path.join(m.dir, "users")
    open(os.path.join(m.dir, "users"), "w").close()
    with open(m.settings["local.aliases"], "w") as f:
        f.write("team: nosuch\n")
    m.write_conf()
    assert any(f["state"] == "warning" and "no such user: nosuch" in f["what"]
               for f in check(m, "settings"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
def test_another_user_sees_less(here, tmp_path):
    """What a user may not read is a warning that says so, and no fault."""
    key, password = tmp_path / "key", tmp_path / "password"
    subprocess.run([MTA, "dkim", "keygen", "k.test", "s", str(key)],
                   stdout=subprocess.PIPE, check=True)
    password.write_text("secret\n")
    password.chmod(0o600)
    cert, cert_key = certs.make(str(tmp_path), "mx.here.test")
    os.chmod(cert_key, 0o600)
    reachable(key)
    with Peer("127.0.0.1") as p:
        m = here(dkim__keys=["k.test:s:%s" % key],
                 send__relay_host="[127.0.0.1]:%d" % p.port,
                 send__logins=["[127.0.0.1]:%d me file:%s"
                               % (p.port, password)],
                 send__tls="none", serve__tls_cert=[cert],
                 serve__tls_key=[cert_key])
        os.mkdir(m.queue, 0o711)
        found = as_nobody(m)

    def warned(name, what):
        return [f for f in found if f["check"] == name and what in f["what"]
                and f["state"] == "warning" and "as root" in f["fix"]]
    assert warned("settings", "only root and the owner"), found
    assert warned("dkim", "%s: Permission denied" % key), found
    assert warned("tls", "%s: Permission denied" % cert_key), found
    assert warned("smarthost", "%s: Permission denied" % password), found
    assert "secret" not in str(found)
    assert [f for f in found if "our login was not tried" in f["what"]], found


def test_clock(here):
    m = here()
    os.mkdir(m.queue, 0o711)
    state, what = one(m, "clock")
    assert state in ("ok", "warning") and "synchronised" in what
    later = time.time() + 7200
    os.utime(m.queue, (later, later))
    state, what = one(m, "clock")
    assert (state, "the clock is wrong" in what) == ("fault", True)


@pytest.mark.skipif(UNDER_VALGRIND, reason="another clock")
def test_clock_of_the_past(here):
    with Clock() as clock:
        clock.set(-3000)
        state, what = one(here(), "clock", env=clock.env)
        assert (state, "the clock is wrong" in what) == ("fault", True)


@pytest.mark.skipif(UNDER_VALGRIND, reason="another clock")
@pytest.mark.parametrize("sync, state, what", [
    ("yes", "ok", "the clock is synchronised: 20"),
    ("no", "warning", "is not synchronised by NTP"),
    ("denied", "ok", "whether it is synchronised cannot be seen (Operation"),
])
def test_clock_and_ntp(here, sync, state, what):
    with Clock() as clock:
        got = one(here(), "clock", env=dict(clock.env, TIMESHIFT_SYNC=sync))
        assert got[0] == state and what in got[1], got


@contextlib.contextmanager
def small_disk(options):
    """A directory on a file system of its own."""
    at = tempfile.mkdtemp(prefix="mta-check-")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", at],
                          stderr=subprocess.PIPE)
    try:
        if done.returncode != 0:
            pytest.skip("cannot mount: " + done.stderr.decode().strip())
        yield at
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", at], check=True)
        os.rmdir(at)


@pytest.mark.parametrize("made", [True, False])
def test_a_disk_that_is_nearly_full(here, made):
    """Also where the queue is still to be made there."""
    def disk(m):
        [f] = [f for f in check(m, "settings") if "the disk of" in f["what"]]
        return f
    with small_disk("size=1000k,nr_inodes=100") as at:
        queue = os.path.join(at, "below", "queue")
        m = here(queue_dir=queue)
        if made:
            os.makedirs(queue)
        found = disk(m)
        assert found["state"] == "ok", found
        assert "the disk of %s has room (" % queue in found["what"], found
        for n in range(95):
            open(os.path.join(at, "%d" % n), "w").close()
        found = disk(m)
        assert found["state"] == "warning", found
        assert re.search(r" and [0-9] % of its inodes left$", found["what"])
        assert found["fix"] == "make room, or move queue_dir"
        for n in range(95):
            os.unlink(os.path.join(at, "%d" % n))
        assert disk(m)["state"] == "ok"
        with open(os.path.join(at, "ballast"), "wb") as f:
            f.write(b"x" * 940000)
        found = disk(m)
        assert found["state"] == "warning", found
        assert re.search(r" has [0-9] % of its space and ", found["what"])


def rows_of(m, at_row, act):
    """The findings as text; act() is called behind the first of a check."""
    p = subprocess.Popen([MTA, "check", "-c", m.conf, "--address",
                          "192.0.2.1"], stdout=subprocess.PIPE)
    lines = []
    for line in p.stdout:
        lines.append(line.decode())
        if act is not None and lines[-1].split()[1] == at_row:
            act()
            act = None
    p.wait()
    return lines


def test_resolver(here):
    state, what = one(here(), "resolver")
    assert state == "ok" and re.match("the DNS answers in [0-9]+ ms$", what)
    state, what = one(here(dns__servers=["127.0.0.1:1"]), "resolver")
    assert state == "fault" and "refused" in what


def test_a_slow_resolver(here):
    with DnsServer({"com": ""}) as slow:
        m = here(dns__servers=[slow.address], dns__timeout="5s")
        slow.pause()

        def resume():
            time.sleep(1.2)  # which is what is slow about it
            slow.resume()
        [line] = [x for x in rows_of(m, "clock", resume)
                  if x.split()[1] == "resolver"]
        assert line.startswith("warning "), line
        ms = int(re.search("the DNS took ([0-9]+) ms to answer", line)[1])
        assert ms > 1000
        assert "run a resolver on this host" in line


def test_a_silent_resolver(here):
    with DnsServer({"com": ""}) as silent:
        silent.pause()
        found = check(here(dns__servers=[silent.address]), "resolver")
        assert found[0]["state"] == "fault", found
        assert "the DNS does not answer (" in found[0]["what"]
        assert "set dns.servers" in found[0]["fix"]


def test_hostname(here):
    assert one(here(), "hostname") == (
        "ok", "mx.here.test has an address in the DNS")
    state, what = one(here(hostname="box"), "hostname")
    assert state == "fault" and "no fully qualified name" in what
    state, what = one(here(hostname="none.here.test"), "hostname")
    assert (state, "has no address" in what) == ("warning", True)
    state, what = one(here(hostname="other.here.test"), "hostname")
    assert (state, "another address" in what) == ("warning", True)
    state, what = one(here(dns__servers=["127.0.0.1:1"]), "hostname")
    assert (state, "looked up now" in what) == ("warning", True)


def test_addresses(here):
    m = here()
    assert one(m, "addresses") == ("ok", "mail leaves from 192.0.2.1")
    for hidden in ("10.1.2.3", "192.168.1.1", "100.64.0.1", "fd00::2"):
        state, what = one(m, "addresses", address=hidden)
        assert (state, what) == ("warning", "mail leaves from %s, which is "
                                 "behind NAT" % hidden)
    assert len(check(m, "addresses", address="192.0.2.1,192.0.2.2")) == 2
    bad = m.tool("check", "--address", "x", check=False)
    assert bad.returncode == 64 and b"'x' is not an address" in bad.stderr


def can_unshare():
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "-n", "true"], check=False).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="needs a network namespace")
@pytest.mark.parametrize("setup, state, what", [
    ("true", "fault", "there is no route to the Internet"),
    ("ip link set lo up; ip addr add 198.51.100.7/32 dev lo; "
     "ip route add default dev lo src 198.51.100.7", "ok",
     "mail leaves from 198.51.100.7"),
    ("ip link set lo up; ip addr add 172.17.0.2/32 dev lo; "
     "ip route add default dev lo src 172.17.0.2", "warning",
     "mail leaves from 172.17.0.2, which is behind NAT"),
])
def test_default_routes(here, setup, state, what):
    m = here(dns__servers=["127.0.0.1:1"])
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", "%s; exec %s check --json -c %s"
         % (setup, MTA, m.conf)], stdout=subprocess.PIPE, timeout=120)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(f["state"], f["what"]) for f in found
            if f["check"] == "addresses"] == [(state, what)]


@pytest.mark.skipif(not can_unshare(), reason="needs a namespace")
def test_without_a_resolver(here):
    """What names the servers cannot be read: all else is looked at."""
    m = here(local__domains=["pass.test"], dns__servers=[],
             send__logins=["[127.0.0.1]:1 me file:/dev/null"])
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", "mount --bind /dev/null "
         "/etc/resolv.conf; exec %s check --json -c %s --address 192.0.2.1"
         % (MTA, m.conf)], stdout=subprocess.PIPE, timeout=120)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 2
    assert {f["check"] for f in found} == set(CHECKS)
    why = "/etc/resolv.conf is not a file or too big"
    for f in found:
        if f["check"] == "resolver":
            assert f["what"] == "the DNS does not answer (%s)" % why
            assert f["state"] == "fault"
        if f["check"] in ("hostname", "reverse", "mx", "spf", "dmarc"):
            assert f["what"].endswith("cannot be looked up now (%s)" % why)
            assert (f["state"], f["fix"]) == ("warning", "see 'resolver'")


def test_reverse(here):
    m = here()
    assert one(m, "reverse") == ("ok", "192.0.2.1 is mx.here.test, and back")
    state, what = one(m, "reverse", address="192.0.2.3")
    assert (state, "has no PTR record" in what) == ("fault", True)
    state, what = one(m, "reverse", address="192.0.2.2")
    assert (state, "has not that address" in what) == ("fault", True)
    state, what = one(m, "reverse", address="192.0.2.99")
    assert (state, "while HELO has mx.here.test" in what) == ("warning", True)
    m = here(dns__servers=["127.0.0.1:1"])
    assert one(m, "reverse")[0] == "warning"
    assert check(m, "reverse", address="10.0.0.1") == []
    m = here(send__relay_host="[192.0.2.9]")
    assert one(m, "reverse", address="192.0.2.3")[0] == "ok"


@pytest.mark.parametrize("domain, state, what", [
    ("pass.test", "ok", "by: include:inc.pass.test"),
    ("a.test", "ok", "by: a:mx.here.test/30"),
    ("redir.test", "ok", "by: include:inc.pass.test"),
    ("exists.test", "ok", "by: exists:"),
    ("split.test", "ok", "by: ip4:192.0.2.1"),
    ("fail.test", "fault", "fail (by: all)"),
    ("soft.test", "fault", "softfail (by: all)"),
    ("neutral.test", "warning", "neutral (no term of it matches)"),
    ("none.test", "fault", "has no SPF record"),
    ("two.test", "fault", "more than one SPF record"),
    ("loop.test", "fault", "is broken"),
    ("many.test", "fault", "more than 10 look-ups"),
    ("void.test", "fault", "more than 2 look-ups find nothing"),
    ("word.test", "fault", "malformed: nonsense"),
    ("late.test", "fault", "malformed: nonsense"),
    ("sender.test", "warning", "cannot be evaluated here"),
    ("texts.test", "ok", "by: ip4:192.0.2.1"),
    ("evil.test", "fault", "malformed: ?[31m"),
    ("6.test", "fault", "fail (by: all)"),
])
def test_spf(here, domain, state, what):
    got = one(here(local__domains=[domain]), "spf")
    assert got[0] == state and what in got[1], got


def test_spf_of_ipv6_and_behind_others(here):
    m = here(local__domains=["6.test"])
    assert one(m, "spf", address="2001:db8::7")[0] == "ok"
    m = here(local__domains=["6.test"], dns__servers=["127.0.0.1:1"])
    assert one(m, "spf")[0] == "warning"
    m = here(local__domains=["6.test"], send__relay_host="[127.0.0.1]:1")
    assert one(m, "spf")[0] == "ok"
    assert check(here(local__domains=["6.test"]), "spf",
                 address="10.0.0.1") == []


def test_whose_domains(here, tmp_path):
    """Mail leaves with the domain of rewrite.from, if it is set; keys may be
    of domains whose mail goes elsewhere."""
    key = str(tmp_path / "key")
    subprocess.run([MTA, "dkim", "keygen", "away.test", "s", key],
                   stdout=subprocess.PIPE, check=True)
    m = here(local__domains=["good.test", "fail.test"],
             dkim__keys=["away.test:s:" + key])
    assert [f["what"].split()[3] for f in check(m, "mx")] == [
        "good.test", "for"]
    assert [f["what"].split()[2 if " of " in f["what"] else 0]
            for f in check(m, "spf")] == ["good.test", "fail.test",
                                          "away.test"]
    m.settings["rewrite.from"] = "box@pass.test"
    m.write_conf()
    assert [f["what"].split()[2 if " of " in f["what"] else 0]
            for f in check(m, "spf")] == ["pass.test", "away.test"]
    assert [(f["state"], f["check"]) for f in check(here(), "mx")] == [
        ("ok", "mx")]
    assert "others can know" in one(here(), "mx")[1]


def test_dkim(mta, tmp_path):
    key, other = str(tmp_path / "key"), str(tmp_path / "other")
    made = subprocess.run([MTA, "dkim", "keygen", "k.test", "s1", key],
                          stdout=subprocess.PIPE, check=True).stdout.decode()
    subprocess.run([MTA, "dkim", "keygen", "k.test", "s2", other],
                   stdout=subprocess.PIPE, check=True)
    test = made.replace("s1._domainkey", "s3._domainkey").replace(
        "v=DKIM1;", "v=DKIM1; t=y;")
    second = made.replace("s1._domainkey", "s2._domainkey")
    with DnsServer({"k.test": made + second + test}) as d:
        def state(selector, path):
            m = mta(start=False, settings={
                "dns.servers": [d.address], "local.domains": ["localhost"],
                "dkim.keys": ["k.test:%s:%s" % (selector, path)]})
            return one(m, "dkim")
        assert state("s1", key)[0] == "ok"
        assert state("s3", key) == ("warning", "s3._domainkey.k.test says "
                                    "that it is a test")
        got = state("s2", other)
        assert got[0] == "fault" and "has another key" in got[1]
        got = state("s4", key)
        assert got == ("fault", "there is no TXT record s4._domainkey.k.test")
        d.stop()
        assert state("s1", key)[0] == "warning"


def test_no_dkim(here):
    m = here(local__domains=["here.test"])
    assert one(m, "dkim") == ("warning",
                              "mail leaves without a DKIM signature")


@pytest.mark.parametrize("domain, signer, state, what", [
    ("aligned.test", "aligned.test", "ok", "(reject of aligned.test)"),
    ("aligned.test", "sub.aligned.test", "ok", "(reject of aligned.test)"),
    ("aligned.test", "else.test", "fault", "(reject of aligned.test)"),
    ("strict.test", "sub.strict.test", "warning", "(none of strict.test)"),
    ("strict.test", "strict.test", "ok", "(none of strict.test)"),
    # the tree: from the domain to those above it
    ("a.tree.test", "tree.test", "ok", "(quarantine of tree.test)"),
    ("a.b.tree.test", "x.test", "fault", "(quarantine of tree.test)"),
    ("1.2.3.4.5.6.7.8.9.tree.test", "tree.test", "ok",
     "(quarantine of tree.test)"),
    ("own.tree.test", "tree.test", "fault", "(reject of own.tree.test)"),
    ("a.psd.test", "b.psd.test", "warning", "(none of psd.test)"),
    ("a.psd.test", "x.a.psd.test", "ok", "(none of psd.test)"),
    ("trial.test", "else.test", "warning", "(reject of trial.test, in test "),
    ("gone.tree.test", "else.test", "fault", "(quarantine of tree.test)"),
    ("gone.np.test", "else.test", "fault", "(reject of np.test)"),
    ("there.np.test", "else.test", "warning", "(none of np.test)"),
    ("spf.test", "else.test", "warning", "by SPF alone (reject of spf.test)"),
    ("none.test", "none.test", "warning", "neither none.test nor"),
])
def test_dmarc(here, tmp_path, domain, signer, state, what):
    key = str(tmp_path / "key")
    subprocess.run([MTA, "dkim", "keygen", signer, "s", key],
                   stdout=subprocess.PIPE, check=True)
    m = here(local__domains=[domain], dkim__keys=["%s:s:%s" % (signer, key)])
    got = check(m, "dmarc")[0]
    assert (got["state"], what in got["what"]) == (state, True), got


def test_dmarc_not_known_now(here):
    m = here(local__domains=["aligned.test"], dns__servers=["127.0.0.1:1"])
    assert one(m, "dmarc")[0] == "warning"


def test_port(here):
    with Peer("127.0.0.1") as p:
        m = here(send__port=p.port)
        state, what = one(m, "port")
        assert state == "ok" and "mx.gmail.com: greets" in what
    state, what = one(here(send__port=p.port), "port")
    assert state == "warning" and "seems closed" in what


def test_port_of_the_domains_most_mailed(mta, dns):
    with Peer("127.0.0.1") as p:
        m = mta(settings={"dns.servers": [dns.address], "send.port": p.port})
        with m.smtp() as s:
            s.sendmail("a@src.test", ["u@mailed.test"], b"Subject: x\r\n\r\n")
        until("sent", lambda: m.events("send.delivered"))
        until("in the history", lambda: one(m, "port") == (
            "ok", "port %d out is open (mx.mailed.test: greets)" % p.port))


def test_port_of_the_three_most_mailed(mta, dns):
    with Peer("127.0.0.1") as p:
        m = mta(settings={"dns.servers": [dns.address], "send.port": p.port})
        with m.smtp() as s:
            for name, n in (("d", 1), ("a", 3), ("c", 2), ("b", 4)):
                for _ in range(n):
                    s.sendmail("a@src.test", ["u@%s.mailed.test" % name],
                               b"Subject: x\r\n\r\n")
        until("sent", lambda: len(p.messages) == 10)

    def named():
        state, what = one(m, "port")
        assert state == "warning", what
        return "no host of b.mailed.test, a.mailed.test, c.mailed.test " \
            "greets (" in what
    until("by the history", named)


def test_mx(here):
    m = here(local__domains=["localhost", "here.test", "good.test",
                             "away.test", "null.test", "none.test"])
    found = check(m, "mx")
    assert [f["state"] for f in found] == ["ok", "ok", "warning", "warning",
                                           "warning"]
    assert found[2]["what"] == "the MX of away.test is mx.away.test, " \
        "not this host"
    assert "null MX" in found[3]["what"]
    assert "finds no host" in found[4]["what"]
    m = here(local__domains=["here.test"], dns__servers=["127.0.0.1:1"])
    assert "looked up now" in one(m, "mx")[1]


def test_certificates(here, tmp_path):
    def state_of(cert, key):
        return one(here(serve__tls_cert=[cert], serve__tls_key=[key]), "tls")
    state, what = state_of(*certs.make(str(tmp_path), "mx.here.test"))
    assert state == "ok" and " is valid for " in what
    state, what = state_of(*certs.make(str(tmp_path), "mx.here.test", days=5,
                                       tag="-soon"))
    assert state == "warning" and "expires in" in what
    state, what = state_of(*certs.expired(str(tmp_path), "mx.here.test"))
    assert state == "fault" and "has expired" in what
    # one for another name, alone and beside the right one
    other, other_key = certs.make(str(tmp_path), "other.test")
    m = here(serve__tls_cert=[other], serve__tls_key=[other_key])
    assert [(f["state"], f["what"]) for f in check(m, "tls")][1] == (
        "warning", "no certificate is for mx.here.test")
    cert, key = certs.make(str(tmp_path), "here.test", names=["*.here.test"])
    m = here(serve__tls_cert=[other, cert], serve__tls_key=[other_key, key])
    assert [f["state"] for f in check(m, "tls")] == ["ok", "ok"]
    assert one(here(), "tls")[0] == "ok"


# --- health -------------------------------------------------------------------

def health(m):
    began = time.monotonic()
    done = m.tool("check", "--health", check=False)
    assert done.stdout == b""
    return done.returncode, done.stderr.decode(), time.monotonic() - began


def test_health(mta, tmp_path):
    tls_port = free_port()
    cert, key = certs.make(str(tmp_path), "mx.here.test")
    m = mta(start=False)
    m.settings["serve.listen"] += ["127.0.0.1:%d tls" % tls_port,
                                   "unix:" + os.path.join(m.dir, "sock")]
    m.settings["serve.tls_cert"] = [cert]
    m.settings["serve.tls_key"] = [key]
    m.write_conf()
    status, why, _ = health(m)
    assert status == 1 and "nothing runs there" in why
    m.start()
    until("it is well", lambda: health(m)[0] == 0)
    assert health(m)[1] == ""
    before = len(m.events())
    for _ in range(3):
        assert health(m)[0] == 0
    with m.smtp() as s:  # the log is up to here
        s.noop()
    until("a session", lambda: m.events("serve.disconnect"))
    assert len(m.events("serve.connect")) == 1, m.events()
    assert len(m.events()) - before <= 6  # of that session


def idle_log(m):
    """The size of the log once nothing more comes to it."""
    sizes = [-1, -2]

    def rests():
        sizes.append(os.path.getsize(m.log))
        time.sleep(0.1)
        return sizes[-1] == sizes[-2] == sizes[-3]
    until("the log rests", rests)
    return sizes[-1]


def test_health_leaves_no_trace(mta):
    m = mta()
    until("it is well", lambda: health(m)[0] == 0)
    before = idle_log(m)
    for _ in range(5):
        assert health(m)[:2] == (0, "")
    assert idle_log(m) == before


def silent_ones(m, role):
    if role == "serve":
        return workers(m)
    if role == "all":
        return sum((silent_ones(m, r) for r in ("serve", "send", "deliver")),
                   [])
    return [m.process.pid] if role == "supervisor" else by_role(
        m.process.pid)[role]


@pytest.mark.parametrize("role, why", [
    ("serve", "127.0.0.1:%d is silent for 1000 ms"),
    ("send", "run/send.sock is silent for 1000 ms"),
    ("deliver", "run/deliver.sock is silent for 1000 ms"),
    ("all", "run/send.sock is silent for 1000 ms"),
    ("supervisor", "run/control.sock: Resource temporarily unavailable"),
])
def test_a_silent_process(mta, role, why):
    """A process that is stopped is noticed after a second, without work,
    several at the same time; then all is well again."""
    m = mta()
    until("it is well", lambda: health(m)[0] == 0)
    before = idle_log(m)
    stopped = silent_ones(m, role)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        status, text, took = health(m)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert status == 1
    if role == "all":
        assert text.count("is silent for 1000 ms") == 4, text
    assert (why % m.port if "%" in why else why) in text, text
    assert 0.9 < took < 30, took
    if not UNDER_VALGRIND:
        assert after.ru_utime + after.ru_stime - used.ru_utime - \
            used.ru_stime < 0.5
    until("it is well again", lambda: health(m)[0] == 0)
    assert idle_log(m) == before


@pytest.mark.skipif(UNDER_VALGRIND, reason="measures")
def test_health_is_cheap(mta):
    m = mta()
    until("it is well", lambda: health(m)[0] == 0)
    used = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert health(m)[2] < DEADLINE
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime -
                    before.ru_utime - before.ru_stime)
    assert min(used) < 0.05, used  # of the processor


# --- forms and exit status ----------------------------------------------------

CHECKS = ["settings", "clock", "resolver", "addresses", "hostname", "reverse",
          "mx", "spf", "dkim", "dmarc", "tls", "smarthost", "port"]


def without_numbers(text):
    """Times, and what else two runs see differently."""
    return re.sub("[0-9]+", "N", text)


@pytest.mark.parametrize("settings", [
    {"local__domains": ["here.test", "pass.test", "fail.test", "null.test",
                        "aligned.test"]},
    {"local__domains": ["here.test"], "dns__servers": ["127.0.0.1:1"]},
    {"local__domains": ["here.test", "evil.test"], "hostname": "box"},
    {"send__relay_host": ["[127.0.0.1]:1", "[192.0.2.1]"],
     "send__logins": ["[127.0.0.1]:2 me file:/dev/null"]},
])
def test_json_says_what_the_text_says(here, settings):
    m = here(**settings)
    by_json = check(m)
    lines = [re.match(r"(\S+) +(\S+) +(.*)$", x).groups()
             for x in rows_of(m, None, None)]
    assert [tuple(map(without_numbers, (
        f["state"], f["check"], f["what"] + (": " + f["fix"] if f["fix"]
                                             else ""))))
            for f in by_json] == [tuple(map(without_numbers, x))
                                  for x in lines]
    seen = [f["check"] for f in by_json]
    assert sorted(set(seen), key=CHECKS.index) == sorted(set(seen),
                                                         key=seen.index)


def test_every_check_reports(here):
    """With and without a smarthost, each has a line."""
    seen = {f["check"] for m in (
        here(local__domains=["here.test"]),
        here(send__relay_host="[127.0.0.1]:1")) for f in check(m)}
    assert seen == set(CHECKS)


@pytest.mark.parametrize("args, status, text", [
    (["--nosuch"], 64, "--nosuch"),
    (["--healthy"], 64, "--health"),
    (["extra"], 64, "extra"),
    (["--address"], 64, "is not expected here"),  # it took a word
    (["--address", "192.0.2.300"], 64, "'192.0.2.300' is not an address"),
    (["--health", "extra"], 1, "extra"),
    (["-o", "nosuch=1"], 64, "nosuch"),
    (["-o", "send.port=0"], 64, "send.port"),
    (["--health", "-o", "send.port=0"], 1, "send.port"),
    (["--health", "--json"], 1, "nothing runs there (mta run)"),
])
def test_arguments(here, args, status, text):
    done = here().tool("check", *args, check=False)
    assert (done.returncode, done.stdout) == (status, b""), done
    assert text in done.stderr.decode(), done.stderr


def test_a_setting_that_is_none(here):
    m = here(send__port=0)
    for args, status in (([], 2), (["--json"], 2), (["--health"], 1)):
        done = m.tool("check", *args, check=False)
        assert (done.returncode, done.stdout) == (status, b""), done
        assert "%s:" % m.conf in done.stderr.decode()
        assert "send.port" in done.stderr.decode()
