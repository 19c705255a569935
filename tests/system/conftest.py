"""Fixtures: `mta` makes as many systems as a test asks for and cleans up;
`reports` looks at what sanitizers and valgrind said after each test."""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import DEADLINE, Mta  # noqa: E402  (the path must be set first)
from reports import Reports  # noqa: E402


def pytest_configure(config):
    # Who starts us in the background has us ignore SIGINT, and so would what
    # we start, until it has a handler of its own.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "slow: waits long for something that "
                            "takes its time; begun first")
    config.addinivalue_line("markers", "memory: runs under valgrind in "
                            "make tests, too")
    config.addinivalue_line("markers", "limit(seconds): the time it may take, "
                            "where it makes what others use as well")


def pytest_collection_modifyitems(config, items):
    if "TEST_SHORT" in os.environ:
        keep_few(config, items)
    deal_out(config, items)


def keep_few(config, items):
    """Of each test's parameters the first and the last, which have no value in
    common where there are several: for runs beside one that tries all."""
    ids = [i.nodeid.partition("[")[0] for i in items]
    first = {name: n for n, name in reversed(list(enumerate(ids)))}
    last = {name: n for n, name in enumerate(ids)}
    kept = {*first.values(), *last.values()}
    config.hook.pytest_deselected(
        items=[item for n, item in enumerate(items) if n not in kept])
    items[:] = [item for n, item in enumerate(items) if n in kept]


def deal_out(config, items):
    """Each of n workers is first given a run of a quarter of its share: deal
    the slow ones out among them, or one worker would have them all."""
    n = getattr(config, "workerinput", {}).get("workercount", 1)
    first = max(len(items) // (4 * n), 2)
    slow = [i for i in items if i.get_closest_marker("slow")]
    rest = [i for i in items if not i.get_closest_marker("slow")]
    items.clear()
    for worker in range(n):
        own = slow[worker::n]
        more = max(first - len(own), 0)
        items += own + rest[:more]
        rest = rest[more:]
    items += rest


@pytest.fixture(scope="session")
def all_reports():
    r = Reports()
    os.environ.update(r.environment())
    yield r
    said = r.take()  # of a server that many tests have shared
    r.remove()
    assert not said, said


@pytest.fixture(autouse=True)
def reports(all_reports):
    yield
    said = all_reports.take()
    assert not said, said


class TooLong(BaseException):
    """Of no kind that a test expects."""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A test that does not end fails, with the place where it hangs.  Each
    wait has a deadline of its own, so none needs ten of them."""
    mark = item.get_closest_marker("limit")
    limit = max([LIMIT, *(mark.args if mark else [])])

    def stop(_signo, _frame):
        raise TooLong("%s: not over within %g s" % (item.nodeid, limit))
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit, 10)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


LIMIT = min(10 * DEADLINE, 600)


@pytest.fixture
def mta(request, reports):
    made = []

    def make(*args, **kwargs):
        m = Mta(*args, **kwargs)
        made.append(m)
        return m
    yield make
    failed = getattr(request.node, "failed", False)
    for m in made:
        m.__exit__(AssertionError if failed else None)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call" and outcome.get_result().failed:
        item.failed = True
