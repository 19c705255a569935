"""Failures that need several clients at once, by the library of tests/faults;
all that one client at a time comes through is failed by `make faults`."""

import errno
import os
import sys

from harness import ROOT, preloaded, until

sys.path.insert(0, os.path.join(ROOT, "tests", "faults"))

from page import Page  # noqa: E402

SHIM = os.environ.get("FAULTS", os.path.join(ROOT, "build", "faults",
                                             "shim.so"))
DATA = ("EHLO c.test", "MAIL FROM:<a@x.test>", "RCPT TO:<joe@here.test>")


def in_data(m):
    """A client that may send its message now."""
    client = m.raw()
    for line in DATA:
        assert client.say(line)[0] == 250
    assert client.say("DATA")[0] == 354
    return client


def ended(client):
    try:
        return client.reply()[0] == 0
    except ConnectionResetError:
        return True


def test_select_fails_before_a_commit(mta, tmp_path):
    """While another client is in a transaction, a worker waits a moment for
    its message before it commits; then its select() fails.  The worker ends in
    order: nobody was told 250, and the message comes once, when it is sent
    again."""
    page = Page(str(tmp_path / "page"))
    m = mta("serve", {"serve.workers": 1},
            env={**preloaded(SHIM), "MTA_FAULTS": page.path})
    worker = int(until("a worker", lambda: m.events(
        "serve.worker", state="started"))[0]["pid"])
    with in_data(m) as one, in_data(m):
        page.arm(("pid", worker), "select", errno.ENOMEM)
        one.send("Subject: first\r\n\r\nhi\r\n.\r\n")
        assert ended(one)  # not 250: the sync had not been asked for
    page.disarm()
    assert page.hits == 1 and page.counts().get("fdatasync", 0) == 0
    until("the worker has ended by itself", lambda: m.events(
        "serve.worker", state="died", pid=worker, signal=0))
    assert m.mailbox("joe") == []
    with in_data(m) as again:
        again.send("Subject: again\r\n\r\nhi\r\n.\r\n")
        assert again.reply()[0] == 250
    assert [b"Subject: again\n" in t for t in m.mailbox("joe")] == [True]
    assert m.stop() == 0
