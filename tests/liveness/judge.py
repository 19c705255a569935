"""The verdicts, from the records of hosts and name server, the log, the queue
and the mailboxes that notices go to."""

import calendar
import collections
import glob
import os
import re
import time

import habits
import table
from hosts import blames

VERDICTS = {
    "in time": "mail is delivered within 10 s of its arrival, or of the first"
               " moment that the table allows",
    "opens": "a lane opens no later than the table says",
    "paced": "a host that fails is not asked earlier than the table says",
    "offered": "an attempt was an offer, a round was a shut host",
    "returned": "only what a peer refused for good is returned, once",
    "doubled": "nothing arrives twice but after a kill or a reply not sent",
    "one socket": "never two sockets to one host",
    "learned": "a limit is met once, then known",
    "one line": "a shut host costs the log one line a round",
    "rests": "the program rests when there is nothing to do",
    "alone": "a suspect comes last and alone",
}
EARLY = 0.5          # seconds that roundings and a slow test may make
BEHIND_KILL = 2      # a host may not know yet that nobody reads its reply
BEFORE_KILL = 5      # what was taken then may come twice
CONNECT = 30         # what a connection may take
LEARNED = 2          # sessions: a refusal may be the message's
REFUSALS = ("send.unreachable", "send.shut")


def seconds(text):
    """Of an RFC 3339 time."""
    head, _, tail = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(head, "%Y-%m-%dT%H:%M:%S")) + \
        float("0." + (tail or "0"))


def tries(event):
    """Attempts and rounds so far; both make the next wait longer."""
    return int(event["attempts"]) + int(event["rounds"])


class Contact:
    """A session, or a connection that did not come about, and what the lane
    may do next: not before `earliest` and not after `latest`."""

    def __init__(self, start, end, visit=None):
        self.start, self.end, self.visit = start, end, visit
        self.earliest = self.latest = end
        self.why = ""
        self.paced = False  # a kill does not end that


class Lane:
    """What the table makes of the contacts of a host."""

    def __init__(self, host, contacts, kills):
        self.host, self.contacts, self.kills = host, contacts, kills
        self.signs = 0
        self.forget()
        last = None
        for c in contacts:
            if last and self.killed(last.start, c.start):
                self.forget()
            self.follow(c)
            last = c

    def killed(self, a, b):
        return any(a <= k <= b for k in self.kills)

    def forget(self):
        self.failures = self.reconnects = 0
        self.lost, self.refused = set(), None

    def success(self):
        self.failures = self.reconnects = 0
        self.lost, self.refused = set(), None

    def follow(self, c):
        fault = c.visit is None
        lost = twice = paced = False
        delivered = 0
        for d in c.visit.deeds if c.visit else ():
            if d.delivered > delivered:
                delivered = d.delivered
                self.success()
                lost = False
            whose, lane = table.judge(d)
            fault |= lane == "shut"
            paced |= lane == "pause"
            if whose == "message" and d.step == "MAIL" and d.code:
                twice |= self.refused not in (None, d.token)
                self.refused = d.token
            if lane == "reopen":
                lost = True
                if whose != "chunking" and not d.after:
                    self.lost.add(d.token)
        if c.visit and c.visit.delivered > delivered:
            self.success()
            lost = False
        self.decide(c, fault, lost, twice, paced)

    def decide(self, c, fault, lost, twice, paced):
        three, trial = len(self.lost) >= 3, self.failures > 0
        answered = c.visit and c.visit.answered
        if fault or three or twice or (lost and trial):
            self.failures += 1
            wait = table.shut_for(self.failures)
            c.why = "shut %d" % self.failures
            c.earliest = c.latest = c.end + wait
            self.reconnects, self.lost, self.refused = 0, set(), None
        elif paced:
            self.signs += 1  # in a row, if no good minute lies between
            c.why, c.paced = "pause" if self.signs == 1 else "shut", True
            c.earliest = c.end + table.MINUTE
            c.latest = c.end + table.pause_for(self.signs)
        elif lost:
            self.reconnects += 1
            c.why = "reconnect %d" % self.reconnects
            c.earliest = c.latest = c.end + table.pace_for(self.reconnects)
        elif answered:
            self.failures = 0

    def before(self, when):
        """When the lane may be open at the latest, by all that ended before
        then."""
        return max((c.latest for c in self.contacts
                    if c.end < when and (c.paced or
                                         not self.killed(c.start, when))),
                   default=0)

    def signs_before(self, when):
        return sum(c.paced and c.end < when for c in self.contacts)


