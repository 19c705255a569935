"""Rows: mail from programs of this host, which call sendmail."""

import json
import subprocess

import tools
from row import Goal, Row, quiet


class Submit(Row):
    """Callers are part of the peer: what starting its program costs counts
    among what a call costs in all."""
    section, mode, name, alone = "Submitting", "hold", "sendmail", True
    title = "sendmail, 1 KiB, 20 callers"
    who = ("mta", "postfix")
    more = {"local_mail": True}
    goals = [Goal("x_postfix", ">=", 3), Goal("cpu_us", "<=", 3000, "µs",
                                              yard=None)]

    def call(self, peer, n, callers=20):
        done = subprocess.run(
            [tools.tool("callers"), "-c", str(callers), "-n", str(n), "-s",
             "1024", "--", *peer.sendmail(), "-f", "sender@client.test",
             "user@elsewhere.test"], stdout=subprocess.PIPE, check=True,
            preexec_fn=peer.become)
        said = json.loads(done.stdout)
        if said["errors"]:
            print("bench: callers: %s" % said)
        return said

    def measure(self, peer, env, plan):
        n = plan.count(self.call(peer, 100)["rate"])
        before, _ = quiet(peer.group)
        said = self.call(peer, n)
        after, _ = quiet(peer.group)
        return {"rate": said["rate"], "p50_ms": said["p50_us"] / 1e3,
                "p99_ms": said["p99_us"] / 1e3,
                "most_ms": said["most_us"] / 1e3,
                "messages": said["messages"],
                "cpu_us": (after - before) * 1e6 / max(1, said["messages"]),
                "load_us": 0}


ROWS = [Submit()]
