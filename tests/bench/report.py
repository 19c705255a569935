"""Tables: one after each row while a run goes on, all of them at the end."""

import os
import statistics

import harness

DOC = os.path.join(harness.ROOT, "docs", "bench.md")
BEGIN, END = "<!-- written by make bench: begin -->", "<!-- end -->"


def values(results, key):
    return [r[key] for r in results if r.get(key) is not None]


def middle(results, key):
    found = values(results, key)
    return statistics.median(found) if found else None


def number(x, digits):
    text = "%.*f" % (digits, x)
    whole, _, rest = text.partition(".")
    sign, whole = ("-", whole[1:]) if whole[0] == "-" else ("", whole)
    groups = []
    while whole:
        groups.insert(0, whole[-3:])
        whole = whole[:-3]
    return sign + ",".join(groups) + ("." + rest if rest else "")


def spread(results, key, digits=0):
    """median (least–most)"""
    found = values(results, key)
    if not found:
        return "–"
    text = number(statistics.median(found), digits)
    if len(found) > 1:
        text += " (%s–%s)" % (number(min(found), digits),
                              number(max(found), digits))
    return text


def best_peer(results, start=""):
    """The results of the fastest peer whose name starts so, whatever its
    settings."""
    peers = [r for name, r in results.items() if name != "mta" and
             name.startswith(start) and middle(r, "rate")]
    return max(peers, key=lambda r: middle(r, "rate"), default=[])


def ratio(ours, theirs, key="rate"):
    """The middle of the rounds' ratios: what was measured side by side is
    compared, for the machine itself is fast and slow by turns."""
    ours, theirs = values(ours, key), values(theirs, key)
    if not ours or not theirs:
        return None
    if len(ours) != len(theirs):
        return statistics.median(ours) / statistics.median(theirs)
    return statistics.median(a / b for a, b in zip(ours, theirs))


