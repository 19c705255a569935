"""Habits of hosts, and from a seed the places of a run: a domain each, with
its hosts, its name server's manners and the letters that it gets."""

PIPE = ("PIPELINING", "8BITMIME", "SIZE 100000000", "ENHANCEDSTATUSCODES")
CHUNK = PIPE + ("CHUNKING",)
FORMS = (PIPE, CHUNK, ("8BITMIME",), CHUNK)
MINUTE = 60


class Good:
    """Takes all; act() returns None for the usual reply.  With a `wait` a line
    forms, and windows fill."""
    bad = True  # until it heals
    wait = 0    # seconds for each letter

    def __init__(self, extensions=PIPE):
        self.extensions = extensions

    def act(self, talk, step, token, rcpt):
        deed = self.deed(talk, step, token, rcpt) if self.bad else None
        if deed is None and self.wait and step in ("DOT", "BDAT"):
            return ("wait", self.wait)
        return deed

    def deed(self, talk, step, token, rcpt):
        return None

    def __repr__(self):
        words = ["%s" % v for k, v in sorted(vars(self).items())
                 if k not in ("extensions", "bad", "seen") and v]
        return "%s(%s)%s" % (type(self).__name__, ", ".join(words),
                             " CHUNKING" if "CHUNKING" in self.extensions
                             else "")


class SessionLimit(Good):
    def __init__(self, extensions, most, how):
        super().__init__(extensions)
        self.most, self.how = most, how

    def deed(self, talk, step, token, rcpt):
        if step != "MAIL" or talk.visit.delivered < self.most:
            return None
        return {"421": ("say", "421 4.3.0 too many messages, goodbye"),
                "452": ("say", "452 4.3.0 too many messages in a session"),
                "drop": ("drop",)}[self.how]


class RcptLimit(Good):
    def __init__(self, extensions, most):
        super().__init__(extensions)
        self.most = most

    def deed(self, talk, step, token, rcpt):
        if step == "RCPT" and len(talk.taken) >= self.most:
            return ("say", "452 4.5.3 too many recipients")
        return None


def refusal(what):
    return {"4xx": ("say", "451 4.3.0 not now"),
            "421": ("say", "421 4.3.0 going away"),
            "5xx": ("say", "554 5.6.0 never"),
            "nonsense": ("nonsense", "what is this?")}.get(what, (what,))


class Poison(Good):
    """Cannot bear one letter, or one recipient, until it heals."""

    def __init__(self, extensions, at, what):
        super().__init__(extensions)
        self.at, self.what = at, what

    def deed(self, talk, step, token, rcpt):
        hit = rcpt.startswith("poison") if step == "RCPT" else \
            (token or "").startswith("poison")
        return refusal(self.what) if step == self.at and hit else None


class Broken(Good):
    """Nothing passes, until it heals."""

    def __init__(self, extensions, at, what):
        super().__init__(extensions)
        self.at, self.what = at, what

    def deed(self, talk, step, token, rcpt):
        if self.at == "EHLO" and step == "HELO":
            return refusal(self.what)
        return refusal(self.what) if step == self.at else None


class Away(Good):
    """No connection, until it heals: "away" or "hole"."""

    def __init__(self, extensions, state):
        super().__init__(extensions)
        self.state = state


class Grey(Good):
    def __init__(self, extensions, seconds):
        super().__init__(extensions)
        self.seconds, self.seen = seconds, {}

    def deed(self, talk, step, token, rcpt):
        if step != "RCPT":
            return None
        now = talk.world.now()
        if now < self.seen.setdefault(rcpt, now) + self.seconds:
            return ("say", "450 4.2.0 greylisted")
        return None


class Rate(Good):
    """Wants less mail, now and then."""

    def __init__(self, extensions, at, text):
        super().__init__(extensions)
        self.at, self.text, self.seen = at, text, {}

    def deed(self, talk, step, token, rcpt):
        if step != self.at or token in self.seen or len(self.seen) >= 2:
            return None
        self.seen[token] = True
        return ("say", self.text)


class NoBdat(Good):
    """Offers CHUNKING and does not have it."""

    def __init__(self, what):
        super().__init__(CHUNK)
        self.what = what

    def deed(self, talk, step, token, rcpt):
        if self.what == "early drop":
            return ("drop",) if step == "BDAT early" else None
        if step == "BDAT":
            return ("drop",) if self.what == "drop" else \
                ("say", self.what + " 5.5.1 BDAT?")
        return None


# --- places -----------------------------------------------------------------

