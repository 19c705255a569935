"""`mta queue stats` and `drain`."""

import json
import threading

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families)

from harness import Clock, until
from peer import Peer
from test_queue_operate import dns, system  # noqa: F401  (dns: a fixture)

EX_TEMPFAIL = 75


def submit(m, *rcpts, sender="a@src.test"):
    """No notices: they would be counted too."""
    with m.smtp() as s:
        s.sendmail(sender, rcpts, b"Subject: x\r\n\r\nhi\r\n",
                   rcpt_options=["NOTIFY=NEVER"])


def samples(m):
    """{(name, labels in order): value}, by a parser of others."""
    text = m.tool("queue", "stats", "--openmetrics").stdout.decode()
    assert text.endswith("# EOF\n")
    found = {}
    for f in text_string_to_metric_families(text):
        for s in f.samples:
            key = (s.name, tuple(sorted(s.labels.items())))
            assert key not in found, key
            found[key] = s.value
    return found


def value(found, name, **labels):
    return found[(name, tuple(sorted(labels.items())))]


def test_what_waits(mta, dns):
    m = system(mta, dns, 9, command="serve")
    submit(m, "u@x.test", "v@X.test", "w@dead.test")
    submit(m, "u@x.test")
    until("it waits", lambda: len(m.queued()) == 2)
    m.tool("queue", "hold", "--domain", "dead.test")
    for _ in range(2):
        s = json.loads(m.tool("queue", "stats", "--json").stdout)
        assert s["messages"] == 2
        assert s["bytes"] == sum(q["size"] for q in m.queued())
        assert s["recipients"] == {"pending": 3, "held": 1, "failed": 0}
        assert s["oldest"] == min(q["arrival"] for q in m.queued())
        assert s["segments"] >= 1 and s["disk_bytes"] > 4096
        assert [(d["domain"], d["recipients"]) for d in s["domains"]] == [
            ("x.test", 3), ("dead.test", 1)]
        assert s["domains"][1]["next_attempt"] is None
        assert s["domains"][0]["next_attempt"] is not None
        assert [a["up_to"] for a in s["ages"]] == [
            300, 900, 3600, 14400, 43200, 86400, 172800, 432000, None]
        assert s["ages"][0]["recipients"] == 4
        text = m.tool("queue", "stats").stdout.decode()
        assert "remote: 2 messages" in text and "3 pending, 1 held" in text
        row = [line.split() for line in text.splitlines()
               if line.startswith("x.test")]
        assert row == [["x.test", "3", "3"] + ["0"] * 8]
        found = samples(m)
        assert value(found, "mta_queue_recipients", queue="remote",
                     state="held") == 1
        assert value(found, "mta_queue_age_seconds_bucket", domain="x.test",
                     le="300.0") == 3
        assert value(found, "mta_queue_age_seconds_gcount",
                     domain="other") == 0
        assert value(found, "mta_up", process="send") == 0
        if m.process is not None:
            assert value(found, "mta_up", process="deliver") == 1
            m.stop()
    assert value(found, "mta_up", process="deliver") == 0


