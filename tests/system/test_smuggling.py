"""SMTP smuggling: one message in, one message out, octet for octet, or a
refusal and nothing stored (docs/reliability.md, "Smuggling").

What the server takes is compared with a decoder of the test's own; what the
sender puts on the wire is read by a strict next hop and by the lenient
readers that the published attacks rely on.
"""

import itertools
import os
import random
import re

import pytest

from harness import Mta, until
from wire import (Recorder, as_body, cut_data, decode, ends_seen_by_others,
                  stuff)

BEFORE = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\r", b"\n\n",
          b"\r\n\r", b"\r\n\n", b"\r\n\0", b"\n\0", b"\0\r\n", b"\r\0\n",
          b"\x85", b"\xe2\x80\xa8", b"\x8d\x8a", b"\x0b", b"\x0c"]
DOTS = [b".", b"..", b"\0.", b".\0"]
BEHIND = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\r", b"\n\n",
          b"\0\r\n", b"\r\0\n", b" \r\n", b"\x85", b"\x8d\x8a"]
SPELLINGS = [b"".join(x) for x in itertools.product(BEFORE, DOTS, BEHIND)]
# of The-Login's and Hanno Boeck's lists, by name
NAMED = [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r.\n", b"\n.\r",
         b"\r\n.\r", b"\r.\r", b"\n\n.\r\n", b"\n\n.\n", b"\r\r.\r\n",
         b"\r\n\0.\r\n", b"\r\n..\r\n", b"\r\n.\0\r\n", b"\r\r\n.\r\r\n",
         b"\r\n.\r\r\n", b"\n\r.\n\r"]
SECOND = (b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<%s@far.test>\r\n"
          b"DATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\n")


TRACE = re.compile(rb"Received: from client\.test \(unknown \[127\.0\.0\.1\]\)"
                   rb"\r\n\tby mx\.here\.test with ESMTP id \w+\r\n"
                   rb"\tfor <r\d+@far\.test>;(?:\r\n\t| )[^\r]*\r\n")


class Hop:
    """A server with a recording next hop behind its sender."""

    def __init__(self, mode):
        self.normalize = mode == "normalize"
        self.next = Recorder()
        self.mta = Mta("run", {
            "serve.bare_newline": mode, "serve.max_errors": 1000,
            "send.relay_host": "[127.0.0.1]:%d" % self.next.port})
        self.n = 0

    def seen(self, tag):
        return list(self.next.taken.get(tag, []))

    def close(self):
        self.next.close()
        self.mta.__exit__(None)


@pytest.fixture(scope="module", params=["reject", "normalize"])
def hop(request):
    h = Hop(request.param)
    yield h
    h.close()


def body_of(data):
    """Without our Received field and the end: as the next hop reads it."""
    text, rest = cut_data(data)
    assert rest == b"", rest
    assert ends_seen_by_others(data) == dict.fromkeys(
        ends_seen_by_others(b""), 1), data
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", data), data
    code, text = decode(text)
    assert code == "250", (code, data)
    trace = TRACE.match(text)
    assert trace, text
    return text[trace.end():]


