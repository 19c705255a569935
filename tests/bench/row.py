"""A row: one thing to measure, on some peers, with what mta must reach.

measure(peer, env) gets a server that has just started and returns a dict of
numbers.  Two kinds of rows: rates (messages per second, CPU, latency) and
values (whatever `shows` names).
"""

import contextlib
import time

ALL = ("mta", "postfix", "exim", "opensmtpd")


class Goal:
    """What mta must reach: the figure `key`, in `unit`, not above or not
    below `limit`.  Keys "x_postfix" and "x_best" are ratios of rates,
    "of_postfix" is one of CPU; with
    `against`, to the rate in that row.  `yard`: what Postfix needed on the
    machine for which the limit was set."""

    def __init__(self, key, sense, limit, unit="", against=None, yard=None):
        self.key, self.sense, self.limit = key, sense, limit
        self.unit, self.against, self.yard = unit, against, yard

    def reached(self, value):
        return value <= self.limit if self.sense == "<=" else \
            value >= self.limit

    def __str__(self):
        sense = {"<=": "≤", ">=": "≥", "==": "="}[self.sense]
        name = {"x_postfix": "× Postfix", "x_best": "× the best peer",
                "x_clear": "× its own CPU in clear",
                "of_postfix": "of Postfix's CPU",
                "over_bare": "µs more CPU than a bare server",
                "over_parts": "µs more CPU than without and the bare "
                "signature"}.get(self.key)
        if self.sense == "==":
            return "%g %s" % (self.limit, self.unit)
        return "%s %g %s" % (sense, self.limit, name or self.unit)


class Row:
    section = mode = name = title = "?"
    who = ALL
    goals = ()
    slow = False    # left out by --quick
    rounds = None   # None: as many as were asked for
    alone = False   # nothing but the peer and the generator: with
                    # surroundings() they could not have a new network
    syncs = False   # count them in a run of their own?
    shows = ()      # (key, what it is, unit, digits) of a row of values
    more = {}       # settings for the peer: see peers.py
    compared = ()   # figures by which two builds of mta are compared
    untuned = ()    # peers also shown with the settings of their package

    @contextlib.contextmanager
    def surroundings(self):
        """Sinks, name servers: what all peers of the row share."""
        yield None

    def measure(self, peer, env, plan):
        raise NotImplementedError


class Plan:
    """How much to send: enough for `seconds`, or as many as was asked;
    where a row has a number of its own, that number `times`."""
    times = 1

    def __init__(self, seconds, messages=None):
        self.seconds, self.messages = seconds, messages

    def count(self, rate, least=100, most=200000):
        if self.messages:
            return self.messages
        return int(min(most, max(least, rate * self.seconds)))


class SamePlan(Plan):
    """As much for all turns of a round as for the first of them, and enough
    to see a difference of a few percent."""
    settled = None
    times = 10

    def new_round(self):
        self.settled = None

    def count(self, *args, **more):
        if self.settled is None:
            self.settled = super().count(*args, **more)
        return self.settled


def quiet(group, least=0.0, most=10.0, share=0.05):
    """Wait until a group uses (almost) no CPU any more, so that what it puts
    off is counted too; returns its CPU time and when it became quiet."""
    start = now = time.monotonic()
    used = group.cpu()
    since = now
    while now - start < most:
        time.sleep(0.05)  # the interval that is measured
        before, when = used, now
        used, now = group.cpu(), time.monotonic()
        if used - before > share * (now - when):
            since = now
        elif now - since >= 0.1 and now - start >= least:
            break
    return used, since