class Judge:
    def __init__(self, run):
        self.run = run
        self.failed = collections.defaultdict(list)
        self.undecided = self.judged = 0
        self.slowest = 0
        self.limit = 10 * run.factor
        self.read_log()
        self.read_notices()

    def fail(self, verdict, text, *args):
        self.failed[verdict].append(text % args)

    # --- what there is to judge by ---

    def read_log(self):
        self.lines = collections.defaultdict(list)  # of recipients
        self.refused = collections.defaultdict(list)  # of addresses
        for e in self.run.m.events():
            e["at"] = seconds(e["time"])
            if e["event"] in ("send.deferred", "send.delivered",
                              "send.bounced"):
                self.lines[e["to"]].append(e)
            elif e["event"] in REFUSALS:
                self.refused[e.get("address")].append(
                    (e["at"], e.get("error", "")))

    def read_notices(self):
        """Failure notices, by the recipient that they are about."""
        self.notices = collections.Counter()
        for path in glob.glob(os.path.join(self.run.m.mail, "*", "new", "*")):
            with open(path, errors="replace") as f:
                text = f.read()
            for part in re.split(r"\n\s*\n", text):
                to = re.search(r"^Final-Recipient: rfc822; ?(\S+)", part,
                               re.M | re.I)
                if to and re.search(r"^Action: failed", part, re.M | re.I):
                    self.notices[to[1]] += 1

    def contacts_of(self, host):
        found = [Contact(v.start, v.end, v) for v in host.visits
                 if v.end is not None]
        for t, why in self.refused[host.key()]:
            if not any(abs(t - v.end) < 1 for v in host.visits
                       if v.end is not None):
                found.append(Contact(t - CONNECT * ("timed out" in why), t))
        return sorted(found, key=lambda c: c.start)

    def killed(self, a, b):
        return any(a <= k <= b for k in self.run.kills)

    # --- the whole run ---

    def judge(self):
        self.lanes = {h: Lane(h, self.contacts_of(h), self.run.kills)
                      for p in self.run.places for h in p.hosts}
        self.arrived = collections.defaultdict(list)  # of recipients
        for h in self.lanes:
            for t, _, rcpt, sure in h.taken:
                self.arrived[rcpt].append((t, sure))
        for letter in self.run.letters:
            for rcpt in letter.rcpts:
                self.recipient(letter, rcpt)
        for h, lane in self.lanes.items():
            self.lane(h, lane)
        for when, queue in self.run.samples:
            self.sample(when, queue)
        if not self.run.rested:
            busy = sorted(self.lanes, key=lambda h: -len(h.visits))[:3]
            self.fail("rests", "only %.0f s passed, with %d waits; most"
                      " visits: %s", self.run.since(self.run.end),
                      self.run.waited, "; ".join(
                          "%d %r" % (len(h.visits), h.habit) for h in busy))
        return self

    def place(self, rcpt):
        return self.run.place(rcpt)

    def recipient(self, letter, rcpt):
        place, got = self.place(rcpt), self.arrived[rcpt]
        never = [d for h in place.hosts for d in h.deeds
                 if d.token == letter.token and d.rcpt in (None, rcpt) and
                 table.judge(d)[0] == "refused"]
        self.attempts(letter, rcpt, place)
        self.returned(rcpt, never)
        self.doubled(rcpt, got)
        if not never:
            self.in_time(letter, rcpt, place, got[0][0] if got else None)

    def in_time(self, letter, rcpt, place, came):
        at = came if came is not None else self.run.end
        ready, why = self.ready(letter, rcpt, place, at)
        late = at - ready - letter.slack - place.slack
        if came is None and late <= self.limit:
            self.undecided += 1
            return
        self.judged += 1
        self.slowest = max(self.slowest, late)
        if late > self.limit:
            self.fail("in time", "%s, arrival +%.1f, %s at +%.1f, which is"
                      " %.1f s after %s (%s)", rcpt, self.run.since(
                          letter.arrival), "delivered" if came is not None
                      else "still queued", self.run.since(at), late, why,
                      place)

    def ready(self, letter, rcpt, place, at):
        """Since when it should have been on its way, and why not before."""
        found = self.own_ready(letter, rcpt, place, at)
        if len(place.hosts) == 1:
            lane = self.lanes[place.hosts[0]]
            opens = lane.before(at)
            if lane.signs_before(at):  # a letter a minute is the least
                opens += table.MINUTE * self.in_line(place, letter, opens)
            found.append((opens, "the opening of the lane"))
        if place.dns != "ok":
            answered = [t for t in place.zone.answered if t <= at]
            if isinstance(place.dns, float) and answered:
                found.append((answered[-1], "the answer of the DNS"))
        return max(found)

    def in_line(self, place, letter, when):
        """Letters that may have been before that one when the lane opened."""
        return sum(x.arrival <= max(when, letter.arrival) and any(
            self.place(r) is place and not any(
                t < when for t, _ in self.arrived[r]) for r in x.rcpts)
                   for x in self.run.letters)

    def own_ready(self, letter, rcpt, place, at):
        found = [(letter.arrival, "its arrival")]
        for k, queue in self.run.at_kill:
            if letter.arrival <= k < at:
                found.append((max(k, queue.get(rcpt, 0)) + 2,
                              "the restart of the sender"))
        return found + list(self.own_wait(rcpt, place, at))

    def own_wait(self, rcpt, place, at):
        """After attempts, and after rounds for want of a name server."""
        lines = self.deferred(rcpt, at)
        for e in lines:
            if "sid" in e:
                most = table.retry_most(tries(e))
                due = seconds(e["next"])
                if due > e["at"] + most + 1:
                    self.fail("in time", "%s waits %.0f s after try %d, at"
                              " most %.0f", rcpt, due - e["at"], tries(e),
                              most)
                yield due, "its own next attempt"
        if place.dns in ("servfail", "silent"):
            # a line may stand for others
            lines = lines or [e for r in self.run.by_rcpt
                              if self.place(r) is place
                              for e in self.deferred(r, at)]
            for e in lines:
                yield (e["at"] + table.retry_most(tries(e)),
                       "its own next look-up")

    def deferred(self, rcpt, before):
        return [e for e in self.lines[rcpt] if e["event"] == "send.deferred"
                and e["at"] <= before - 0.001]

    def attempts(self, letter, rcpt, place):
        counted = [e for e in self.lines[rcpt]
                   if e["event"] == "send.deferred" and "sid" in e]
        offered = sum(blames(h, letter.token, rcpt, self.run.end)
                      for h in place.hosts)
        for e in self.lines[rcpt]:
            if int(e["attempts"]) > offered + (e["event"] != "send.deferred"):
                self.fail("offered", "%s: attempts=%s at +%.1f, its hosts"
                          " blame it for %d (%s)", rcpt, e["attempts"],
                          self.run.since(e["at"]), offered, place)
        if len(counted) > offered:
            self.fail("offered", "%s: %d attempts in the log, its hosts blame"
                      " it for %d: %s (%s)", rcpt, len(counted), offered,
                      "; ".join("+%.1f %s" % (self.run.since(e["at"]),
                                              e["reply"])
                                for e in counted), place)
        for e in self.deferred(rcpt, self.run.end):
            if self.may_defer(place) and (e in counted or place.dns != "ok" or
                                          self.was_shut(place, e["at"])):
                continue
            self.fail("offered", "%s: put off at +%.1f, %r, though a host"
                      " could be asked (%s)", rcpt, self.run.since(e["at"]),
                      e["reply"], place)

    def may_defer(self, place):
        """One good host, or a name server that is only slow: never."""
        return not isinstance(place.dns, float) and not (
            len(place.hosts) > 1 and
            any(type(h.habit) is habits.Good for h in place.hosts))

    def was_shut(self, place, when):
        """Was there, by then, a time when none of its hosts could be asked?"""
        return all(any(c.why.startswith("shut") and c.end < when + 1
                       for c in self.lanes[h].contacts) for h in place.hosts)

    def sample(self, when, queue):
        for message in queue:
            for r in message["recipients"]:
                rcpt = r["address"]
                if rcpt not in self.run.by_rcpt:
                    continue  # a notice
                place = self.place(rcpt)
                letter = self.run.by_rcpt[rcpt]
                offered = sum(blames(h, letter.token, rcpt, when)
                              for h in place.hosts)
                if r["attempts"] > offered + (r["state"] == "delivered"):
                    self.fail("offered", "%s at +%.0f: %d attempts in its"
                              " slot, its hosts blame it for %d (%s)", rcpt,
                              self.run.since(when), r["attempts"], offered,
                              place)
                if r.get("rounds") and place.dns == "ok" and \
                        not self.was_shut(place, when):
                    self.fail("offered", "%s at +%.0f: %d rounds, though no"
                              " host was shut (%s)", rcpt,
                              self.run.since(when), r["rounds"], place)

    def returned(self, rcpt, never):
        lines = [e for e in self.lines[rcpt] if e["event"] == "send.bounced"]
        if (lines or self.notices[rcpt]) and not never:
            self.fail("returned", "%s: %s", rcpt, lines[0]["reply"] if lines
                      else "a notice")
        if never and never[0].when + self.limit < self.run.end and \
                not self.run.kills and self.notices[rcpt] != 1:
            self.fail("returned", "%s: refused (%r), %d notices", rcpt,
                      never[0], self.notices[rcpt])

    def doubled(self, rcpt, got):
        for first, sure in got[:-1]:
            if sure and not self.killed(first - BEHIND_KILL,
                                        first + BEFORE_KILL):
                self.fail("doubled", "%s: %s (%s)", rcpt, ", ".join(
                    "+%.2f" % self.run.since(t) for t, _ in got),
                    self.place(rcpt))

    # --- hosts ---

    def lane(self, host, lane):
        where = "%s %r" % (host.key(), host.habit)
        if host.most > 1:
            self.fail("one socket", "%s: %d", where, host.most)
        for c, n in zip(lane.contacts, lane.contacts[1:]):
            if n.start < c.earliest - EARLY and \
                    not lane.killed(c.start, n.start):
                self.fail("paced", "%s: again at +%.1f, %.1f s after %s, not"
                          " %.1f", where, self.run.since(n.start),
                          n.start - c.end, c.why, c.earliest - c.end)
        self.learned(lane, where)
        self.one_line(host, lane, where)
        self.opens(host, lane, where)
        self.suspects(host, where)

    def learned(self, lane, where):
        h = lane.host.habit
        if not isinstance(h, (habits.SessionLimit, habits.NoBdat,
                              habits.RcptLimit)):
            return  # what looks like a limit there is a message
        if isinstance(h, habits.RcptLimit) and "PIPELINING" not in \
                h.extensions:
            return  # to ask for one more costs nothing there
        met, last = [], None
        for c in lane.contacts:
            if last and lane.killed(last.start, c.start):
                met = []
            if c.visit and any(table.judge(d)[0] in ("limit", "chunking")
                               for d in c.visit.deeds):
                met.append("+%.1f" % self.run.since(c.end))
            last = c
            if len(met) == LEARNED + 1:
                self.fail("learned", "%s: met at %s, and more", where,
                          ", ".join(met))

    def one_line(self, host, lane, where):
        """Of rounds; an attempt has a line of its own."""
        place = self.run.by_host[host]
        if len(place.hosts) > 1 or place.dns != "ok":
            return
        lines = [e for r in self.run.by_rcpt if self.place(r) is place
                 for e in self.deferred(r, self.run.end) if "sid" not in e]
        shut = sum(c.why.startswith("shut") for c in lane.contacts)
        if len(lines) > shut + len(self.run.kills):
            self.fail("one line", "%s: %d lines, shut %d times", where,
                      len(lines), shut)

    def opens(self, host, lane, where):
        """Where mail waits only for this lane, it opens in time."""
        place = self.run.by_host[host]
        if len(place.hosts) > 1 or place.dns != "ok":
            return
        ends = [n.start for n in lane.contacts[1:]] + [self.run.end]
        for c, then in zip(lane.contacts, ends):
            if c.latest <= c.end or lane.killed(c.start, then):
                continue
            waiting = [max(self.own_ready(x, r, place, c.end + 1))[0] for x in
                       self.run.letters for r in x.rcpts
                       if self.place(r) is place and
                       self.waits(x, r, c.end, then)]
            if waiting and then > max(c.latest, min(waiting)) + self.limit:
                self.fail("opens", "%s: %s at +%.1f, again at +%.1f, at the"
                          " latest +%.1f", where, c.why, self.run.since(c.end),
                          self.run.since(then), self.run.since(
                              max(c.latest, min(waiting))))

    def waits(self, letter, rcpt, a, b):
        return letter.arrival < b and not any(
            t < a for t, _ in self.arrived[rcpt]) and not any(
            e["event"] == "send.bounced" for e in self.lines[rcpt])

    def suspects(self, host, where):
        known = set()
        last = 0
        for d in host.deeds:
            if d.after:
                continue
            if self.killed(last, d.when):
                known = set()
            last = d.when
            if d.token in known and d.behind and d.what in table.LOST:
                self.fail("alone", "%s: %r at +%.1f, with %s behind it", where,
                          d, self.run.since(d.when), ", ".join(d.behind))
            if d.token in known and d.what in table.LOST:
                ahead = [r for x in self.run.letters for r in x.rcpts
                         if self.place(r).hosts == [host] and
                         x.token not in known and
                         not any(y.token == x.token for y in host.deeds) and
                         x.arrival + 2 < d.when and not any(
                             t < d.when for t, _ in self.arrived[r])]
                if ahead:
                    self.fail("alone", "%s: %r at +%.1f, before %s", where, d,
                              self.run.since(d.when), ", ".join(ahead[:5]))
            if table.makes_suspect(d):
                known.add(d.token)
