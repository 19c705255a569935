"""The tools that measure, on a handful of messages, so that they stay usable:
load -> mta -> delay -> sink."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import harness
import pytest
from harness import Mta

sys.path.append(os.path.join(harness.ROOT, "tests", "bench"))

import compare  # noqa: E402
import row  # noqa: E402
import settings  # noqa: E402

BENCH = os.environ.get("BENCH", os.path.join(harness.ROOT, "build", "bench"))


@contextlib.contextmanager
def running(name, port, *args):
    """One of the tools, once it listens; SIGTERM at the end."""
    process = subprocess.Popen([os.path.join(BENCH, name), *args],
                               stdout=subprocess.PIPE, text=True)
    try:
        harness.connect("127.0.0.1", port).close()
        yield process
    finally:
        process.terminate()
        process.wait(harness.DEADLINE)


def ask(sink):
    sink.send_signal(signal.SIGUSR1)
    return json.loads(sink.stdout.readline())


def load(port, *args):
    done = subprocess.run(
        [os.path.join(BENCH, "load"), "-a", "127.0.0.1:%d" % port, *args],
        stdout=subprocess.PIPE, check=True, timeout=harness.DEADLINE * 2)
    return json.loads(done.stdout)


@pytest.mark.parametrize("flags", [[], ["-P"], ["-b"]])
def test_load_through_mta_to_sink(flags):
    """Every message that load counts as taken is counted by the sink, over
    one socket; the proxy in between delays and loses nothing."""
    far, near = harness.free_port(), harness.free_port()
    with running("sink", far, "-a", "127.0.0.1:%d" % far, *flags) as sink, \
            running("delay", near, "-a", "127.0.0.1:%d" % near,
                    "-t", "127.0.0.1:%d" % far, "-d", "3"), \
            Mta(settings={"send.relay_host": "[127.0.0.1]:%d" % near}) as mta:
        harness.until("waiting clients gone",
                      lambda: ask(sink)["open"] == 0)
        sink.send_signal(signal.SIGUSR2)
        said = load(mta.port, "-c", "4", "-n", "60", "-s", "1024", "-k",
                    "-t", "user%d@far.test")
        assert said["messages"] == 60 and said["errors"] == 0
        seen = harness.until("all mail in the sink", lambda: (
            lambda s: s if s["messages"] >= 60 else None)(ask(sink)))
        assert seen["messages"] == seen["recipients"] == 60
        assert seen["bytes"] > 60 * 1024
        assert seen["most_open"] == 1


def bench(where, *flags):
    """Run bench.py on 60 messages; what ended and the JSON that it wrote."""
    out = where / "out.json"
    done = subprocess.run(
        ["/usr/bin/python3",
         os.path.join(harness.ROOT, "tests", "bench", "bench.py"),
         "--rounds", "1", "--messages", "60", "--gib", "0", "--dir",
         str(where), "--json", str(out), *flags],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=harness.DEADLINE * 4)
    if "unshare" in done.stdout:
        pytest.skip("no namespaces here: " + done.stdout)
    assert out.exists(), done.stdout
    return done, json.loads(out.read_text())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may measure")
def test_bench_measures(tmp_path):
    """The comparison itself, a few messages of two of its rows."""
    done, rows = bench(tmp_path, "--only",
                       "kept-20,relay-one,half,local-idle", "--peers", "mta")
    assert done.returncode == 0, done.stdout
    for name in ("kept-20", "half", "relay-one"):
        first = rows[name]["mta"][0]
        assert first["messages"] == 60
        assert first["rate"] > 0 and first["cpu_us"] > 0
    assert 0 <= rows["local-idle"]["mta"][0]["median"] < 1000
    assert first["sockets"] == 1 and first["extra"] == 0
    assert 0 < rows["kept-20"]["mta"][1]["syncs"] <= 1.1
    assert os.listdir(tmp_path) == ["out.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may measure")
def test_bench_measures_tls(tmp_path):
    """Beside itself in clear, and beside a server that only shakes hands."""
    done, rows = bench(tmp_path, "--only", "tls-kept-100,tls-resumed-20",
                       "--peers", "mta")
    assert done.returncode == 0, done.stdout
    [kept], [resumed] = rows["tls-kept-100"]["mta"], rows["tls-resumed-20"][
        "mta"]
    assert kept["messages"] == resumed["messages"] == 60
    assert kept["x_clear"] > 0 and resumed["bare_us"] > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may measure")
def test_bench_measures_tools(tmp_path):
    done, rows = bench(tmp_path, "--only", "operate,health,container",
                       "--peers", "mta")
    assert done.returncode == 0, done.stdout
    for name, keys in (("operate", {"list", "filter", "show", "hold", "alone",
                                    "release"}),
                       ("health", {"p50", "most"}),
                       ("container", {"start", "mib"})):
        [got] = rows[name]["mta"]
        assert set(got) == keys and all(x > 0 for x in got.values()), done


def test_sink_behind_long_lines():
    """A host for each address, half of them with CHUNKING; one of 20
    messages is deferred, one of 100 refused."""
    port = harness.free_port()
    with running("sink", port, "-a", "127.0.0.1-127.0.0.4:%d" % port, "-B",
                 "-4", "20", "-5", "100") as sink:
        for i in range(4):
            with harness.Raw("127.0.0.%d" % (i + 1), port) as c:
                _, words = c.say("EHLO client.test")
                assert ("CHUNKING" in words) == (i % 2 == 1)
        done = subprocess.run(
            [os.path.join(BENCH, "load"), "-a", "127.0.0.1:%d" % port, "-c",
             "1", "-n", "100", "-k"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, check=False)
        assert json.loads(done.stdout)["errors"] == 6
        seen = ask(sink)
        assert (seen["deferred"], seen["refused"]) == (5, 1)


def test_delay_leads_each_address_to_its_own():
    far, near = harness.free_port(), harness.free_port()
    with running("sink", far, "-a", "127.0.0.1-127.0.0.2:%d" % far) as sink, \
            running("delay", near, "-a", "127.0.0.1:%d" % near, "-t",
                    "127.0.0.1:%d" % far, "-n", "2", "-d", "1"):
        for i in range(2):
            subprocess.run(
                [os.path.join(BENCH, "load"), "-a",
                 "127.0.0.%d:%d" % (i + 1, near), "-c", "1", "-n",
                 str(i + 1)], stdout=subprocess.DEVNULL, check=True)
        assert [a["messages"] for a in ask(sink)["addresses"]] == [1, 2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may measure")
def test_bench_compares_two_builds(tmp_path):
    """A build with itself: which one is faster is noise on 60 messages, but
    the exit status is that of the verdicts."""
    done, rows = bench(tmp_path, "--only", "kept-20,relay-one", "--base",
                       harness.MTA)
    assert set(rows) == {"kept-20", "relay-one"}
    slower = 0
    for pairs in rows.values():
        assert all(b["messages"] == n["messages"] == 60 for b, n in pairs)
        slower += bool(compare.faults(compare.RATES, pairs))
        assert len(pairs) in (1, 2)  # twice when it would have failed
    assert done.stdout.count("SLOWER: ") == slower, done.stdout
    assert done.returncode == (1 if slower else 0), done.stdout
    assert os.listdir(tmp_path) == ["out.json"]


def pairs_of(key, base, new):
    return [({key: b}, {key: n}) for b, n in zip(base, new)]


def test_ratios_are_those_of_pairs():
    """Not of the medians: those are 20 and 22 here, a ratio of 1.1."""
    assert compare.ratio([10, 20, 40], [20, 22, 40]) == (1.0, 1.1, 2.0)
    assert compare.ratio([10, 20, 90], [11, 20, 9]) == (0.1, 1.0, 1.1)


@pytest.mark.parametrize("kind,base,new,slower", [
    ("cpu", [100] * 3, [105, 105, 900], False),
    ("cpu", [100] * 3, [106, 106, 1], True),
    ("rate", [100] * 3, [93, 93, 1], False),
    ("rate", [100] * 3, [92, 92, 900], True),
    ("time", [100] * 3, [107, 107, 900], False),
    ("time", [100] * 3, [108, 108, 1], True),
    ("shown", [100] * 3, [900] * 3, False),
])
def test_verdict_of_a_figure(kind, base, new, slower):
    figure = compare.Figure("k", "figure", kind)
    found = compare.faults([figure], pairs_of("k", base, new))
    assert bool(found) == slower, found


def test_differences_below_the_grain_are_none():
    figure = compare.Figure("k", "figure", "time", grain=5)
    assert not compare.faults([figure], pairs_of("k", [10] * 3, [15] * 3))
    assert compare.faults([figure], pairs_of("k", [10] * 3, [16] * 3))


@pytest.mark.parametrize("pairs", [
    [], [(None, {"k": 1})], [({"k": 1}, {"k": 1}), ({"k": 1}, None)],
    [({"k": 1}, {})], [({"k": 0}, {"k": 0})],
])
def test_what_was_not_measured_is_not_as_fast(pairs):
    figure = compare.Figure("k", "figure", "cpu")
    assert compare.faults([figure], pairs)


def test_builds_take_turns():
    assert [compare.order("AB", i) for i in range(3)] == [
        ["A", "B"], ["B", "A"], ["A", "B"]]
    plan = row.SamePlan(2)
    assert [plan.count(1000), plan.count(4000)] == [2000, 2000]
    plan.new_round()
    assert plan.count(4000) == 8000


OLD = """
# Line "#name = value;" shows a default.
#hostname = "mail.example.com";

