"""Which places of the program call what can fail: from its disassembly.

The calls of the queue, the mailboxes and the log go through base/fs.c, one
function for each; there the place is the caller of that function."""

import bisect
import re
import subprocess

from page import CALLS

# Functions of base/fs.c and the call of the system behind each.
WRAPPERS = {"fs_open": "open", "fs_close": "close",
            "fs_pwritev_all": "pwritev", "fs_pwrite_all": "pwritev",
            "fs_write": "write", "fs_write_all": "write", "fs_pread": "pread",
            "fs_pread_all": "pread", "fs_allocate": "posix_fallocate",
            "fs_truncate": "ftruncate", "fs_fdatasync": "fdatasync",
            "fs_fsync": "fsync", "fs_syncfs": "syncfs",
            "sys_syncfs": "syncfs", "fs_rename": "rename",
            "fs_unlink": "unlink", "fs_mkdir": "mkdir", "fs_lock": "flock",
            "fs_openat": "openat", "fs_mkdirat": "mkdirat",
            "fs_renameat": "renameat", "fs_rename_new": "renameat2",
            "fs_unlinkat": "unlinkat", "sys_openat": "openat",
            "sys_renameat": "renameat", "sys_unnamed": "openat",
            "sys_name": "linkat",
            "fs_sync_dir": "fsync", "fs_is_same": "statx", "sys_open": "open",
            "sys_allocate": "posix_fallocate"}
# More than one call can fail in it.
ALSO = {"fs_sync_dir": ("open", "close")}


class Places:
    def __init__(self, program):
        self.program, self.cache = program, {}
        text = subprocess.run(["objdump", "-d", "--no-show-raw-insn",
                               program], stdout=subprocess.PIPE,
                              check=True).stdout.decode()
        self.starts, self.names, self.static = [], [], {}
        inside = None
        for line in text.splitlines():
            head = re.match(r"([0-9a-f]+) <([\w.@]+)>:", line)
            if head:
                inside = head.group(2).split(".")[0]
                self.starts.append(int(head.group(1), 16))
                self.names.append(inside)
            elif inside not in WRAPPERS:
                self.note(line)

    def note(self, line):
        """The address behind a call is what a stack holds."""
        m = re.match(r"\s*([0-9a-f]+):\s+call\s+[0-9a-f]+ <([\w@]+)>", line)
        if not m:
            return
        name = m.group(2)
        if name.endswith("@plt") and name[:-4] in CALLS:
            calls = [name[:-4]]
        elif name in WRAPPERS:
            calls = [WRAPPERS[name], *ALSO.get(name, ())]
        elif name == "strdup@plt":
            calls = ["malloc"]
        else:
            return
        for call in calls:
            self.static[(call, int(m.group(1), 16) + 5)] = True

    def function(self, address):
        i = bisect.bisect_right(self.starts, address - 1) - 1
        return self.names[i] if i >= 0 else "?"

    def place(self, stack):
        """The first address outside of the wrappers."""
        for a in stack:
            if self.function(a) not in WRAPPERS:
                return a
        return stack[-1] if stack else 0

    def text(self, address):
        """function (file:line)"""
        if address not in self.cache:
            out = subprocess.run(
                ["addr2line", "-s", "-e", self.program, hex(address - 1)],
                stdout=subprocess.PIPE).stdout.decode().split()
            self.cache[address] = "%s (%s)" % (self.function(address),
                                               out[0] if out else "?")
        return self.cache[address]

    def story(self, stack):
        return " < ".join(self.text(a) for a in stack[:5])
