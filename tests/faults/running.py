"""A running system of which one process at a time is given faults."""

import contextlib
import json
import os
import re
import time

from errors import LASTING, ONCE, THEN
from page import FOREVER, name_of
from rig import Broken, Rig, Scene, copy_evidence, harness
from scenes import SCENES

UPKEEP = 0.3  # seconds in which the sender has synced and reclaimed
HOLD = 0.1  # seconds that a lasting fault is tried, beside the clients' time
IMPATIENCE = 0.2  # of clients during a lasting fault
BUSY_MAX = 0.7  # of a CPU, with waits that are so much shorter
MISSED_MAX = 20  # in a row: so many calls are not made any more
GROWTH_MAX = 4096  # KiB that a process may gain in a sweep of hundreds


class Report:
    """What was tried, and what went wrong; also a line of JSON for each, for
    table.py."""

    def __init__(self, places, keep, record):
        self.places, self.keep = places, keep
        self.record = open(record, "a") if record else None
        self.tried, self.hit, self.broken = 0, set(), []

    def note(self, part, call, page):
        if page.hits:
            self.note_place(part, call, page.stack())

    def note_place(self, part, call, stack):
        place = self.places.place(stack)
        self.tried += 1
        self.hit.add((call, place))
        if self.record:
            json.dump([part, call, hex(place), self.places.text(place)],
                      self.record)
            self.record.write("\n")
            self.record.flush()

    def wrong(self, what, page, error, rig=None):
        where = self.places.story(page.stack()) or "no call failed"
        if page.then_hits:
            where += "\n    then at " + self.places.story(page.then_stack())
        self.broken.append(what)
        print("BROKEN %s: %s\n    at %s" % (what, error, where), flush=True)
        if rig is not None:
            copy_evidence(rig, self.keep and "%s/%d" % (
                self.keep, len(self.broken)))


