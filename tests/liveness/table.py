"""Whose fault is it?  The table of docs/send.md once more, written from the
page and not from the program: what a run is judged by.

A deed is what a host did at a step of the dialogue: a code, or "drop",
"silence", "nonsense".  judge() says whose fault it is, which decides whether
the letter in hand has an attempt counted, and what the lane does.
"""

import re

ENVELOPE = ("MAIL", "RCPT")
BEHIND = ("RCPT", "DATA", "DOT", "BDAT")
LETTER = ("MAIL",) + BEHIND
HELLO = ("GREETING", "EHLO", "HELO")
LOST = ("drop", "silence", "nonsense")

MINUTE = 60
SHUT = [MINUTE * x for x in (1, 2, 4, 8, 16, 30)]
PACE = [0, 1, 2, 4, 8, 16, 32, 60]
RETRY_MIN, RETRY_MAX = 5 * MINUTE, 4 * 60 * MINUTE


def shut_for(failures):
    return SHUT[min(failures, len(SHUT)) - 1]


def pause_for(signs):
    """After so many rate codes in a row."""
    return min(MINUTE * 2 ** (signs - 1), 60 * MINUTE)


def pace_for(reconnects):
    """Before the n-th session in a row after one without a delivery."""
    return PACE[min(reconnects, len(PACE)) - 1]


def retry_most(tries):
    """The longest wait after so many attempts and rounds."""
    return 1.25 * min(RETRY_MIN * 2 ** (max(tries, 1) - 1), RETRY_MAX)


class Deed:
    """At a step, to a letter: what the host did, and when."""

    def __init__(self, when, step, what, text=""):
        self.when, self.step, self.what, self.text = when, step, what, text
        self.token = self.rcpt = None
        self.delivered = 0      # letters of this session, before
        self.unanswered = False  # no command of this letter had a reply
        self.some_taken = False  # recipients, in this transaction
        self.chunks_work = False  # a BDAT was accepted by this host before
        self.after = False      # the session was lost before
        self.behind = set()     # letters whose commands were sent behind it

    @property
    def code(self):
        return int(self.what) if self.what.isdigit() else 0

    def is_soft(self):
        return self.code // 100 == 4

    def is_rate(self):
        found = re.match(r"(\d{3})[ -](\d)\.(\d+)\.(\d+)", self.text)
        if not found:
            return False
        code, status = int(found[1]), tuple(map(int, found.groups()[1:]))
        return status in [(4, 7, 28), (4, 3, 2)] or \
            (code, status) == (421, (4, 7, 0)) or \
            (4, 7, 500) <= status < (4, 7, 700)

    def __repr__(self):
        return "%s at %s%s" % (self.text or self.what, self.step,
                               " of " + self.token if self.token else "")


# (steps, what fits, whose, the lane): the first that fits.
ROWS = [
    (("EHLO",), lambda d: d.code // 100 == 5, "nobody", "go on"),  # HELO next
    (HELLO, lambda d: True, "host", "shut"),
    (LETTER, Deed.is_rate, "pace", "pause"),
    (("MAIL",), lambda d: d.delivered and d.is_soft(), "limit", "leave"),
    (("MAIL",), lambda d: d.delivered and d.what == "drop", "limit", "leave"),
    (("MAIL",), lambda d: d.what == "421", "message", "reopen"),
    (("MAIL",), Deed.is_soft, "message", "go on"),
    (("RCPT",), lambda d: d.some_taken and d.what in ("452", "552"),
     "limit", "go on"),
    (("RCPT",), lambda d: d.what == "421", "message", "reopen"),
    (("RCPT",), lambda d: d.is_soft() or d.what == "552",
     "recipient", "go on"),
    (("BDAT",), lambda d: not d.chunks_work and d.some_taken and
     d.what in ("500", "502", "503", "504"), "chunking", "go on"),
    (("BDAT",), lambda d: not d.chunks_work and d.some_taken and
     d.what == "drop", "chunking", "reopen"),
    (BEHIND, lambda d: d.what == "421", "message", "reopen"),
    (LETTER, Deed.is_soft, "message", "go on"),
    (LETTER, lambda d: d.code // 100 == 5, "refused", "go on"),
    (LETTER, lambda d: d.what in LOST, "message", "reopen"),
]
COUNTED = ("message", "recipient", "pace")


def judge(deed):
    """(whose, lane)"""
    for steps, fits, whose, lane in ROWS:
        if deed.step in steps and fits(deed):
            return whose, lane
    raise AssertionError("no row for %r" % deed)


def makes_suspect(deed):
    return judge(deed)[0] == "message" and deed.what in LOST and \
        not (deed.step in ("DOT", "BDAT") and deed.what != "nonsense")
