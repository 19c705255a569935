"""The server's dialogue: every command, its codes, its limits (R2, R12)."""

import socket
import time

import pytest

from harness import DEADLINE, until


def code_of(reply):
    return reply[0], reply[1][0].split(" ")[0]


# what is said after EHLO; the code and enhanced code of the answer
ONE_LINERS = [
    ("RSET", 250, "2.0.0"),
    ("QUIT", 221, "2.0.0"),
    ("quit", 221, "2.0.0"),
    ("VRFY user", 502, "5.5.1"),
    ("VERIFY user", 502, "5.5.1"),
    ("NOOP", 502, "5.5.1"),
    ("HELP", 502, "5.5.1"),
    ("EXPN list", 502, "5.5.1"),
    ("STARTTLS", 502, "5.5.1"),
    ("AUTH PLAIN", 502, "5.5.1"),
    ("BDAT 3 LAST", 502, "5.5.1"),
    ("FROB", 500, "5.5.1"),
    ("", 500, "5.5.1"),
    ("DATA", 503, "5.5.1"),
    ("RCPT TO:<user@here.test>", 503, "5.5.1"),
    ("MAIL FROM:<a@client.test>", 250, "2.1.0"),
    ("MAIL FROM:<>", 250, "2.1.0"),
    ("mail from: <a@client.test>", 250, "2.1.0"),
    ("MAIL FROM:a@client.test", 250, "2.1.0"),  # of a relay network
    ("MAIL FROM:a@client.test>", 501, "5.5.4"),
    ("MAIL FROM:<a b@client.test>", 501, "5.1.7"),
    ("MAIL", 501, "5.5.4"),
    ("MAIL TO:<a@client.test>", 501, "5.5.4"),
    ("MAIL FROM:<a@client.test> SIZE=1000", 250, "2.1.0"),
    ("MAIL FROM:<a@client.test> SIZE=99999999999", 552, "5.3.4"),
    ("MAIL FROM:<a@client.test> SIZE=x", 501, "5.5.4"),
    ("MAIL FROM:<a@client.test> BODY=8BITMIME", 250, "2.1.0"),
    ("MAIL FROM:<a@client.test> BODY=BINARYMIME", 501, "5.5.4"),
    ("MAIL FROM:<a@client.test> FROB=1", 555, "5.5.4"),
    ("MAIL FROM:<a@client.test> SIZE=1 SIZE=1", 501, "5.5.4"),
    ("MAIL FROM:<a@client.test> BODY=7BIT body=8BITMIME", 501, "5.5.4"),
    ("MAIL FROM:<@a.test,@b.test:joe@client.test>", 250, "2.1.0"),
    ("MAIL FROM:<%s@client.test>" % ("x" * 242), 250, "2.1.0"),
    ("MAIL FROM:<%s@client.test>" % ("x" * 243), 501, "5.1.7"),
    ("EHLO again.test", 250, None),
    ("HELO again.test", 250, None),
    ("EHLO", 501, "5.5.4"),
    ("EHLO [127.0.0.1]", 250, None),
    ("EHLO [1.2.3", 501, "5.5.4"),
    ("EHLO []", 501, "5.5.4"),
    ("HELO [IPv6:zz]", 501, "5.5.4"),
    ("EHLO <script>", 501, "5.5.4"),
    ("HELO `id`", 501, "5.5.4"),
    ("EHLO my_host-", 250, None),
    ("NO\0OP", 500, "5.5.2"),
    ("RS\rET", 500, "5.5.2"),
    ("X" * 3000, 500, "5.5.2"),
]


@pytest.fixture(scope="module")
def server():
    from harness import Mta
    with Mta("serve", {"serve.max_errors": 1000,
                       "serve.relay_networks": ["127.0.0.1/32"]}) as m:
        yield m


@pytest.mark.parametrize("line,code,enhanced", ONE_LINERS,
                         ids=[repr(x[0])[:40] for x in ONE_LINERS])
def test_one_line(server, line, code, enhanced):
    with server.raw() as c:
        assert c.say("EHLO client.test")[0] == 250
        got = c.say(line)
        assert got[0] == code, got
        if enhanced:
            assert got[1][0].split(" ")[0] == enhanced, got
        if code not in (221,):  # the session goes on
            assert c.say("RSET")[0] == 250