log: {
    # One of text, json.
    #format = "text";
};

serve: {
    #mail_dir = "/var/mail";
    #local_domains = [ "localhost" ];
};
"""


def test_settings_by_the_names_that_a_build_has():
    old = settings.keys_of(OLD)
    assert old == {"hostname", "log.format", "serve.mail_dir",
                   "serve.local_domains"}
    wanted = {"local.mail_dir": "/m", "hostname": "h",
              "local.domains": ["a", "b"]}
    assert settings.text_of(wanted, old) == (
        'hostname = "h";\nserve = { mail_dir = "/m"; '
        'local_domains = [ "a", "b" ]; };\n')
    new = {"hostname", "local.domains", "local.mail_dir", "serve.mail_dir"}
    assert settings.text_of(dict(wanted, **{"hostname": 5}), new) == (
        'hostname = 5;\nlocal = { mail_dir = "/m"; '
        'domains = [ "a", "b" ]; };\n')
    with pytest.raises(ValueError, match="no setting local.users"):
        settings.text_of({"local.users": "any"}, new)


def test_compare_asks_for_a_base():
    env = {k: v for k, v in os.environ.items() if k not in (
        "MAKEFLAGS", "MAKELEVEL", "BASE")}
    for command, said in (
            (["make", "-s", "bench-compare"], "BASE=REVISION"),
            (["tests/bench/base.sh", "no-such-thing"],
             "BASE=no-such-thing is neither a binary nor a revision")):
        done = subprocess.run(command, cwd=harness.ROOT, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=harness.DEADLINE)
        assert done.returncode == 2 and said in done.stderr
        assert not done.stdout


def test_sink_takes_chunks():
    """Several BDAT in flight, an empty last one, dots and line ends in
    chunks that mean nothing there."""
    port = harness.free_port()
    talk = (b"EHLO client.test\r\n"
            b"MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\n"
            b"BDAT 5\r\nhelloBDAT 5\r\n\r\n.\r\nBDAT 2 LAST\r\n\r\n"
            b"MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nRCPT TO:<c@b.test>\r\n"
            b"BDAT 0 LAST\r\nQUIT\r\n")
    with running("sink", port, "-a", "127.0.0.1:%d" % port, "-b") as sink:
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.settimeout(harness.DEADLINE)
            s.sendall(talk)
            with s.makefile("rb") as f:
                codes = [line[:3] for line in f if line[3:4] == b" "]
        seen = ask(sink)
    assert codes == [b"220", b"250"] + [b"250"] * 5 + [b"250"] * 4 + [b"221"]
    assert (seen["messages"], seen["recipients"], seen["bytes"]) == (2, 3, 12)
