"""The tools that measure, on a handful of messages, so that they stay usable:
load -> mta -> delay -> sink."""

import contextlib
import json
import os
import signal
import socket
import subprocess

import harness
import pytest
from harness import Mta

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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may measure")
def test_bench_measures(tmp_path):
    """The comparison itself, a few messages of two of its rows."""
    out = tmp_path / "out.json"
    done = subprocess.run(
        ["/usr/bin/python3",
         os.path.join(harness.ROOT, "tests", "bench", "bench.py"),
         "--only", "kept-20,relay-one", "--peers", "mta", "--rounds", "1",
         "--messages", "60", "--gib", "0", "--dir", str(tmp_path),
         "--json", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=harness.DEADLINE * 4)
    if "unshare" in done.stdout:
        pytest.skip("no namespaces here: " + done.stdout)
    assert done.returncode == 0, done.stdout
    rows = json.loads(out.read_text())
    for name in ("kept-20", "relay-one"):
        first = rows[name]["mta"][0]
        assert first["messages"] == 60
        assert first["rate"] > 0 and first["cpu_us"] > 0
    assert first["sockets"] == 1 and first["extra"] == 0
    assert 0 < rows["kept-20"]["mta"][1]["syncs"] <= 1.1
    assert os.listdir(tmp_path) == ["out.json"]


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