def start(hop):
    """An open transaction of its own recipient: (client, tag)."""
    hop.n += 1
    tag = b"r%d" % hop.n
    c = hop.mta.raw()
    c.send(b"EHLO client.test\r\nMAIL FROM:<a@client.test>\r\n"
           b"RCPT TO:<%s@far.test>\r\nDATA\r\n" % tag)
    assert [c.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
    return c, tag


def answers(rest):
    """Codes for what stands behind the data: commands there are only SECOND,
    QUIT, and nonsense."""
    codes = []
    while rest:
        line, lf, rest = rest.partition(b"\n")
        if not lf:
            break
        word = line[:-1].split(b" ")[0].upper()
        if not line.endswith(b"\r"):
            return codes + [500, 0]
        if b"\0" in line or b"\r" in line[:-1]:
            codes.append(500)
        elif word == b"QUIT":
            return codes + [221]
        elif word == b"DATA":
            codes.append(354)
            data, rest = cut_data(rest)
            codes.append(int(decode(data)[0]))
        else:
            codes.append(250 if word in (b"MAIL", b"RCPT") else 500)
    return codes


def check(hop, streams, pieces=None):
    """Send each stream behind 354 of a session of its own, pieces(number,
    stream) at a time; then see that the answers and what reached the next hop
    are what the reference says."""
    open_ones = [start(hop) for _ in streams]
    for i, ((c, tag), s) in enumerate(zip(open_ones, streams)):
        data = s.replace(b"%s", tag) + b"QUIT\r\n"
        for piece in pieces(i, data) if pieces else [data]:
            c.send(piece)
    want = {}
    for (c, tag), s in zip(open_ones, streams):
        data, rest = cut_data(s.replace(b"%s", tag) + b"QUIT\r\n")
        code, text = decode(data, hop.normalize)
        expect = [int(code)] + answers(rest)
        got = []
        while len(got) < len(expect):
            got.append(c.reply()[0])
        assert got == expect, (s, got, expect)
        c.close()
        want[tag] = [as_body(text)] if code == "250" else []
        if 354 in expect:
            want[tag].append(b"Subject: smuggled\r\n\r\nsmuggled\r\n")
    for tag, texts in want.items():
        until("%d messages for %s" % (len(texts), tag),
              lambda: len(hop.seen(tag)) >= len(texts))
        assert sorted(map(body_of, hop.seen(tag))) == sorted(texts), tag


def with_end(spelling):
    return (b"Subject: one\r\n\r\nbody" + spelling + SECOND)


def batches(things, n):
    return [things[i:i + n] for i in range(0, len(things), n)]


def test_every_spelling(hop):
    for some in batches(NAMED + SPELLINGS, 60):
        check(hop, [with_end(s) for s in some])


def test_spelling_as_the_first_line(hop):
    """Where the data begins there is a line without CRLF before it."""
    for some in batches([b"".join(x) for x in itertools.product(
            [b"", b"\0", b"\r", b"\n"], DOTS, BEHIND)], 60):
        check(hop, [s + b"x\r\n\r\n" + SECOND for s in some])


@pytest.mark.parametrize("spelling", NAMED + [b"\r\n.\r\n"], ids=repr)
def test_split_at_every_position(hop, spelling):
    stream = with_end(spelling)
    at = stream.index(b"body") + 3

    def pieces(i, data):
        if i == 0:
            return [data[k:k + 1] for k in range(len(data))]
        return [data[:at + i], data[at + i:at + i + 1], data[at + i + 1:]]
    check(hop, [stream] * (len(spelling) + 8), pieces)


def test_at_the_borders_of_buffers(hop):
    """Blocks of 4 KiB, the scratch buffer of 64 KiB, a body of 256 KiB that
    moves to the disk, pieces of 8 KiB on the way out."""
    streams = []
    for border in (4096, 8192, 16384, 65536, 262144):
        for near in range(-3, 3):
            for s in (b"\r\n.\r\n", b"\n.\n", b"\r\n..\r\n", b"\r\n\0.\r\n"):
                fill = b"y" * 70 + b"\r\n"
                head = b"Subject: one\r\n\r\n"
                more = fill * (border // 72)
                pad = border + near - len(head + more)
                streams.append(head + more + b"z" * max(pad, 0) + s + SECOND)
    for some in batches(streams, 24):
        check(hop, some)


def test_dots_at_every_border_of_a_piece(hop):
    """Lines of one dot, each begun at another place of the sender's pieces."""
    check(hop, [b"Subject: x\r\n\r\n" + b"p" * pad + b"\r\n" +
                stuff(b".\r\n" * 9000) + b".\r\n" for pad in range(4)])


# --- commands ---------------------------------------------------------------

COMMANDS = [
    (b"RSET\nRSET\r\n", [500, 0]),
    (b"RSET\rRSET\r\n", [500, 250]),
    (b"RSET\r\r\n", [500, 250]),
    (b"RSET\n\r\n", [500, 0]),
    (b"RSET\0\r\n", [500, 250]),
    (b"\0RSET\r\n", [500, 250]),
    (b"\r\n", [500, 250]),
    (b"\n", [500, 0]),
    (b"RSET\xff\r\n", [500, 250]),
    (b"\xef\xbb\xbfRSET\r\n", [500, 250]),
    (b"EHLO a\xff\r\n", [501, 250]),
    (b"EHLO a\x1b[2J\r\n", [501, 250]),
    (b"EHLO a b\r\n", [501, 250]),
    (b"MAIL FROM:<a@client.test>\nRCPT TO:<x@far.test>\r\n", [500, 0]),
    (b"MAIL FROM:<a\rb@client.test>\r\n", [500, 250]),
    (b"MAIL FROM:<\"a\rb\"@client.test>\r\n", [500, 250]),
    (b"MAIL FROM:<\"a\\\rb\"@client.test>\r\n", [500, 250]),
    (b"MAIL FROM:<\"a\x1bb\"@client.test>\r\n", [501, 250]),
    (b"MAIL FROM:<a\0@client.test>\r\n", [500, 250]),
    (b"MAIL FROM:<a\xff@client.test>\r\n", [501, 250]),
    (b"MAIL FROM:<a@client.test> SIZE=1\xff\r\n", [501, 250]),
    (b"MAIL FROM:<a@client.test> BODY=8BIT\rMIME\r\n", [500, 250]),
    (b"MAIL FROM:<a@client.test>\x0bSIZE=1\r\n", [501, 250]),
    (b"DATA\n.\r\n", [500, 0]),
    (b"DATA \r\n", [503, 250]),
]


@pytest.mark.parametrize("line,codes", COMMANDS, ids=[repr(x[0])
                                                      for x in COMMANDS])
def test_commands(hop, line, codes):
    with hop.mta.raw() as c:
        c.send(b"EHLO client.test\r\n" + line + b"RSET\r\n")
        assert [c.reply()[0] for _ in range(len(codes) + 1)] == [250] + codes


def test_long_commands(hop):
    """2048 octets with CRLF are the limit; what is longer is one error, and
    the next command is read."""
    around = [n + d for n in (2048, 4096, 65536) for d in range(-4, 5)]
    for n in around:
        with hop.mta.raw() as c:
            c.send(b"EHLO client.test\r\nRSET".ljust(n + 16) + b"\r\nRSET\r\n")
            c.reply()
            assert [c.reply()[0] for _ in range(2)] == [
                250 if n <= 2048 else 500, 250], n


# --- at random --------------------------------------------------------------

TOKENS = [b"\r\n", b"\r", b"\n", b".", b"\0", b"x", b"\r\n.", b".\r\n",
          b"\r\n.\r", b"\xff", b"..", b" ", b"\r\n\0", b"\x85"]


def at_random(r):
    head = b"Subject: r\r\n\r\n" if r.random() < 0.8 else b""
    if r.random() < 0.15:
        border = r.choice((4096, 8192, 65536))
        head += b"q" * (border - r.randrange(12) - len(head))
    some = r.choices(TOKENS, k=r.randrange(1, 25))
    return head + b"".join(some) + b"\r\n.\r\n"


def in_pieces(r):
    def cut(_, data):
        near = [len(data) - r.randrange(1, min(40, len(data)))
                for _ in range(r.randrange(4))]
        cuts = [0] + sorted(near) + [len(data)]
        return [data[a:b] for a, b in zip(cuts, cuts[1:]) if a < b]
    return cut


def test_at_random(hop):
    """HOSTILE_SEED repeats a run, HOSTILE_CASES makes it longer."""
    seed = int(os.environ.get("HOSTILE_SEED", random.randrange(1 << 32)))
    cases = int(os.environ.get("HOSTILE_CASES", "400"))
    print("HOSTILE_SEED=%d" % seed)
    r = random.Random(seed)
    for _ in range(cases // 50):
        check(hop, [at_random(r) for _ in range(50)], in_pieces(r))
