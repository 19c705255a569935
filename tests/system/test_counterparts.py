"""Short runs of the scripts of tests/counterparts (`make counterparts` is a
long one)."""

import os
import subprocess
import sys

import pytest

from harness import MTA, ROOT, UNDER_VALGRIND

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or UNDER_VALGRIND,
                       reason="only root can run them"),
    pytest.mark.skipif(not os.path.exists(ROOT + "/build/peers/done"),
                       reason="no tests/bench/unpack.sh build/peers")]


def run(script, *args):
    path = os.path.join(ROOT, "tests", "counterparts", script)
    done = subprocess.run([sys.executable, path, *args], text=True,
                          check=False, env=dict(os.environ, MTA=MTA),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def test_opensmtpd_exim_and_postfix_with_pauses_and_kills():
    run("counterparts.py", "--messages", "600", "--kills", "3")


def test_notices_through_exim():
    run("exim_dsn.py")


def test_opensmtpd_relays_to_us_over_tls():
    run("opensmtpd_tls.py")
