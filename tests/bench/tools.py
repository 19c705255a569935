"""The C programs beside this file, as Python sees them."""

import contextlib
import json
import os
import signal
import subprocess

import harness

BUILD = os.path.join(harness.ROOT, "build", "bench")


def tool(name):
    return os.path.join(BUILD, name)


def load(port, conns, messages, size=1024, keep=True, pipeline=False,
         rcpts=1, to="user%d@elsewhere.test", users=0, seconds=120,
         sender="sender@client.test", tls=""):
    """Run the generator; what it says, as a dict.  to: an address, or several
    that messages take in turn.  tls: S, by STARTTLS; SR, and resume; HS,
    handshakes alone, of Bare."""
    cmd = [tool("load"), "-a", "127.0.0.1:%d" % port, "-c", str(conns),
           "-n", str(messages), "-s", str(size), "-r", str(rcpts),
           "-u", str(users), "-T", str(seconds), "-f", sender]
    for address in [to] if isinstance(to, str) else to:
        cmd += ["-t", address]
    cmd += ["-k"] * keep + ["-p"] * pipeline + ["-" + tls] * bool(tls)
    done = subprocess.run(cmd, stdout=subprocess.PIPE, check=False)
    said = json.loads(done.stdout)
    if said["errors"] or said["messages"] < messages:
        print("bench: load: %s" % said)
    return said


class Tool:
    """One that runs until it is told to stop, and says JSON."""

    def __init__(self, name, *args):
        self.process = subprocess.Popen(
            [tool(name), *args], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.terminate()
        self.process.stdin.close()
        self.process.wait(harness.DEADLINE)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Bare(Tool):
    """The least that a server with TLS can do; pem: certificate and key."""

    def __init__(self, port, pem):
        super().__init__("bare", "-a", "127.0.0.1:%d" % port, "-C", pem)
        try:
            harness.connect("127.0.0.1", port).close()
        except BaseException:
            self.close()
            raise

    def end(self):
        """Stop it; what it counted."""
        self.process.terminate()
        return self.hear()


class Sink(Tool):
    def __init__(self, where, *flags, port=25):
        super().__init__("sink", "-a", "%s:%d" % (where, port), *flags)
        try:
            harness.connect(where.split("-")[0], port).close()
            harness.until("sink idle", lambda: self.ask()["open"] == 0)
        except BaseException:
            self.close()
            raise
        self.reset()

    def ask(self):
        self.process.send_signal(signal.SIGUSR1)
        return self.hear()

    def reset(self):
        self.process.send_signal(signal.SIGUSR2)
        # The signals are different; wait until the second was seen.
        harness.until("sink counts anew", lambda: self.ask()["messages"] == 0)

    def wait(self, what, count, deadline=180):
        """Until so many messages or recipients are in; the status then."""
        return harness.until(
            "%d %s in the sink" % (count, what),
            lambda: (lambda s: s if s[what] >= count else None)(self.ask()),
            deadline)


class Delay(Tool):
    def __init__(self, near, far, ms=25, port=25, hosts=1):
        super().__init__("delay", "-a", "%s:%d" % (near, port),
                         "-t", "%s:%d" % (far, port), "-d", str(ms),
                         "-n", str(hosts))
        try:
            harness.connect(near, port).close()
        except BaseException:
            self.close()
            raise


@contextlib.contextmanager
def idle(port, count, *flags, seconds=10):
    """Hold connections; gives what the opening of them said."""
    with Tool("idle", "-a", "127.0.0.1:%d" % port, "-c", str(count),
              "-T", str(seconds), *flags) as t:
        yield t.hear()