# RCPT after MAIL FROM:<a@client.test>
RECIPIENTS = [
    ("<user@here.test>", 250, "2.1.5"),
    ("<user@HERE.TEST>", 250, "2.1.5"),
    ("<user+tag@here.test>", 250, "2.1.5"),
    ("<\"user\"@here.test>", 250, "2.1.5"),
    ("<@relay.test:user@here.test>", 250, "2.1.5"),
    ("<postmaster>", 250, "2.1.5"),
    ("<PostMaster@here.test>", 250, "2.1.5"),
    ("<user@[127.0.0.1]>", 250, "2.1.5"),
    ("<someone@elsewhere.test>", 250, "2.1.5"),
    ("someone@elsewhere.test", 250, "2.1.5"),
    ("<%s@elsewhere.test>" % ("x" * 239), 250, "2.1.5"),
    ("<%s@elsewhere.test>" % ("x" * 240), 501, "5.1.3"),
    ("<user+%s@here.test>" % ("x" * 100), 250, "2.1.5"),
    ("<%s@here.test>" % ("x" * 65), 550, "5.1.1"),
    ("<user>", 501, "5.1.3"),
    ("<>", 501, "5.1.3"),
    ("<user@>", 501, "5.1.3"),
    ("<user@-bad-.test>", 501, "5.1.3"),
    ("<..x@here.test>", 501, "5.1.3"),
    ("<\"../../etc/x\"@here.test>", 550, "5.1.1"),
    ("<user@here.test> NOTIFY=NEVER", 250, "2.1.5"),
    ("<user@here.test> MT-PRIORITY=3", 555, "5.5.4"),
]


@pytest.mark.parametrize("path,code,enhanced", RECIPIENTS,
                         ids=[x[0] for x in RECIPIENTS])
def test_recipient(server, path, code, enhanced):
    with server.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        assert code_of(c.say("RCPT TO:" + path)) == (code, enhanced)


def test_ehlo_lists_what_is_offered(server):
    with server.raw() as c:
        words = [x.split()[0] for x in c.say("EHLO client.test")[1][1:]]
    assert {"PIPELINING", "SIZE", "8BITMIME",
            "ENHANCEDSTATUSCODES"} <= set(words)
    assert not {"VRFY", "STARTTLS", "CHUNKING", "AUTH"} & set(words)


def test_mail_needs_a_greeting(server):
    with server.raw() as c:
        assert c.say("MAIL FROM:<a@client.test>")[0] == 503


def test_nested_mail_is_refused(server):
    with server.raw() as c:
        c.say("EHLO client.test")
        assert c.say("MAIL FROM:<a@client.test>")[0] == 250
        assert c.say("MAIL FROM:<b@client.test>")[0] == 503


def test_data_without_a_valid_recipient(server):
    with server.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        assert c.say("DATA")[0] == 503
        assert c.say("RCPT TO:<\"../x\"@here.test>")[0] == 550
        assert code_of(c.say("DATA")) == (554, "5.5.1")


def test_paths_need_brackets_outside_relay_networks(mta):
    m = mta("serve", {"serve.relay_networks": ["192.0.2.0/24"]})
    with m.raw() as c:
        c.say("EHLO client.test")
        assert code_of(c.say("MAIL FROM:a@client.test")) == (501, "5.5.4")
        assert c.say("MAIL FROM:<a@client.test>")[0] == 250
        assert code_of(c.say("RCPT TO:user@here.test")) == (501, "5.5.4")
        assert c.say("RCPT TO:<user@here.test>")[0] == 250


@pytest.mark.parametrize("ours", ["b\u00fccher.test", "xn--bcher-kva.test"])
def test_both_spellings_of_a_domain_are_ours(mta, ours):
    """A U-label and its A-label (RFC 5890 2.3.2.1) name one domain."""
    m = mta("serve", {"serve.relay_networks": ["192.0.2.0/24"],
                      "local.domains": [ours]})
    with m.raw() as c:
        c.say("EHLO client.test")
        assert c.say("MAIL FROM:<a@client.test> SMTPUTF8")[0] == 250
        for domain in ("b\u00fccher.test", "B\u00dcCHER.test",
                       "xn--bcher-kva.test"):
            got = c.say("RCPT TO:<user@%s>" % domain)
            assert code_of(got) == (250, "2.1.5"), (domain, got)
        assert code_of(c.say("RCPT TO:<user@bucher.test>")) == (550, "5.7.1")


def test_relay_only_for_relay_networks(mta):
    m = mta("serve", {"serve.relay_networks": ["192.0.2.0/24"]})
    with m.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        assert code_of(c.say("RCPT TO:<x@elsewhere.test>")) == (550, "5.7.1")
        assert c.say("RCPT TO:<x@here.test>")[0] == 250


def test_ehlo_resets_the_transaction(server):
    with server.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        c.say("RCPT TO:<user@here.test>")
        c.say("EHLO client.test")
        assert c.say("DATA")[0] == 503


