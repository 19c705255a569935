"""What happened to a message, from the history in the queue: `mta queue
show`, also of messages that are gone, also where the log is elsewhere."""

import json
import os
import subprocess

import pytest

from harness import until
from peer import Peer
from test_full import Ballast, small_disk


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


def events_of(m, id):
    return [x["event"] for x in story(m, id)]


def waiting(mta, hop, **more):
    m = system(mta, hop, **{"send.retry_min": "1h", "send.retry_max": "1h",
                            "queue.history": "512K", **more})
    submit(m, ["a@x.test"])
    id = accepted(m)
    until("noted", lambda: events_of(m, id) == ["deferred"])
    return m, id


def test_a_ring_of_another_size(mta):
    """It is begun anew when the setting has changed, and by no command that has
    other settings."""
    with Peer(answers={"RCPT": "450 4.2.0 not yet"}) as hop:
        m, id = waiting(mta, hop)
        m.stop()
        m.tool("queue", "hold", id, "-o", "queue.history=1M")
        m.tool("queue", "release", id, "-o", "queue.history=0")
        assert events_of(m, id) == ["deferred", "held", "released"]
        m.start()
        until("tried", lambda: events_of(m, id)[3:] == ["deferred"])
        m.settings["queue.history"] = "1M"
        m.renew()
        until("the next sender", lambda: len(m.events("send.start")) == 3)
        m.tool("queue", "hold", id)
        until("begun anew", lambda: events_of(m, id) == ["held"])
        m.settings["queue.history"] = 0
        m.renew()
        until("the next sender", lambda: len(m.events("send.start")) == 4)
        m.tool("queue", "release", id)
        until("tried", lambda: len(m.events("send.deferred")) >= 3)
        assert events_of(m, id) == ["held"]  # of the ring that is there


@pytest.mark.parametrize("what", ["fill", "fill_inodes"])
def test_a_ring_begun_on_a_full_disk(what):
    """It is said once; mail goes on, and so does the ring when there is
    room."""
    with Peer(answers={"RCPT": "450 4.2.0 not yet"}) as hop, \
            small_disk({"send.routes": ["x.test=[127.0.0.1]:%d" % hop.port],
                        "send.retry_min": "1s", "send.retry_max": "1s",
                        "log.level": "info"}) as m:
        submit(m, ["a@x.test"])
        id = accepted(m)
        until("noted", lambda: "deferred" in events_of(m, id))
        m.stop()
        path = os.path.join(m.queue, "remote", "history")
        with open(path, "w"):  # begun, and no more
            pass
        ballast = Ballast(m)
        getattr(ballast, what)()
        m.start()
        n = len(hop.sessions)
        until("it is tried", lambda: len(hop.sessions) > n)
        assert os.stat(path).st_size == 0 or what == "fill_inodes"
        ballast.drop()
        if what == "fill":
            until("said", lambda: m.events("queue.unrecorded",
                                           queue="remote"))
        until("noted again", lambda: "deferred" in events_of(m, id))
        assert len(m.events("queue.unrecorded", queue="remote")) == (
            what == "fill")
        hop.answers.clear()
        until("sent", lambda: len(hop.messages) == 1)
        until("noted", lambda: "delivered" in events_of(m, id))


# --- from the log ------------------------------------------------------------

def log_of(m, id):
    lines = m.tool("queue", "show", id, "--json").stdout.splitlines()
    return json.loads(lines[-1]).get("log")


def test_where_a_message_that_is_gone_came_from(mta):
    """The record had it; then the log has, if it is a file."""
    with Peer(answers={"RCPT": "450 4.2.0 not yet"}) as hop:
        m, id = waiting(mta, hop)
        assert log_of(m, id) is None  # all of it is in the queue
        hop.answers.clear()
        m.tool("queue", "flush")
        until("gone", lambda: hop.messages and not m.queued())
        until("written", lambda: "delivered" in events_of(m, id))
        until("logged", lambda: m.events("send.delivered"))
        assert log_of(m, id) is None  # the record is there with its segment
        m.stop()  # the writer ends it
        m.start()
        lines = until("its segment is gone", lambda: log_of(m, id))
        text = m.tool("queue", "show", id).stdout.decode()
        sid = m.events("serve.accepted")[0]["sid"]
        [client] = [x for x in lines if " serve.connect " in x and sid in x]
        assert " client=127.0.0.1 " in client
        assert [x for x in lines if " send.delivered " in x and id in x]
        head, _, rest = text.partition("    log:\n")
        assert "deferred a@x.test" in head and "    " + client + "\n" in rest
        there = m.tool("queue", "show", id, "-o", "log.file=-").stdout.decode()
        assert there == head
        none = m.tool("queue", "show", id, "-o", "log.file=/no/log")
        assert none.stdout.decode() == head
        assert b"/no/log" in none.stderr


def test_attempts_that_the_ring_has_forgotten(mta):
    """They are in the log; also without a ring."""
    with Peer(answers={"RCPT": "450 4.2.0 not yet"}) as hop:
        m, id = waiting(mta, hop, **{"queue.history": "256K"})
        submit(m, ["u%d@x.test" % i for i in range(900)])
        submit(m, ["v%d@x.test" % i for i in range(900)])
        until("forgotten", lambda: events_of(m, id) == [])
        assert len([x for x in log_of(m, id)
                    if " send.deferred " in x and "to=a@x.test" in x]) == 1
        m.settings["queue.history"] = 0
        m.renew()
        os.unlink(os.path.join(m.queue, "remote", "history"))
        assert [x for x in log_of(m, id) if " send.deferred " in x]
