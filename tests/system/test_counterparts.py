"""A short run of tests/counterparts/counterparts.py (`make counterparts`)."""

import os
import subprocess
import sys

import pytest

from harness import MTA, ROOT, UNDER_VALGRIND

SCRIPT = os.path.join(ROOT, "tests", "counterparts", "counterparts.py")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or UNDER_VALGRIND,
                    reason="only root can run them")
@pytest.mark.skipif(not os.path.exists(ROOT + "/build/peers/done"),
                    reason="no tests/bench/unpack.sh build/peers")
def test_opensmtpd_exim_and_postfix_with_pauses_and_kills():
    done = subprocess.run([sys.executable, SCRIPT, "--messages", "600",
                           "--kills", "3"], text=True, check=False,
                          env=dict(os.environ, MTA=MTA),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
