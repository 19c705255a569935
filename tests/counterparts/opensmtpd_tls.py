#!/usr/bin/python3
"""Mail from OpenSMTPD as Debian packs it to us, over TLS alone.  (As a server
its version 6.8 fails each handshake with OpenSSL 3.)

usage: opensmtpd_tls.py; needs root and tests/bench/unpack.sh.  Exit status 1
if mail did not come, or came in clear."""

import os
import smtplib
import sys

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, d) for d in ("bench", "system")]

import account  # noqa: E402  (the path must be set first)
import harness  # noqa: E402
import place  # noqa: E402
from peer_opensmtpd import OpenSmtpd  # noqa: E402
from peers import NEXT_HOP  # noqa: E402

MANY = 20


def play(m, peer):
    with smtplib.SMTP("127.0.0.1", peer.port, "client.test") as s:
        for n in range(MANY):
            s.sendmail("a@client.test", ["ann@here.test"],
                       b"Subject: n%d\r\n\r\nhi\r\n" % n)
    texts = harness.until("all mail", lambda: len(m.mailbox("ann")) == MANY and
                          m.mailbox("ann"), 60)
    for text in texts:
        ours = text.split(b"Received:")[1]
        assert b"from peer.test" in ours and b"with ESMTPS id" in ours, text
    assert {b"n%d" % n for n in range(MANY)} == {
        t.split(b"Subject: ")[1].split(b"\n")[0] for t in texts}


def main():
    base = os.path.join(harness.ROOT, "build")
    place.enter([os.path.abspath(__file__), *sys.argv[1:]], base)
    account.Group.run = os.path.basename(os.environ[place.TOP])
    here = place.Place(0)
    cert, key = here.certificate()
    with harness.Mta("run", {"serve.tls_cert": [cert], "serve.tls_key": [key],
                             "serve.extra_commands": ["STARTTLS"]},
                     start=False) as m:
        m.settings["serve.listen"].append("%s:25" % NEXT_HOP)
        m.write_conf()
        m.start()
        with OpenSmtpd(here, "relay", send_tls=True) as peer:
            play(m, peer)
    print("all came over TLS")
    return 0


if __name__ == "__main__":
    sys.exit(main())
