"""What happened to a message, from the history in the queue: `mta queue
show`, also of messages that are gone, also where the log is elsewhere."""

import json
import os
import subprocess

from harness import until
from peer import Peer


def submit(m, rcpts, sender="a@src.test", body=b"Subject: x\r\n\r\nhi\r\n"):
    with m.smtp() as s:
        s.sendmail(sender, rcpts, body)


def story(m, id):
    """Of all parts; in the object of the first record, if there is one."""
    lines = m.tool("queue", "show", id, "--json").stdout.splitlines()
    return json.loads(lines[0]).get("history", [])


def accepted(m):
    until("accepted", lambda: m.events("serve.accepted"))
    return m.events("serve.accepted")[0]["id"]


def system(mta, hop, **more):
    return mta("run", {"send.routes": ["x.test=[127.0.0.1]:%d" % hop.port],
                       "local.domains": ["here.test"], "local.users": "any",
                       "send.retry_min": "1s", "send.retry_max": "1s",
                       **more})


def test_every_attempt_of_a_message_that_is_gone(mta):
    with Peer(answers={"DOT": ["451 4.2.0 not yet",
                               "250 2.0.0 taken as 77"]}) as hop:
        m = system(mta, hop)
        submit(m, ["bob@x.test"])
        id = accepted(m)
        until("sent", lambda: hop.messages)
        until("gone", lambda: not m.queued())
        until("written", lambda: len(story(m, id)) == 2)
        deferred, delivered = story(m, id)
        text = m.tool("queue", "show", id).stdout.decode()
    assert deferred["event"] == "deferred" and deferred["code"] == 451
    assert deferred["next_attempt"] > deferred["time"]
    assert delivered["event"] == "delivered"
    assert "taken as 77" in delivered["reply"]
    assert delivered["address"] == "bob@x.test"
    assert delivered["address_tried"] == "127.0.0.1:%d" % hop.port
    assert delivered["sender"] == "a@src.test"
    assert delivered["attempts"] == 2 and delivered["session"]
    assert "delivered bob@x.test" in text and "taken as 77" in text
    assert "next attempt 20" in text


def test_the_way_through_both_queues(mta):
    """Handed over to the other queue, and what became of the notice."""
    with Peer(answers={"RCPT": "550 5.1.1 no such user"}) as hop:
        m = system(mta, hop)
        submit(m, ["ann@here.test", "bob@x.test"], sender="ann@here.test")
        id = accepted(m)
        until("gone", lambda: not m.queued())
        until("written", lambda: {"delivered", "bounced", "expanded"} <=
              {x["event"] for x in story(m, id)})
        events = [(x["event"], x.get("address")) for x in story(m, id)]
    assert ("delivered", "ann@here.test") in events
    assert ("bounced", "bob@x.test") in events
    assert "expanded" in [x[0] for x in events]
    [bounced] = [x for x in story(m, id) if x["event"] == "bounced"]
    assert bounced["notice"] and bounced["code"] == 550
    until("the notice", lambda: [x["event"] for x in story(
        m, bounced["notice"])] == ["delivered"])


def test_a_ring_of_its_size_and_none(mta):
    with Peer() as hop:
        m = system(mta, hop, **{"queue.history": "256K"})
        for _ in range(3):
            submit(m, ["u%d@x.test" % i for i in range(900)])
        until("gone", lambda: len(hop.messages) >= 27 and not m.queued())
        path = os.path.join(m.queue, "remote", "history")
        assert os.stat(path).st_size <= 260 * 1024
        assert os.stat(path).st_mode & 0o777 == 0o600
        ids = [x["id"] for x in m.events("serve.accepted")]
        # the first are forgotten
        until("written", lambda: len(story(m, ids[-1])) > 500)
        m.settings["queue.history"] = 0
        m.renew()
        os.unlink(path)
        submit(m, ["v@x.test"])
        until("sent", lambda: len(m.events("send.delivered", to="v@x.test")))
        assert not os.path.exists(path)


def test_without_an_event_it_says_where_to_look(mta):
    with Peer() as hop:
        m = system(mta, hop)
        done = m.tool("queue", "show", "0" * 16, check=False)
    assert done.returncode == 66
    assert "mta log --id" in done.stderr.decode()


def test_a_damaged_ring_stops_nothing(mta):
    with Peer() as hop:
        m = system(mta, hop)
        submit(m, ["a@x.test"])
        until("sent", lambda: len(hop.messages) == 1)
        m.stop()
        path = os.path.join(m.queue, "remote", "history")
        with open(path, "r+b") as f:
            f.write(os.urandom(8192))
        m.start()
        submit(m, ["b@x.test"])
        until("sent", lambda: len(hop.messages) == 2)
        id = m.events("serve.accepted")[-1]["id"]
        until("noted", lambda: story(m, id))
        m.stop()
        os.unlink(path)
        os.symlink("/dev/null", path)
        m.start()
        submit(m, ["c@x.test"])
        until("sent", lambda: len(hop.messages) == 3)
        until("told", lambda: m.events("queue.unrecorded"))
    assert subprocess.run(["stat", "-L", "-c", "%F", path],
                          stdout=subprocess.PIPE, check=True).stdout \
        == b"character special file\n"


def test_what_an_operator_did(mta):
    with Peer(answers={"RCPT": "450 4.2.0 not yet"}) as hop:
        m = system(mta, hop, **{"send.retry_min": "1h", "send.retry_max": "1h"})
        submit(m, ["a@x.test", "b@x.test"])
        id = accepted(m)
        until("tried", lambda: len(m.events("send.deferred")) == 2)
        for verb in ("hold", "release", "hold", "delete"):
            m.tool("queue", verb, id)
        until("noted", lambda: "deleted" in [x["event"]
                                             for x in story(m, id)])
        done = [x for x in story(m, id) if x["event"] != "deferred"]
        text = m.tool("queue", "show", id).stdout.decode()
    assert [x["event"] for x in done] == ["held", "released", "held",
                                          "deleted"]
    assert all(x["nrcpt"] == 2 and x["by"] == "uid %d" % os.geteuid()
               for x in done)
    assert "deleted 2 recipients by uid %d\n" % os.geteuid() in text