def seconds_of(pid):
    """CPU of a process; nothing, once it is gone."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            ticks = f.read().rsplit(")", 1)[1].split()[11:13]
    except FileNotFoundError:
        return 0
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


class Running:
    """A system that goes on while one process of it is given faults."""

    def __init__(self, args, outside, report):
        self.args, self.outside, self.report = args, outside, report
        self.rig, self.scene = None, Scene()

    def begin(self):
        self.rig = Rig(self.outside, self.args.shim, scene=self.scene)
        self.rig.forget()
        self.rig.start()
        self.rig.whole()
        for _ in range(5):
            self.rig.round()
        self.base = self.rig.descriptors()
        self.memory = self.rig.memory()

    def end(self, failed=False):
        rig, self.rig = self.rig, None
        if rig is None:
            return
        try:
            if rig.stop() != 0 and not failed:
                raise Broken("stopped with a status")
        finally:
            rig.page.disarm()
            rig.cleanup()

    def counts(self, role):
        """How often each call is made in a round and the upkeep after it."""
        page = self.rig.page
        page.arm(("pid", self.rig.whole()[role]))
        self.rig.round()
        time.sleep(UPKEEP)
        page.disarm()
        return page.counts()

    def once(self, role, call, error, nth, waits):
        """One failure.  Was there such a call?"""
        rig = self.rig
        rig.page.arm(("pid", rig.whole()[role]), call, error, nth)
        rig.round()
        end = time.monotonic() + (UPKEEP if waits else 0)
        while not rig.page.hits and time.monotonic() < end:
            time.sleep(0.01)
        rig.page.disarm()
        self.report.note(role, call, rig.page)
        return rig.page.hits > 0

    def lasting(self, role, call, error, nth):
        """From the nth on, for a while; then all is well again."""
        rig = self.rig
        pid = rig.whole()[role]
        rig.page.arm(("pid", pid), call, error, nth, FOREVER)
        begin, used = time.monotonic(), seconds_of(pid)
        mails = rig.mails()
        answers = [self.try_once(m) for m in mails]
        time.sleep(HOLD)
        took, used = time.monotonic() - begin, seconds_of(pid) - used
        rig.page.disarm()
        self.report.note(role, call, rig.page)
        if used > BUSY_MAX * took:
            raise Broken("spins: %.2f s of CPU in %.2f s" % (used, took))
        rig.text = ""
        for m, a in zip(mails, answers):
            if a != "250":
                rig.submit(m)
        rig.judge(mails, [["250"]] * len(mails), logged=False)
        rig.forget()
        return rig.page.hits > 0

    def try_once(self, mail):
        """A client that has little patience now."""
        answer = self.rig.attempt(mail, IMPATIENCE)
        if answer not in ("250", "closed", "silence") and answer[0] != "4":
            raise Broken("%s answered %s" % (mail.token, answer))
        return answer

    def settle(self, part, call):
        """What must be as it was before."""
        rig = self.rig
        rig.whole()
        rig.round()
        try:
            harness.until("descriptors", lambda: not self.leaks(), 5)
        except AssertionError:
            raise Broken("descriptors leak: %s" % self.leaks())
        left = self.left_over()
        if call not in ("unlink", "rename", "open", "sample") and left:
            raise Broken("left over: %s" % left)
        for role, kib in rig.memory().items():
            if kib > self.memory.get(role, kib) + GROWTH_MAX:
                raise Broken("%s grew from %d to %d KiB" % (
                    role, self.memory[role], kib))

    def left_over(self):
        return self.rig.leftovers()

    def leaks(self):
        """Descriptors beyond those of the start; a few segments may come, and
        directories of mailboxes stay open, each once; a mailbox that seemed
        to hang, by a clock that is fast, has a process more."""
        found = {}
        for role, have in self.rig.descriptors().items():
            more = have - self.base.get(role, have)
            few = {n: c for n, c in more.items()
                   if not (re.search(r"/(local|remote)/\*", n) and c <= 2 or
                           (role, n, c) == ("deliver", "socket:*", 1) or
                           n.startswith(self.rig.mail + "/") and have[n] == 1)}
            if few:
                found[role] = few
        return found

    def inject(self, role, call, error, how, nth, waits):
        """One failure; a promise that it breaks ends this system."""
        what = "%s %s %d %s%s" % (role, call, nth, name_of(error),
                                  "" if how == self.once else " and on")
        try:
            if self.rig is None:
                self.begin()
            if how == self.once:
                return self.once(role, call, error, nth, waits)
            return self.lasting(role, call, error, nth)
        except (Broken, AssertionError) as e:
            self.report.note(role, call, self.rig.page)
            self.report.wrong(what, self.rig.page, e, self.rig)
            self.give_up()
        return True

    def sweep(self, role, call, error, how, n):
        """All n calls, and those that come on top this time; fewer when it
        does not come to so many, for example because it ended earlier."""
        tried = missed = 0
        for nth in range(self.args.first, n + 3, self.args.each):
            hit = self.inject(role, call, error, how, nth, nth <= n)
            tried += hit
            missed = 0 if hit else missed + 1
            if missed > 0 and nth > n or missed > MISSED_MAX:
                break
        self.check(role, call)
        return tried

    def sample(self, role, how, table, counts):
        """Some of all, as time allows."""
        every = [(call, error, nth) for call in counts
                 for error in table.get(call, ())
                 for nth in range(1, counts[call] + 1)]
        self.args.chance.shuffle(every)
        end = time.monotonic() + self.args.seconds
        while every and time.monotonic() < end:
            call, error, nth = every.pop()
            self.inject(role, call, error, how, nth, False)
        self.check(role, "sample")

    def check(self, role, call):
        try:
            if self.rig is not None:
                self.settle(role, call)
        except (Broken, AssertionError) as e:
            self.report.wrong("%s %s, afterwards" % (role, call),
                              self.rig.page, e, self.rig)
            self.give_up()

    def give_up(self):
        with contextlib.suppress(Broken, AssertionError):
            self.end(failed=True)

    def sweep_all(self, part, role, how, table):
        self.begin()
        counts = self.counts(role)
        if self.args.seconds:
            self.sample(role, how, table, counts)
        for call in sorted(counts if not self.args.seconds else ()):
            if self.args.call and call not in self.args.call:
                continue
            for error in table.get(call, ()):
                n = self.sweep(role, call, error, how, counts[call])
                print("%-18s %-16s %-12s %3d" % (part, call, name_of(error),
                                                 n), flush=True)
        if self.rig is not None:
            print("%s: answers %s, duplicates %s" % (
                part, dict(self.rig.attempts), dict(self.rig.duplicates)))
            self.end()

    def run(self, part):
        """ROLE, ROLE-lasting, ROLE-SCENE"""
        role, _, kind = part.partition("-")
        if kind in SCENES:
            self.scene = SCENES[kind]()
        how, table = (self.lasting, LASTING) if kind == "lasting" else \
            (self.once, ONCE)
        self.sweep_all(part, role, how, table)


class Twice(Running):
    """Every place once, and what is done about it fails as well."""

    def both(self, role, call, only, then):
        page = self.rig.page
        self.rig.refused_twice = role == "worker"
        page.arm(("pid", self.rig.whole()[role]), call, ONCE[call][0],
                 only=only, then=then)
        self.rig.round()
        end = time.monotonic() + UPKEEP
        while not page.hits and time.monotonic() < end:
            time.sleep(0.01)
        page.disarm()
        if page.then_hits:
            self.report.note(role, call, page)
            self.report.note_place(role, then[0], page.then_stack())

    def attempt(self, role, call, only, then):
        try:
            if self.rig is None:
                self.begin()
            self.both(role, call, only, then)
        except (Broken, AssertionError) as e:
            self.report.wrong("%s %s, then %s" % (role, call, then[0]),
                              self.rig.page, e, self.rig)
            self.give_up()

    def places(self, role):
        """(call, addresses) of one way to each place."""
        self.counts(role)
        found = {}
        for call, frames, _ in self.rig.page.sites():
            if call in ONCE:
                found[call, self.report.places.place(frames)] = frames
        return [(call, frames) for (call, _), frames in sorted(found.items())]

    def run(self, part):
        """ROLE-twice, ROLE-SCENE-twice"""
        role, *kinds = part.split("-")
        if kinds[0] in SCENES:
            self.scene = SCENES[kinds[0]]()
        self.begin()
        every = [(place, then) for place in self.places(role)
                 for then in THEN]
        if self.args.seconds:
            self.args.chance.shuffle(every)
        start, before = time.monotonic(), self.report.tried
        for (call, frames), then in every:
            if self.args.seconds and \
                    time.monotonic() - start > self.args.seconds:
                break
            self.attempt(role, call, frames, then)
        self.check(role, "sample")
        print("%-18s %d failures" % (part, self.report.tried - before),
              flush=True)
        if self.rig is not None:
            self.end()