class Place:
    """A domain.  heals: minutes until all its hosts and its name server are
    good; poison: how many of its letters are; slack: seconds that its letters
    may take beside the waits that the table allows."""

    def __init__(self, habits, letters=6, poison=0, heals=0, slack=0, rcpts=1,
                 dns="ok", ranks=None, sender=None, later=2, below=0,
                 wait=0):
        self.habits, self.letters, self.poison = habits, letters, poison
        self.heals, self.slack, self.rcpts = heals, slack, rcpts
        self.dns, self.sender, self.later = dns, sender, later
        self.below = below  # so many recipients of a letter have a domain each
        self.at_once = wait > 0  # all its first letters, and a line forms
        self.slack += (letters + CROSSING) * wait
        for h in habits:
            h.wait = wait
        self.ranks = ranks or [10] * len(habits)
        self.domain, self.hosts = None, []

    def __repr__(self):
        return "%s: %s%s" % (self.domain, ", ".join(map(repr, self.habits)),
                             "" if self.dns == "ok" else
                             " DNS %s" % self.dns)


CROSSING = 20  # letters that come from other places, at the most
STEPS = ["MAIL", "RCPT", "DATA", "DOT"]
WHATS = ["drop", "4xx", "421", "nonsense", "silence"]


def form_for(chance, step):
    if step == "BDAT":
        return CHUNK
    return PIPE if step in ("DATA", "DOT") else chance.choice(FORMS)


def some(chance, steps, n):
    """n different pairs of step and deed; each deed about as often."""
    pairs = [(s, w) for s in steps for w in WHATS]
    return chance.sample(pairs, n)


def places(seed_chance):
    c = seed_chance
    found = [Place([Good(f)], letters=3, later=0) for f in FORMS + FORMS[:2]]

    for most, how in c.sample([(1, "421"), (1, "452"), (1, "drop"),
                               (10, "421"), (10, "452"), (10, "drop"),
                               (100, "421"), (100, "452")], 4):
        found.append(Place([SessionLimit(c.choice(FORMS), most, how)],
                           letters=c.choice([5, 25]) if most < 100 else 230,
                           wait=c.choice([0, 0.2]) if most == 10 else 0))
    found.append(Place([RcptLimit(c.choice(FORMS), c.choice([1, 5, 10]))],
                       letters=2, rcpts=23))
    for step, what in some(c, STEPS + ["BDAT"], 6):
        found.append(Place([Poison(form_for(c, step), step, what)], poison=1,
                           letters=c.choice([4, 12]), heals=c.uniform(2, 15)))
    # a line in front of the host: suspects come last, windows are in flight
    for step, what, form in [
            (c.choice(["MAIL", "RCPT", "DATA"]), "drop", PIPE),
            (c.choice(["MAIL", "RCPT"]), "nonsense", CHUNK),
            (c.choice(["MAIL", "RCPT", "BDAT"]), c.choice(WHATS), CHUNK)]:
        found.append(Place([Poison(form, step, what)], poison=1, letters=10,
                           wait=0.3, slack=15, heals=c.uniform(10, 20)))
    found.append(Place([SessionLimit(CHUNK, 4, c.choice(
        ["421", "452", "drop"]))], letters=20, wait=0.2))
    for step, what in some(c, ["GREETING", "EHLO"], 3) + \
            some(c, STEPS + ["BDAT"], 5):
        found.append(Place([Broken(form_for(c, step), step, what)],
                           heals=c.uniform(1, 20)))
    for state in ("away", "away", "hole"):
        found.append(Place([Away(c.choice(FORMS), state)],
                           heals=c.uniform(1, 25)))
    found.append(Place([Grey(c.choice(FORMS), c.uniform(60, 240))]))
    found.append(Place([Rate(PIPE, "MAIL", "450 4.7.28 slow down")]))
    found.append(Place([Rate(PIPE, c.choice(["RCPT", "DATA", "DOT"]),
                             c.choice(["421 4.7.0 slow down",
                                       "451 4.7.550 slow down",
                                       "451 4.3.2 busy"]))]))
    for what in c.sample(["500", "502", "503", "504"], 1) + \
            ["drop", "early drop"]:
        found.append(Place([NoBdat(what)]))
    found.append(Place([Poison(c.choice(FORMS), c.choice(["MAIL", "RCPT"]),
                               "5xx")], poison=2))
    # two MX, one of them no good, ever
    found.append(Place([Away(PIPE, "away"), Good(PIPE)], ranks=[10, 20]))
    found.append(Place([Away(PIPE, "hole"), Good(CHUNK)], ranks=[10, 20],
                       slack=30))
    found.append(Place([Broken(c.choice(FORMS), "RCPT", "4xx"), Good(PIPE)],
                       ranks=[10, c.choice([10, 20])]))
    found.append(Place([Broken(PIPE, "GREETING", c.choice(["4xx", "drop"])),
                        Good(PIPE)], ranks=[10, 20]))
    # names
    found.append(Place([Good()], dns="servfail", heals=c.uniform(1, 15)))
    found.append(Place([Good()], dns="silent", heals=c.uniform(1, 15),
                       letters=3, rcpts=60, below=60))
    found.append(Place([Good()], dns=c.uniform(6, 12), letters=3))
    # a line in front of a slow host
    found.append(Place([Good()], letters=120, sender="flood", wait=0.5,
                       later=0))
    for i, p in enumerate(found):
        p.domain = "p%02d.test" % i
        for h in p.habits:
            h.bad = True
    return found