def test_what_became_of_mail(mta, dns):
    answers = {"RCPT": lambda s, line: (
        "550 5.1.1 unknown" if "no@" in line else
        "451 4.2.1 not now" if "later@" in line else "250 2.1.5 ok")}
    with Peer("127.0.0.1", answers=answers) as p:
        m = system(mta, dns, p.port)
        submit(m, "u@x.test", "v@x.test", "no@x.test", "later@x.test",
               sender="A@src.test")
        submit(m, "ann@here.test", sender="")
        m.copies("ann", 1)
        until("all were tried", lambda: len(m.events("send.deferred")) == 1
              and len(m.events("send.bounced")) == 1)
        found = samples(m)
        for labels, prefix in [({}, "mta_delivery"),
                               ({"destination": "x.test"}, "mta_destination"),
                               ({"sender": "a@src.test"}, "mta_sender")]:
            for result, n in [("delivered", 2), ("deferred", 1),
                              ("bounced", 1)]:
                assert value(found, prefix + "_recipients_total",
                             queue="remote", result=result, **labels) == n
            assert value(found, prefix + "_messages_total", queue="remote",
                         **labels) == 1
            size = value(found, prefix + "_bytes_total", queue="remote",
                         **labels)
            assert size > 0 and size % 2 == 0
            assert value(found, prefix + "_latency_seconds_count",
                         queue="remote", **labels) == 2
            assert value(found, prefix + "_latency_seconds_bucket",
                         queue="remote", le="+Inf", **labels) == 2
        assert value(found, "mta_sender_recipients_total", queue="local",
                     sender="<>", result="delivered") >= 1
        assert value(found, "mta_destination_recipients_total",
                     queue="local", destination="here.test",
                     result="delivered") >= 1
        assert value(found, "mta_destination_recipients_total",
                     queue="remote", destination="other",
                     result="delivered") == 0


def test_names_beyond_the_busiest(mta):
    """The hundred first have a name; the rest is `other`."""
    m = mta("serve")
    for i in range(120):
        submit(m, "ann@here.test", sender="s%d@src.test" % i)
    m.copies("ann", 120)
    found = samples(m)
    names = {dict(labels)["sender"] for name, labels in found
             if name == "mta_sender_recipients_total"
             and dict(labels)["queue"] == "local"}
    assert len(names) == 101 and "other" in names
    counts = [v for (name, labels), v in found.items()
              if name == "mta_sender_recipients_total"
              and dict(labels)["queue"] == "local"
              and dict(labels)["result"] == "delivered"]
    assert sum(counts) == 120 == value(
        found, "mta_delivery_recipients_total", queue="local",
        result="delivered")


def label_values(found, name, label):
    return {dict(labels)[label] for n, labels in found if n == name}


def test_destinations_beyond_the_busiest(mta):
    """Of 120 domains a hundred have numbers of their own, in the counters and
    in the histogram of what waits; the sums are those of all."""
    domains = ["d%d.test" % i for i in range(120)]
    with Peer() as hop:
        m = mta(settings={"send.relay_host": "[127.0.0.1]:%d" % hop.port})
        for d in domains:
            submit(m, "u@" + d)
        until("all are sent", lambda: len(hop.messages) == 120
              and not m.queued())
        found = samples(m)
        m.stop()
    names = label_values(found, "mta_destination_recipients_total",
                         "destination")
    assert len(names & set(domains)) == 100 and "other" in names
    for name, all_of in (
            ("mta_destination_recipients_total",
             "mta_delivery_recipients_total"),
            ("mta_destination_latency_seconds_count",
             "mta_delivery_latency_seconds_count")):
        one = [v for (n, labels), v in found.items() if n == name
               and dict(labels)["queue"] == "remote"
               and dict(labels).get("result", "delivered") == "delivered"]
        whole = [v for (n, labels), v in found.items() if n == all_of
                 and dict(labels)["queue"] == "remote"
                 and dict(labels).get("result", "delivered") == "delivered"]
        assert sum(one) == 120 and whole == [120]
        assert found[(name, tuple(sorted(
            {"queue": "remote", "destination": "other",
             **({"result": "delivered"} if "recipients" in name else {})
             }.items())))] == 20


