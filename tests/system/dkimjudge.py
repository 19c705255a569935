"""Keys for DKIM, and two judges of what was signed with them: dkimpy and
OpenDKIM."""

import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading

import dkim

from harness import DEADLINE, MTA

TESTMSG = "/usr/sbin/opendkim-testmsg"


class Keys:
    """Private keys in files, and their records as the DNS has them."""

    def __init__(self, directory):
        self.dir, self.records, self.settings = str(directory), {}, []

    def add(self, domain, selector, *flags):
        """Another key; its file."""
        path = os.path.join(self.dir, "%s.%s" % (selector, domain))
        self.make(path, domain, selector, *flags)
        self.settings.append("%s:%s:%s" % (domain, selector, path))
        return path

    def make(self, path, domain, selector, *flags):
        out = subprocess.run([MTA, "dkim", "keygen", domain, selector, path,
                              "--json", *flags], check=True,
                             stdout=subprocess.PIPE).stdout
        record = json.loads(out)
        self.records[record["name"]] = record["value"]

    def txt(self, name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        return self.records.get(name.rstrip("."), "").encode() or None


def signatures(data):
    """The tags of each DKIM-Signature field."""
    header = data.split(b"\r\n\r\n")[0] + b"\r\n"
    found = []
    for text in re.findall(rb"^DKIM-Signature:((?:.*\r\n)(?:[ \t].*\r\n)*)",
                           header, re.M):
        tags = {}
        for tag in re.sub(rb"\s", b"", text).decode().split(";"):
            key, _, value = tag.partition("=")
            tags[key] = value
        found.append(tags)
    return found


def judge(keys, data):
    """All signatures are good: by dkimpy one by one, by OpenDKIM the message.
    Returns them."""
    found = signatures(data)
    for i in range(len(found)):
        assert dkim.DKIM(data).verify(i, dnsfunc=keys.txt), (i, data)
    if found and os.geteuid() == 0:
        done = subprocess.run(
            ["unshare", "--net", "--mount", sys.executable, __file__,
             json.dumps(keys.records)], timeout=DEADLINE,
            input=data.replace(b"\r\n", b"\n"),  # as its input has to be
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0 and done.stdout == b"", done.stdout
    return found


# --- OpenDKIM asks the DNS of the system: in a namespace it is our own --------

def answer(records, query):
    """TXT, or no such name."""
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12:at + 5]
    text = records.get(".".join(labels).lower())
    if text is None:
        return query[:2] + struct.pack(">HHHHH", 0x8583, 1, 0, 0, 0) + question
    strings = b"".join(bytes([len(x)]) + x for x in (
        text[i:i + 255].encode() for i in range(0, len(text), 255)))
    return (query[:2] + struct.pack(">HHHHH", 0x8580, 1, 1, 0, 0) + question +
            struct.pack(">HHHIH", 0xc00c, 16, 1, 60, len(strings)) + strings)


def serve(s, records):
    while True:
        query, peer = s.recvfrom(4096)
        s.sendto(answer(records, query), peer)


def main():
    records = json.loads(sys.argv[1])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    path = "/tmp/resolv.conf.%d" % os.getpid()
    with open(path, "w") as f:
        f.write("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", path, "/etc/resolv.conf"], check=True)
    os.unlink(path)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 53))
    threading.Thread(target=serve, args=(s, records), daemon=True).start()
    return subprocess.run([TESTMSG]).returncode


if __name__ == "__main__":
    sys.exit(main())