class Report:
    def __init__(self, facts, titles, rounds):
        self.facts, self.titles, self.rounds = facts, titles, rounds
        self.rows = []    # (row, {peer: [results of rounds]})
        self.ceilings = []

    def add(self, row, results):
        self.rows.append((row, results))

    def results_of(self, name):
        return next((r for row, r in self.rows if row.name == name), None)

    # --- goals -----------------------------------------------------------

    def figure(self, row, results, goal):
        ours = results.get("mta", [])
        if goal.key == "most_ms":  # one client that hangs is one too many
            return max(values(ours, goal.key), default=None)
        if goal.key == "of_postfix":
            return ratio(ours, best_peer(results, "postfix"), "cpu_us")
        if goal.key not in ("x_postfix", "x_best"):
            return middle(ours, goal.key)
        others = results if goal.against is None else \
            self.results_of(goal.against) or {}
        return ratio(ours, best_peer(others, "postfix" if goal.key == "x_postfix"
                                     else ""))

    def in_postfix(self, results, goal):
        """A limit in microseconds by the yardstick of another machine."""
        share = goal.yard and ratio(results.get("mta", []),
                                    best_peer(results, "postfix"), "cpu_us")
        if not share:
            return ""
        return " (%.1f %% of Postfix's, %.1f %% asked: %s)" % (
            share * 100, goal.limit / goal.yard * 100,
            "reached" if share <= goal.limit / goal.yard
            else "**not reached**")

    def verdict(self, row, results, goal):
        value = self.figure(row, results, goal)
        if value is None:
            return "not measured"
        shown = "%.3g" % value if value < 1000 else "%.0f" % value
        unit = "×" if goal.key[:2] in ("x_", "of") else \
            " " * bool(goal.unit) + goal.unit
        if goal.sense == "==":
            return "%s%s: %s" % (shown, unit, "reached" if value == goal.limit
                                 else "**not reached**")
        if goal.reached(value):
            return "%s%s: reached" % (shown, unit)
        off = abs(value / goal.limit - 1) * 100
        return "%s%s: **not reached**, %.0f %% off%s" % (
            shown, unit, off, self.in_postfix(results, goal))

    def goals_text(self, row):
        return "; ".join(str(g) for g in row.goals) or "–"

    def verdicts(self, row, results):
        if "mta" not in results:
            return "–"
        return "; ".join(self.verdict(row, results, g)
                         for g in row.goals) or "–"

    def title(self, name):
        """Of a key of results: a peer, or a peer ":untuned"."""
        name, _, untuned = name.partition(":")
        return self.titles[name] + ", as packaged" * bool(untuned)

    # --- tables ----------------------------------------------------------

    def rate_lines(self, row, results):
        postfix = best_peer(results, "postfix")
        best = best_peer(results)
        for name, r in results.items():
            shares = ["%.2f" % x if x else "–" for x in
                      (ratio(r, best), ratio(r, postfix))]
            yield [self.title(name), spread(r, "rate"),
                   spread(r, "cpu_us"), spread(r, "p50_ms", 2),
                   spread(r, "p99_ms", 2), spread(r, "most_ms", 0),
                   spread(r, "syncs", 3),
                   spread(r, "sockets")] + shares

    RATE_HEAD = ["server", "per second", "CPU µs each", "p50 ms", "p99 ms",
                 "most ms", "syncs each", "sockets", "× best peer",
                 "× Postfix"]

    def rate_table(self, row, results):
        lines = ["", "**%s** (`%s`)" % (row.title, row.name), ""]
        lines += table(self.RATE_HEAD, self.rate_lines(row, results))
        lines += ["", "To reach: %s. %s." % (self.goals_text(row),
                                            self.verdicts(row, results))]
        return lines

    def value_lines(self, row, results):
        for key, what, unit, digits in row.shows:
            goals = [g for g in row.goals if g.key == key]
            cells = [spread(results.get(p, []), key, digits)
                     for p in self.titles]
            yield ["%s: %s%s" % (row.title, what, ", " + unit if unit else "")]\
                + cells + ["; ".join(map(str, goals)) or "–",
                           "; ".join(self.verdict(row, results, g)
                                     for g in goals) or "–"]

    def value_head(self):
        return ["what"] + list(self.titles.values()) + ["to reach", "verdict"]

    def one(self, row, results):
        """What is printed when a row is done."""
        if row.shows:
            return "\n".join([""] + table(self.value_head(),
                                          self.value_lines(row, results)))
        return "\n".join(self.rate_table(row, results))

    def summary(self):
        head = ["row", "mta", "Postfix", "best peer", "to reach", "verdict"]
        lines = []
        for row, results in self.rows:
            if row.shows:
                continue
            best = middle(best_peer(results), "rate")
            lines.append([row.title, spread(results.get("mta", []), "rate"),
                          spread(results.get("postfix", []), "rate"),
                          number(best, 0) if best else "–",
                          self.goals_text(row), self.verdicts(row, results)])
        return table(head, lines) if lines else []

    def text(self):
        out = ["", "Measured by `make bench`:", ""]
        out += ["- %s: %s" % item for item in self.facts.items()]
        out += ["- %s" % c for c in self.ceilings]
        out += ["", "## What was to be reached", "",
                "Messages (recipients where it says so) per second, median "
                "(least–most) of the rounds.", ""] + self.summary()
        section = None
        for row, results in self.rows:
            if row.section != section:
                section = row.section
                out += ["", "## " + section, ""]
                if row.shows:
                    out += table(self.value_head(), [
                        line for r, res in self.rows
                        if r.section == section and r.shows
                        for line in self.value_lines(r, res)])
            if not row.shows:
                out += self.rate_table(row, results)
        return "\n".join(out) + "\n"

    def write(self):
        with open(DOC) as f:
            text = f.read()
        before, found, rest = text.partition(BEGIN)
        if not found:
            raise SystemExit("bench: no marks in " + DOC)
        after = rest.partition(END)[2]
        with open(DOC, "w") as f:
            f.write(before + BEGIN + "\n" + self.text() + "\n" + END + after)


def table(head, lines):
    return ["| " + " | ".join(head) + " |",
            "|" + "---|" + "--:|" * (len(head) - 1)] + \
        ["| " + " | ".join(cells) + " |" for cells in lines]