@pytest.mark.memory
def test_pipelined_transaction(server):
    with server.raw() as c:
        c.say("EHLO client.test")
        c.send("MAIL FROM:<a@client.test>\r\nRCPT TO:<p@here.test>\r\n"
               "RCPT TO:<x y@here.test>\r\nDATA\r\n")
        assert [c.reply()[0] for _ in range(4)] == [250, 250, 501, 354]
        c.send("Subject: p\r\n\r\nbody\r\n.\r\nMAIL FROM:<b@client.test>\r\n"
               "RCPT TO:<p@here.test>\r\nDATA\r\n")
        assert [c.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
        c.send("Subject: q\r\n\r\nbody\r\n.\r\nQUIT\r\n")
        assert [c.reply()[0] for _ in range(2)] == [250, 221]
    server.copies("p", 2)


@pytest.mark.parametrize("before", ["", "RSET\r\n", "NOOP\r\n" * 3])
@pytest.mark.parametrize("behind", ["", "x", "RSET\r\n", "QUIT\r\n",
                                    "RSET\r\n" * 20000],
                         ids=["nothing", "x", "RSET", "QUIT", "20000 RSET"])
def test_quit_with_more_behind_it(server, before, behind):
    """221 arrives, and then the end: no reset takes it away."""
    with server.raw() as c:
        c.say("EHLO client.test")
        c.send(before + "QUIT\r\n" + behind)
        codes = [c.reply()[0] for _ in range(before.count("\n") + 2)]
        assert codes[-2:] == [221, 0]


def test_bare_lf_command_ends_the_session(server):
    with server.raw() as c:
        c.say("EHLO client.test")
        c.send("RSET\nMAIL FROM:<a@client.test>\r\n")
        assert code_of(c.reply()) == (500, "5.5.2")
        assert c.reply()[0] == 0


@pytest.mark.parametrize("tail", ["", "\r", "x\r\ny"])
def test_bare_lf_behind_an_endless_line_too(server, tail):
    """What is too long to be a command is still not ended by a lone LF."""
    with server.raw() as c:
        c.say("EHLO client.test")
        c.send("X" * 70000 + tail + "\nRSET\r\n")
        if tail == "\r":  # that was CRLF
            assert code_of(c.reply()) == (500, "5.5.2")
            assert c.reply()[0] == 250
        else:
            codes = [c.reply()[0] for _ in range(tail.count("\n") + 2)]
            assert codes == [500] * (tail.count("\n") + 1) + [0]


def test_browser_is_sent_away(server):
    """A page can make it post to us; its form holds commands."""
    with server.raw() as c:
        c.send("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n"
               "EHLO x\r\nMAIL FROM:<a@client.test>\r\n")
        assert code_of(c.reply()) == (500, "5.5.1")
        assert c.reply()[0] == 0


def test_guessing_addresses_has_an_end(mta):
    """A stranger's refusals are counted until a message is accepted; those
    that mean 'later' hardly count."""
    m = mta("serve", {"serve.relay_networks": ["192.0.2.0/24"],
                      "serve.max_recipients": 5})
    with m.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        for _ in range(60):
            assert c.say("RCPT TO:<x@elsewhere.test>")[0] == 550
        for i in range(200):
            assert c.say("RCPT TO:<u@here.test>")[0] in (250, 452)
        c.say("DATA")
        assert c.say("Subject: x\r\n\r\nx\r\n.")[0] == 250
        c.say("MAIL FROM:<a@client.test>")
        for i in range(99):
            assert c.say("RCPT TO:<x@elsewhere.test>")[0] == 550
        assert c.say("DATA")[0] == 554
        assert code_of(c.reply()) == (421, "4.7.0")
        assert c.reply()[0] == 0


@pytest.mark.memory
def test_too_many_errors(mta):
    m = mta("serve", {"serve.max_errors": 3})
    with m.raw() as c:
        c.say("EHLO client.test")
        assert [c.say("FROB")[0] for _ in range(2)] == [500, 500]
        assert c.say("FROB")[0] == 500
        assert code_of(c.reply()) == (421, "4.7.0")
        assert c.reply()[0] == 0


def test_too_many_recipients(mta):
    m = mta("serve", {"serve.max_recipients": 3})
    with m.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        got = [c.say("RCPT TO:<u%d@here.test>" % i) for i in range(4)]
        assert [g[0] for g in got] == [250, 250, 250, 452]
        assert got[3][1][0].startswith("4.5.3")


def test_message_too_big(mta):
    m = mta("serve", {"serve.max_message_size": "10K"})
    with m.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        c.say("RCPT TO:<user@here.test>")
        c.say("DATA")
        c.send("x" * 70 + "\r\n")
        for _ in range(200):
            c.send("x" * 70 + "\r\n")
        assert code_of(c.say(".")) == (552, "5.3.4")
        c.say("MAIL FROM:<a@client.test>")
        c.say("RCPT TO:<user@here.test>")
        c.say("DATA")
        assert c.say("small\r\n.")[0] == 250


def test_silent_client_is_dropped(mta):
    m = mta("serve", {"serve.command_timeout": "1s"})
    with m.raw() as c:
        assert code_of(c.reply()) == (421, "4.4.2")
        assert c.reply()[0] == 0


def test_silent_body_is_dropped(mta):
    m = mta("serve", {"serve.data_timeout": "1s"})
    with m.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        c.say("RCPT TO:<user@here.test>")
        c.say("DATA")
        c.send("half a line")
        assert code_of(c.reply()) == (421, "4.4.2")
    assert m.copies("user", 0) == []


def test_session_has_an_end(mta):
    m = mta("serve", {"serve.session_timeout": "2s"})
    end = time.monotonic() + DEADLINE
    with m.raw() as c:
        c.say("EHLO client.test")
        while time.monotonic() < end:
            got = c.say("RSET")
            if got[0] != 250:
                break
    assert got[0] in (421, 0)


def test_extra_commands(mta):
    m = mta("serve", {"serve.extra_commands": ["NOOP", "HELP"]})
    with m.raw() as c:
        assert c.say("NOOP")[0] == 250
        assert c.say("HELP") == (
            214, ["2.0.0 HELO EHLO MAIL RCPT DATA RSET QUIT HELP NOOP"])


SMUGGLED = ["\n.\n", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r",
            "\r\n.\r\r\n", "\r\n\x00.\r\n"]


@pytest.mark.parametrize("end", SMUGGLED, ids=[repr(e) for e in SMUGGLED])
def test_only_crlf_dot_crlf_ends_a_message(server, end):
    before = len(server.mailbox("victim"))
    with server.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        c.say("RCPT TO:<victim@here.test>")
        c.say("DATA")
        c.send("Subject: one\r\n\r\nbody" + end +
               "MAIL FROM:<b@client.test>\r\nRCPT TO:<victim@here.test>\r\n"
               "DATA\r\nSubject: two\r\n\r\nsmuggled\r\n.\r\n")
        got = c.reply()
        assert c.say("RSET")[0] == 250  # exactly one answer came
    assert code_of(got) == (550, "5.6.0" if "\x00" in end else "5.5.2")
    assert len(server.settle().mailbox("victim")) == before


def test_bare_newlines_normalized_for_relay_networks(mta):
    m = mta("serve", {"serve.bare_newline": "normalize"})
    with m.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test>")
        c.say("RCPT TO:<user@here.test>")
        c.say("DATA")
        c.send("Subject: x\n\none\n.\ntwo\rthree\r\n.\r\n")
        assert c.reply()[0] == 250
    assert m.copies("user")[0].endswith(
        b"Subject: x\n\none\n.\ntwo\nthree\n")


def test_client_limit_per_address(mta):
    m = mta("serve", {"serve.max_clients_per_ip": 3,
                      "serve.relay_networks": ["192.0.2.0/24"],
                      "serve.workers": 2})

    def three_only():
        held = []
        try:
            for _ in range(3):
                held.append(m.raw(greet=False))
                if held[-1].reply()[0] != 220:
                    return False
            c = m.raw(greet=False)
            held.append(c)
            return c.reply()[0] == 421
        finally:
            for h in held:
                h.close()
    until("the fourth client is refused", three_only)


def test_full_house_says_421(mta):
    m = mta("serve", {"serve.workers": 1, "serve.max_clients": 2})

    def third_refused():
        held = [m.raw(greet=False) for _ in range(3)]
        codes = [h.reply()[0] for h in held]
        for h in held:
            h.close()
        return codes == [220, 220, 421]
    until("the third client is refused", third_refused)


def test_half_close_still_gets_its_answers(server):
    with server.raw() as c:
        c.send("EHLO client.test\r\nMAIL FROM:<a@client.test>\r\n")
        c.sock.shutdown(socket.SHUT_WR)
        assert c.reply()[0] == 250
        assert c.reply()[0] == 250


def test_byte_at_a_time(server):
    with server.raw() as c:
        for byte in ("EHLO client.test\r\nMAIL FROM:<a@client.test>\r\n"
                     "RCPT TO:<slow@here.test>\r\nDATA\r\n"):
            c.send(byte)
        assert [c.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
        for byte in "Subject: slow\r\n\r\n..\r\nend\r\n.\r\nQUIT\r\n":
            c.send(byte)
        assert [c.reply()[0] for _ in range(2)] == [250, 221]
    assert server.copies("slow")[0].endswith(b"\n\n.\nend\n")


@pytest.mark.memory
def test_disconnect_in_every_state_leaves_nothing(server):
    steps = ["EHLO client.test\r\n", "MAIL FROM:<a@client.test>\r\n",
             "RCPT TO:<gone@here.test>\r\n", "DATA\r\n", "half a mess"]
    for n in range(len(steps) + 1):
        with server.raw() as c:
            c.send("".join(steps[:n]))
    with server.raw() as c:
        assert c.say("EHLO client.test")[0] == 250
    assert server.copies("gone", 0) == []
