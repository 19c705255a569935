"""Two builds of mta against each other: pairs, ratios, verdicts.

In each round of a row both builds are measured, one right after the other
with the same number of messages, and the next round begins with the other
one.  Only the two results of a round are divided by each other: a shared
machine is fast and slow by turns, and both of a pair had the same machine.
"""

import collections
import statistics

from report import spread, table

CPU_MOST = 1.05   # of the base's CPU time
RATE_LEAST = 0.93  # of the base's rate; wall time is the noisier one

Ratio = collections.namedtuple("Ratio", "least middle most")


class Figure:
    """One number of a row that is compared.  kind:

    cpu    CPU time, judged by CPU_MOST
    rate   work in a time, judged by RATE_LEAST
    time   the time of one piece of work: its inverse is a rate
    shown  not judged; memory has its limits in `make bench`

    grain: a difference of the medians up to this is below what the
    measurement resolves.  most: of a CPU time, in the place of CPU_MOST."""

    def __init__(self, key, title, kind, digits=0, grain=0, most=CPU_MOST):
        self.key, self.title, self.kind = key, title, kind
        self.digits, self.grain, self.most = digits, grain, most

    def worse(self, base, new):
        """Why a build is slower by its pairs of values; None: it is not."""
        if abs(statistics.median(new) - statistics.median(base)) <= \
                self.grain:
            return None
        middle = ratio(base, new).middle
        if self.kind == "cpu" and middle > self.most:
            return "%s × %.3f, at most %g" % (self.title, middle, self.most)
        if self.kind == "rate" and middle < RATE_LEAST:
            return "%s × %.3f, at least %g" % (self.title, middle, RATE_LEAST)
        if self.kind == "time" and middle > 1 / RATE_LEAST:
            return "%s × %.3f, at most %.3f" % (self.title, middle,
                                                1 / RATE_LEAST)
        return None


RATES = (Figure("cpu_us", "CPU µs each", "cpu", 1),
         Figure("rate", "per second", "rate"))


def ratio(base, new):
    """Of the new build to the base, pair by pair."""
    each = [n / b for b, n in zip(base, new)]
    return Ratio(min(each), statistics.median(each), max(each))


def order(builds, number):
    """Of the turns in a round: the other one first each time."""
    return list(builds) if number % 2 == 0 else list(reversed(builds))


def column(pairs, key):
    """The values of the base and of the new build; pairs without are left
    out, and so is what cannot be divided by."""
    both = [(b[key], n[key]) for b, n in pairs if b and n and b.get(key) and
            n.get(key)]
    return [b for b, _ in both], [n for _, n in both]


def faults(figures, pairs):
    """Why a row fails, a line each; none: the new build is as fast."""
    found = []
    complete = sum(1 for b, n in pairs if b and n)
    if complete < len(pairs) or not pairs:
        found.append("%d of %d pairs measured" % (complete, len(pairs)))
    for f in figures:
        base, new = column(pairs, f.key)
        if not base:
            found.append("%s: not measured" % f.title)
        elif f.worse(base, new):
            found.append(f.worse(base, new))
    return found


def ratio_text(base, new):
    return "%.3f / %.3f / %.3f" % ratio(base, new) if base else "–"


def row_text(row, pairs):
    lines = []
    for f in row.compared:
        base, new = column(pairs, f.key)
        lines.append([f.title] + [
            spread([{"": v} for v in values], "", f.digits)
            for values in (base, new)] + [ratio_text(base, new)])
    why = faults(row.compared, pairs)
    return "\n".join(
        ["", "**%s** (`%s`)" % (row.title, row.name), ""] +
        table(["", "base", "new", "new / base: least / median / most"],
              lines) +
        ["", "%s, %d rounds: %s" % (
            row.name, len(pairs),
            "SLOWER: " + "; ".join(why) if why else "as fast")])
