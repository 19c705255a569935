"""What was sent is what is stored, octet for octet: in the mailbox after our
trace fields (line ends LF), in the queue after Received (line ends CRLF)."""

import random
import re

import pytest

from harness import Mta
from wire import as_body

BLOCK, MEMORY = 4096, 256 * 1024


def lines(n, size=70):
    return b"".join(b"%08d %s\r\n" % (i, b"x" * (size - 11))
                    for i in range(n))


def of_size(n):
    """A header and lines: n octets in wire form, to the last CRLF."""
    text = b"Subject: %d\r\n\r\n" % n + lines(n // 70 + 1)
    text = text[:n - 2].replace(b"\r", b"-").replace(b"\n", b"-")
    text = re.sub(rb"--(?=\d{8} )", b"\r\n", text)
    return b"Subject: " + b"%08d" % n + b"\r\n\r\n" + text[21:] + b"\r\n"


def noise(n, seed):
    """All octets but CR, LF and NUL, in lines of uneven length, many of
    which begin with dots."""
    r = random.Random(seed)
    octets = bytes(b for b in range(1, 256) if b not in b"\r\n")
    out = [b"X-Seed: %d\r\n\r\n" % seed]
    while sum(map(len, out)) < n:
        line = bytes(r.choices(octets, k=r.choice((0, 1, 2, 76, 300, 997))))
        out.append(b"." * r.choice((0, 0, 1, 2)) + line + b"\r\n")
    return b"".join(out)


HEAD = b"Subject: x\r\nFrom: a@client.test\r\n\r\n"
BODIES = {
    "nothing at all": b"",
    "an empty line": b"\r\n",
    "header only": b"Subject: x\r\n",
    "header and blank line": b"Subject: x\r\n\r\n",
    "no header": b"just text, no field\r\nand more\r\n",
    "no header, blank line first": b"\r\ntext\r\n",
    "blank first": b" by evil.test; never\r\nX: y\r\n\r\n",
    "tab first": b"\tfor <evil@here.test>\r\n\r\n",
    "a name of 125 octets": b"X" * 125 + b": y\r\n\r\n",
    "a name of 126 octets": b"X" * 126 + b": y\r\n\r\n",
    "blank before the colon": b"Subject : x\r\n\r\ny\r\n",
    "one octet": b"x\r\n",
    "one dot": b".\r\n",
    "two dots": b"..\r\n",
    "only dots": b"".join(b"." * n + b"\r\n" for n in range(1, 40)),
    "dots in front": HEAD + b".a\r\n..b\r\n...c\r\n. d\r\n",
    "dots behind": HEAD + b"a.\r\nb..\r\n\r\n.\r\n",
    "blank lines at the end": HEAD + b"x" + b"\r\n" * 50,
    "8-bit": HEAD + bytes(range(128, 256)) + b"\r\nGr\xc3\xbc\xc3\x9fe\r\n",
    "8-bit in the header": b"Subject: Gr\xfc\xdfe\r\n\r\nx\r\n",
    "controls": HEAD + bytes(b for b in range(1, 32) if b not in b"\r\n")
    + b"\x7f\r\n",
    "NUL": HEAD + b"a\0b\0\0\r\n\0\r\n",
    "blanks at line ends": HEAD + b"x \r\ny\t\r\n \r\n\t\r\n",
    "From in the text": HEAD + b"From me\r\n>From you\r\nFrom\r\n",
    "998-octet lines": HEAD + (b"x" * 998 + b"\r\n") * 20,
    "998 dots": HEAD + b"." * 998 + b"\r\n",
    "a line of 100000 octets": HEAD + b"y" * 100000 + b"\r\nend\r\n",
    "a line of 300000 dots": HEAD + b"." * 300000 + b"\r\n",
    "a header of 200000 octets": b"X-Long: " + b"z" * 998 + b"\r\n"
    + (b"\t" + b"z" * 996 + b"\r\n") * 200 + b"\r\nx\r\n",
    "all octets": noise(100000, 1),
    "all octets, on disk": noise(900000, 2),
    "short lines, on disk": HEAD + b".\r\n" * 150000,
}
for base in (BLOCK, 2 * BLOCK, MEMORY):
    for near in range(-3, 4):
        BODIES["%d%+d octets" % (base, near)] = of_size(base + near)
# the limit counts our Received field too, of some 120 to 160 octets
for less in range(100, 180, 8):
    BODIES["%d-%d octets" % (MEMORY, less)] = of_size(MEMORY - less)
BIG = 40 * 1000 * 1000


def stuffed(text):
    return re.sub(rb"(?m)^\.", b"..", text)


@pytest.fixture(scope="module")
def server():
    with Mta("serve") as m:
        yield m


def hand_in(m, user, text, piece=None):
    """The answer to the dot; to one local and one remote recipient."""
    data = stuffed(text) + b".\r\n"
    with m.raw() as c:
        c.say("EHLO client.test")
        c.say("MAIL FROM:<a@client.test> BODY=8BITMIME")
        assert c.say("RCPT TO:<%s@here.test>" % user)[0] == 250
        assert c.say("RCPT TO:<%s@far.test>" % user)[0] == 250
        assert c.say("DATA")[0] == 354
        for at in range(0, len(data), piece or len(data)):
            c.send(data[at:at + (piece or len(data))])
        code, words = c.reply()
        assert code == 250, words
        assert c.say("RSET")[0] == 250
    return words[0].split()[-1]


TRACE = (rb"Received: from client\.test \(unknown \[127\.0\.0\.1\]\)\n"
         rb"\tby mx\.here\.test with ESMTP id %s;\n\t[^\n]+\n")


def check(m, user, ident, text):
    text = as_body(text)
    trace = TRACE % ident.encode()
    copies = m.copies(user)
    head = re.match(rb"Return-Path: <a@client\.test>\n"
                    rb"Delivered-To: %s@here\.test\n" % user.encode()
                    + trace, copies[0])
    assert head, copies[0][:400]
    assert copies[0][head.end():] == text.replace(b"\r\n", b"\n")
    wire = m.tool("queue", "cat", ident).stdout
    head = re.match(trace.replace(b"\\n", b"\\r\\n").replace(
        b"[^\\r\\n]", b"[^\\r]"), wire)
    assert head, wire[:400]
    assert wire[head.end():] == text
    return len(wire)


@pytest.mark.parametrize("name", BODIES)
def test_body(server, name):
    text = BODIES[name]
    user = "b%d" % list(BODIES).index(name)
    ident = hand_in(server, user, text)
    size = check(server, user, ident, text)
    listed = [q for q in server.queued() if q["id"] == ident]
    assert [q["size"] for q in listed] == [size]


def test_sizes_are_as_named():
    for n in (BLOCK - 1, BLOCK, MEMORY + 1):
        assert len(of_size(n)) == n


# pieces that part CRLF, the dot of a line, the end
PIECES = [1, 2, 3, 7, 1447, 4096, 16384]


@pytest.mark.parametrize("piece", PIECES)
def test_body_in_pieces(server, piece):
    text = HEAD + b".\r\n..\r\n.x\r\n\r\n" + b"y" * 50 + b"\r\n.\r\n"
    text += noise(piece * 100, piece) if piece > 3 else b""
    user = "piece%d" % piece
    check(server, user, hand_in(server, user, text, piece), text)


def test_body_of_40_mb(server):
    line = bytes(range(160, 256)) * 10 + b"\r\n"
    text = HEAD + line * (BIG // len(line))
    ident = hand_in(server, "big", text, 1 << 20)
    check(server, "big", ident, text)


def test_many_bodies_in_one_session(server):
    """One after the other, small and large, pipelined behind each dot."""
    texts = [of_size(n) for n in (100, MEMORY + 5, 50, BLOCK, 3 * MEMORY, 60)]
    ids = []
    with server.raw() as c:
        c.say("EHLO client.test")
        start = (b"MAIL FROM:<a@client.test>\r\nRCPT TO:<%s@here.test>\r\n"
                 b"RCPT TO:<%s@far.test>\r\nDATA\r\n")
        c.send(start % (b"m0", b"m0"))
        for i, text in enumerate(texts):
            assert [c.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
            user = b"m%d" % (i + 1)
            more = start % (user, user) if i + 1 < len(texts) else b"QUIT\r\n"
            c.send(stuffed(text) + b".\r\n" + more)
            code, words = c.reply()
            assert code == 250
            ids.append(words[0].split()[-1])
        assert c.reply()[0] == 221
    for i, text in enumerate(texts):
        check(server, "m%d" % i, ids[i], text)


def test_interleaved_bodies(server):
    """Twelve sessions in the middle of their bodies at once: nothing of one
    shows up in another."""
    texts = [noise(n, n) for n in (500, 5000, 50000, 300000) * 3]
    open_ones = []
    for i in range(len(texts)):
        c = server.raw()
        c.say("EHLO client.test")
        c.send("MAIL FROM:<a@client.test>\r\nRCPT TO:<il%d@here.test>\r\n"
               "RCPT TO:<il%d@far.test>\r\nDATA\r\n" % (i, i))
        assert [c.reply()[0] for _ in range(4)] == [250, 250, 250, 354]
        open_ones.append(c)
    parts = [stuffed(t) + b".\r\n" for t in texts]
    for step in range(10):
        for c, p in zip(open_ones, parts):
            tenth = len(p) // 10
            c.send(p[step * tenth:(step + 1) * tenth if step < 9 else None])
    for i, c in enumerate(open_ones):
        code, words = c.reply()
        assert code == 250
        check(server, "il%d" % i, words[0].split()[-1], texts[i])
        c.close()