def test_ages_by_domain(mta, dns):
    """By the clock of the command: what has waited for 2.4 hours is older than
    one and not older than four."""
    m = system(mta, dns, 9, command="serve")
    for i in range(120):
        submit(m, *["u%d@d%d.test" % (k, i) for k in range(2 if i else 3)])
    until("it waits", lambda: len(m.queued()) == 120)
    with Clock() as clock:
        clock.set(0.1)
        s = json.loads(m.tool("queue", "stats", "--json",
                              env=clock.env).stdout)
        text = m.tool("queue", "stats", "--openmetrics",
                      env=clock.env).stdout.decode()
        table = m.tool("queue", "stats", env=clock.env).stdout.decode()
    assert len(s["domains"]) == 120
    for ages, n in [(s["ages"], 241)] + [
            (d["ages"], d["recipients"]) for d in s["domains"]]:
        assert [a["recipients"] for a in ages] == [0, 0, 0, n] + [0] * 5
    rows = [line.split("\t") for line in table.splitlines() if "\t" in line]
    assert rows[0][5] == "4h" and rows[1][:2] == ["all", "241"]
    assert rows[2] == ["d0.test", "3", "0", "0", "0", "3"] + ["0"] * 5
    assert rows[-1][:2] == ["(others)", "200"] and len(rows) == 23
    found = {(x.name, tuple(sorted(x.labels.items()))): x.value
             for f in text_string_to_metric_families(text) for x in f.samples}
    assert len(label_values(found, "mta_queue_age_seconds_gcount",
                            "domain")) == 101
    for domain, n in (("d0.test", 3), ("other", 40)):
        for le, below in (("3600.0", 0), ("14400.0", n), ("+Inf", n)):
            assert value(found, "mta_queue_age_seconds_bucket",
                         domain=domain, le=le) == below
        assert value(found, "mta_queue_age_seconds_gcount", domain=domain) == n
        age = value(found, "mta_queue_age_seconds_gsum", domain=domain) / n
        assert 8640 <= age < 9000


def test_drain(mta, dns):
    """What was deferred is tried at once, and the end of it waited for."""
    now = {"reply": "451 4.2.1 not now"}
    with Peer("127.0.0.1", answers={
            "RCPT": lambda s, line: now["reply"]}) as p:
        m = system(mta, dns, p.port)
        assert m.tool("queue", "drain").returncode == 0
        submit(m, "u@x.test", "v@x.test")
        until("tried", lambda: len(m.events("send.deferred")) == 2)
        late = m.tool("queue", "drain", "--timeout", "1s", check=False)
        assert late.returncode == EX_TEMPFAIL
        assert late.stderr == (b"mta queue: 1 message remains: the time is "
                               b"over\n")
        now["reply"] = "250 2.1.5 ok"
        done = m.tool("queue", "drain", "--timeout", "60s")
        assert (done.stdout, done.stderr) == (b"", b"")
        assert m.queued() == []


def test_drain_of_what_is_held(mta, dns):
    with Peer("127.0.0.1", answers={"RCPT": "451 4.2.1 not now"}) as p:
        m = system(mta, dns, p.port)
        submit(m, "u@x.test")
        until("tried", lambda: m.events("send.deferred"))
        m.tool("queue", "hold", "--all")
        done = m.tool("queue", "drain", check=False)
        assert done.returncode == EX_TEMPFAIL
        assert done.stderr == b"mta queue: 1 message remains\n"


def test_drain_without_processes(mta, dns):
    m = system(mta, dns, 9, command="serve")
    submit(m, "u@x.test")
    for _ in range(2):
        done = m.tool("queue", "drain", check=False)
        assert done.returncode == EX_TEMPFAIL
        assert b"no process delivers mail for other hosts" in done.stderr
        if m.process is not None:
            m.stop()
    bad = m.tool("queue", "drain", "--timeout", "soon", check=False)
    assert bad.returncode == 64
    assert b"--timeout: 'soon' is not a time" in bad.stderr


def test_a_scrape_beside_traffic(mta):
    """Counters only grow."""
    m = mta("serve")
    last, end = 0, threading.Event()

    def traffic():
        while not end.is_set():
            submit(m, "ann@here.test")
    until("it answers", lambda: value(samples(m), "mta_up",
                                      process="deliver"))
    t = threading.Thread(target=traffic)
    t.start()
    try:
        for _ in range(10):
            n = value(samples(m), "mta_delivery_recipients_total",
                      queue="local", result="delivered")
            assert n >= last
            last = n
        until("it grows", lambda: value(
            samples(m), "mta_delivery_recipients_total", queue="local",
            result="delivered") > 0)
    finally:
        end.set()
        t.join()
