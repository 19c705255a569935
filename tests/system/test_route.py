"""`mta route`: where an address would go, by the rules of server, delivery and
sender; each decision, each exit status, and the setting that is named."""

import json
import os

import pytest

from dnsserver import DnsServer
from harness import until
from peer import Peer

ZONES = {
    "x.test": "@ MX 10 mx\n@ MX 20 mx2\nmx A 192.0.2.1\nmx AAAA 2001:db8::1\n"
              "mx2 A 192.0.2.2",
    "peer.test": "@ MX 10 mx\nmx A 127.0.0.1",
    "null.test": "@ MX 0 .",
    "nomx.test": "@ A 192.0.2.7",
    "gone.test": "@ MX 10 nowhere.gone.test.",
    "loop.test": "@ MX 10 mx.here.test.",
    "relay.test": "@ A 192.0.2.20\nb A 192.0.2.21",
    "here.test": "mx A 127.0.0.1",
}


@pytest.fixture(scope="module")
def dns():
    with DnsServer(ZONES) as d:
        yield d


@pytest.fixture
def here(mta, dns):
    def make(**settings):
        more = {"dns.servers": [dns.address]}
        more.update({k.replace("__", "."): v for k, v in settings.items()})
        return mta(settings=more, start=False)
    return make


def ask(m, *args):
    done = m.tool("route", "--json", *args, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def text(m, *args):
    return m.tool("route", *args, check=False).stdout.decode()


def put(m, name, content):
    path = os.path.join(m.dir, name)
    with open(path, "w") as f:
        f.write(content)
    return path


# --- other hosts --------------------------------------------------------------

def test_hosts_in_order(here):
    m = here()
    status, r = ask(m, "u@x.test")
    assert status == 0
    assert (r["address"], r["decision"]) == ("u@x.test", "remote")
    assert r["setting"] == "MX (no setting)"
    assert [(h["name"], h["preference"]) for h in r["hosts"]] == [
        ("mx.x.test", 10), ("mx2.x.test", 20)]
    assert "192.0.2.1:25" in r["hosts"][0]["addresses"]
    assert r["lane"] == r["hosts"][0]["addresses"][0]
    assert (r["tls"], r["tls_setting"]) == ("may", "send.tls (default)")
    assert (r["login"], r["pace"], r["rewrites"]) == (None, None, [])
    assert r["accepted_from"] == "serve.relay_networks alone"
    shown = text(m, "u@x.test")
    assert "  host       20 mx2.x.test  192.0.2.2:25\n" in shown, shown


@pytest.mark.parametrize("address, status, decision, why", [
    ("u@nomx.test", 0, "remote", None),
    ("u@null.test", 68, "reject", "5.1.10"),
    ("u@none.test", 68, "reject", "5.1.2"),
    ("u@gone.test", 68, "reject", "5.4.4"),
    ("u@loop.test", 68, "reject", "5.4.6"),
    ("u@[192.0.2.9]", 0, "remote", None),
])
def test_what_the_dns_says(here, address, status, decision, why):
    m = here(serve__listen=["127.0.0.1:25"])
    got, r = ask(m, address)
    assert (got, r["decision"]) == (status, decision), r
    assert (r["why"] or "").startswith(why or ""), r
    assert bool(r["why"]) == bool(why), r


def test_not_known_now(here):
    m = here(dns__servers=["127.0.0.1:1"])
    status, r = ask(m, "u@x.test")
    assert (status, r["decision"]) == (75, "wait")
    assert r["why"].startswith("4.4.3"), r


def test_the_setting_that_decided(here):
    m = here(send__routes=["x.test=[relay.test]:2525", "@from.test=b.relay.test",
                           ".sub.test=lmtp:unix:/run/x"],
             send__relay_host=["[relay.test]:587", "b.relay.test"],
             send__tls_policy=["x.test=verify", "[relay.test]:587=encrypt"])
    status, r = ask(m, "u@x.test")
    assert status == 0
    assert r["setting"].startswith('send.routes "x.test=[relay.test]:2525" ('
                                   + m.conf + ":"), r
    assert r["hosts"] == [{"name": "relay.test", "preference": None,
                           "addresses": ["192.0.2.20:2525"]}]
    assert (r["tls"], r["tls_setting"][:27]) == ("verify",
                                                 'send.tls_policy "x.test=ver')
    # by the sender, where the recipient has no route
    status, r = ask(m, "u@nomx.test", "--sender", "a@from.test")
    assert r["setting"].startswith('send.routes "@from.test=b.relay.test"')
    assert r["hosts"][0]["addresses"] == ["192.0.2.21:25"]
    # a socket
    status, r = ask(m, "u@a.sub.test")
    assert (status, r["lmtp"], r["tls"]) == (0, True, "none")
    assert r["hosts"][0]["addresses"] == ["unix:/run/x"]
    # the list of relays, each with its own TLS
    status, r = ask(m, "u@nomx.test")
    assert r["setting"].startswith("send.relay_host (" + m.conf)
    assert [h["relay"] for h in r["hosts"]] == [1, 2]
    shown = text(m, "u@nomx.test")
    assert "  relay      1 of 2: relay.test:587\n" in shown, shown
    assert "encrypt, by send.tls_policy" in shown
    assert "may, by send.tls (default)" in shown


def test_login_raises_tls(here):
    m = here(send__relay_host="[relay.test]:587", send__relay_user="me",
             send__relay_password="secret")
    status, r = ask(m, "u@x.test")
    assert (status, r["tls"]) == (0, "verify")
    assert "raised for the login" in r["tls_setting"]
    assert r["login"].startswith("me, by send.relay_user (" + m.conf)
    assert "secret" not in text(m, "u@x.test")


def test_a_relay_that_is_not_there(here):
    m = here(send__relay_host=["none.relay.test", "b.relay.test"])
    status, r = ask(m, "u@x.test")
    assert status == 0  # by the second
    assert [h["name"] for h in r["hosts"]] == ["b.relay.test"]
    m = here(send__relay_host="none.relay.test")
    status, r = ask(m, "u@x.test")
    assert (status, r["decision"]) == (75, "wait")  # our setting: mail waits
    assert r["why"].startswith("4.3.5"), r


def test_relay_domains(here):
    m = here()
    users = put(m, "rcpts", "ann\n")
    m.settings["serve.relay_domains"] = ["x.test=file:" + users]
    m.write_conf()
    status, r = ask(m, "ann@x.test")
    assert (status, r["decision"]) == (0, "remote")
    assert r["accepted_from"] == "any client, by serve.relay_domains"
    status, r = ask(m, "bob@x.test")
    assert (status, r["decision"]) == (67, "reject")
    assert r["setting"].startswith("serve.relay_domains (" + m.conf)


def test_lane_and_pace_of_a_running_sender(mta, dns):
    with Peer("127.0.0.1", answers={"MAIL": ["421 4.7.28 slower, please"]}) as p:
        m = mta(settings={"dns.servers": [dns.address], "send.port": p.port,
                          "send.retry_min": "1h", "send.retry_max": "1h"})
        until("the sender answers",
              lambda: ask(m, "u@peer.test")[1]["pace"] is not None)
        status, r = ask(m, "u@peer.test")
        assert (status, r["lane"]) == (0, "127.0.0.1:%d" % p.port)
        assert r["pace"] == {"state": "none", "until": None, "session": None,
                             "of": None, "per_minute": 0, "sessions": 0,
                             "reason": None}
        with m.smtp() as s:
            s.sendmail("a@src.test", ["u@peer.test"], b"Subject: x\r\n\r\n")
        pace = until("it is slower", lambda: (
            ask(m, "u@peer.test")[1]["pace"]["per_minute"]
            and ask(m, "u@peer.test")[1]["pace"]))
        assert pace["reason"].endswith("slower, please"), pace
        assert pace["of"] == "127.0.0.1:%d" % p.port
        shown = text(m, "u@peer.test")
        assert "message" in shown and "a minute" in shown, shown
        m.stop()
        assert ask(m, "u@peer.test")[1]["pace"] is None


# --- here ---------------------------------------------------------------------

def test_mailbox(here):
    m = here()
    status, r = ask(m, "joe+tag@here.test")
    assert (status, r["decision"]) == (0, "local")
    assert r["setting"].startswith("local.domains (" + m.conf)
    assert (r["mailbox"], r["form"]) == (os.path.join(m.mail, "joe"),
                                         "maildir")
    put(m, "mail/old", "")
    assert ask(m, "old@here.test")[1]["form"] == "mbox"
    os.symlink("/etc", os.path.join(m.mail, "link"))
    status, r = ask(m, "link@here.test")
    assert (status, r["decision"]) == (75, "wait")
    assert "is a link" in r["why"]


def test_bare_names_are_of_this_host(here):
    m = here(local__domains=["mx.here.test"])
    assert ask(m, "root")[1]["address"] == "root@mx.here.test"
    assert m.tool("route", "a b@x", check=False).returncode == 64


def test_no_such_user(here):
    m = here()
    m.settings["local.users"] = "file:" + put(m, "users", "ann\n")
    m.write_conf()
    assert ask(m, "ann@here.test")[0] == 0
    status, r = ask(m, "bob@here.test")
    assert (status, r["decision"]) == (67, "reject")
    assert r["why"] == "5.1.1 unknown user"
    assert ask(m, "postmaster@here.test")[0] == 0


def test_aliases(here):
    m = here()
    m.settings["local.users"] = "file:" + put(m, "users", "ann\n")
    members = put(m, "list", "\nann\nu@x.test\n")
    aliases = put(m, "aliases", "# first\nroot: admin\nadmin: ann,\n"
                  "  :include:%s\nbad: ann, nosuch\nnull: /dev/null\n"
                  "a: b\nb: a\n" % members)
    m.settings["local.aliases"] = aliases
    m.write_conf()
    status, r = ask(m, "root@here.test")
    assert (status, r["decision"]) == (0, "expand")
    assert [(a["alias"], a["target"], a["file"], a["line"], a["depth"])
            for a in r["aliases"]] == [
        ("root", "admin", aliases, 2, 0), ("admin", "ann", aliases, 3, 1),
        ("admin", "ann", members, 2, 1), ("admin", "u@x.test", members, 3, 1)]
    assert [(t["address"], t["decision"]) for t in r["targets"]] == [
        ("ann", "local"), ("u@x.test", "remote")]
    assert r["targets"][1]["hosts"][0]["name"] == "mx.x.test"
    # one member that is no user bounces, the other is delivered
    status, r = ask(m, "bad@here.test")
    assert status == 67
    assert [t["decision"] for t in r["targets"]] == ["local", "reject"]
    status, r = ask(m, "null@here.test")
    assert (status, r["targets"][0]["mailbox"]) == (0, "/dev/null")
    status, r = ask(m, "a@here.test")
    assert (status, r["decision"]) == (67, "reject")
    assert r["why"] == "5.4.6 alias database loop"
    shown = text(m, "root@here.test")
    assert "  alias      root -> admin (%s:2)\n" % aliases in shown, shown


def test_users_of_the_system(here):
    m = here(local__users="passwd")
    status, r = ask(m, "root@here.test")
    assert (status, r["mailbox"]) == (0, os.path.join(m.mail, "root"))
    assert ask(m, "nosuchuser@here.test")[0] == 67
    m = here(local__users="passwd", local__mail_dir="~/Maildir")
    assert ask(m, "root@here.test")[1]["mailbox"] == "/root/Maildir"


def test_bad_table_is_a_fault_of_the_settings(here):
    m = here()
    m.settings["local.aliases"] = put(m, "aliases", "a: |/bin/x\n")
    m.write_conf()
    done = m.tool("route", "a@here.test", check=False)
    assert done.returncode == 78
    assert b"aliases:1: delivery to a command" in done.stderr


def test_rewriting(here):
    m = here(rewrite__rules=["recipient old@here.test=new@here.test",
                             "sender x@from.test=x@other.test"],
             rewrite__root="admin@x.test",
             send__routes=["@other.test=b.relay.test"])
    status, r = ask(m, "old@here.test")
    assert (status, r["address"], r["decision"]) == (0, "new@here.test",
                                                     "local")
    [rule] = r["rewrites"]
    assert "old@here.test" in rule and "rewrite.rules" in rule, rule
    assert "  rewritten  " in text(m, "old@here.test")
    status, r = ask(m, "root@here.test")
    assert r["aliases"][0]["file"] == "rewrite.root"
    assert r["targets"][0]["address"] == "admin@x.test"
    assert "root -> admin@x.test (rewrite.root)" in text(m, "root@here.test")
    # the route is that of the sender as it leaves
    status, r = ask(m, "u@nomx.test", "--sender", "x@from.test")
    assert r["hosts"][0]["name"] == "b.relay.test"
    assert "x@other.test" in r["rewrites"][0]
    assert ask(m, "u@nomx.test")[1]["rewrites"] == []


# --- forms and exit status ----------------------------------------------------

# What the text has words of its own for.
IN_WORDS = {"decision": {"local": ("delivered here", "discarded"),
                         "expand": ("expanded by aliases",),
                         "remote": ("sent on",), "reject": ("rejected",),
                         "wait": ("waits",)},
            "form": {"maildir": ("Maildir",), "mbox": ("mbox",)}}


def missing(value, shown, key=None):
    """The strings and numbers of the JSON that the text has not."""
    if isinstance(value, dict):
        return [x for k, v in value.items() for x in missing(v, shown, k)]
    if isinstance(value, list):
        return [x for v in value for x in missing(v, shown, key)]
    if value in (None, True, False) or key == "depth":  # an indentation
        return []
    if key == "mailbox" and value == "/dev/null":
        return [] if "discarded" in shown or value in shown else [value]
    words = IN_WORDS.get(key, {}).get(value, (str(value),))
    return [] if any(w in shown for w in words) else [(key, value)]


@pytest.mark.parametrize("address", [
    "u@x.test", "u@nomx.test", "u@null.test", "u@none.test", "u@[192.0.2.9]",
    "u@a.sub.test", "u@y.test", "ann@here.test", "nosuch@here.test",
    "root@here.test", "bad@here.test", "null@here.test", "a@here.test",
    "old@here.test", "bob@relay.test", "postmaster"])
def test_text_has_what_json_has(here, address):
    m = here(send__routes=["y.test=[relay.test]:2525",
                           ".sub.test=lmtp:unix:/run/x"],
             send__tls_policy=["x.test=verify"],
             rewrite__rules=["recipient old@here.test=ann@here.test"])
    m.settings["local.users"] = "file:" + put(m, "users", "ann\n")
    m.settings["local.aliases"] = put(
        m, "aliases", "root: ann, u@x.test\nbad: ann, nosuch\n"
        "null: /dev/null\na: b\nb: a\npostmaster: ann\n")
    m.settings["serve.relay_domains"] = ["relay.test=file:" +
                                         put(m, "rcpts", "ann\n")]
    m.write_conf()
    status, r = ask(m, address)
    done = m.tool("route", address, check=False)
    assert done.returncode == status
    shown = done.stdout.decode()
    assert missing(r, shown) == [], shown
    assert set(r) == {"address", "decision", "setting", "why", "mailbox",
                      "form", "hosts", "tls", "tls_setting", "login", "lmtp",
                      "lane", "pace", "rewrites", "accepted_from", "aliases",
                      "targets"}


@pytest.mark.parametrize("args, text", [
    ([], "ADDRESS"),
    (["a@x.test", "b@x.test"], "b@x.test"),
    (["--nosuch", "a@x.test"], "--nosuch"),
    (["a@x.test", "--sender"], "is not expected here"),  # it took a word
    (["no address"], "no address"),
    (["a@"], "a@"),
])
def test_arguments(here, args, text):
    done = here().tool("route", *args, check=False)
    assert (done.returncode, done.stdout) == (64, b""), done
    assert text in done.stderr.decode(), done.stderr
