"""What sanitizers and valgrind say, of every process that a test starts.

They write each report into a file below a directory of this run, also for
processes whose stderr nobody reads and for those that are killed; a test
after which there is such a file has failed.
"""

import glob
import os
import re
import shutil
import tempfile

# valgrind does not know Landlock and seccomp, and answers ENOSYS.
UNKNOWN_CALLS = re.compile(
    r"(--\d+--) WARNING: unhandled \S+ syscall: (?:317|444)\n"
    r"(?:\1 (?:You may|Read the|Nevertheless|it at) .*\n)*")


class Reports:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="mta-reports-")
        os.chmod(self.dir, 0o1777)  # servers change their user

    def environment(self):
        """Options of all kinds; a program heeds those of its own."""
        where = "log_path=" + os.path.join(self.dir, "report")
        return {"ASAN_OPTIONS": where + ":detect_leaks=1",
                "UBSAN_OPTIONS": where + ":print_stacktrace=1",
                "TSAN_OPTIONS": where + ":exitcode=66:second_deadlock_stack=1",
                "VALGRIND_LOGS": self.dir}

    def take(self):
        """All that was said since the last look."""
        said = []
        for path in sorted(glob.glob(os.path.join(self.dir, "*"))):
            with open(path, errors="replace") as f:
                said.append(UNKNOWN_CALLS.sub("", f.read()))
            os.unlink(path)
        return "".join(said)

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)
