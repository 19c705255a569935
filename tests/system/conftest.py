"""Fixtures: `mta` makes as many systems as a test asks for and cleans up."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import Mta  # noqa: E402  (the path must be set first)


@pytest.fixture
def mta(request):
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
