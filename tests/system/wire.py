"""The other side of smuggling tests: what SMTP means, written down a second
time, as plainly as possible, and a next hop that keeps every octet.

Nothing here shares a line with the code under test.
"""

import re
import socket
import threading

END = b"\r\n.\r\n"


# --- the reference ----------------------------------------------------------

def cut_data(stream):
    """(data, rest): data up to and with the CRLF before the final dot; None
    when the stream never ends."""
    at = (b"\r\n" + stream).find(END)
    if at < 0:
        return None, b""
    return stream[:at], stream[at + 3:]


def decode(data, normalize=False):
    """What the server has to make of the data of one message: ("250", text)
    or (code, reason)."""
    lines = data.split(b"\r\n")
    lines = [x[1:] if x[:1] == b"." else x for x in lines]
    if any(b"\r" in x or b"\n" in x for x in lines):
        if not normalize:
            return "550", "bare"
        lines = [re.sub(rb"[\r\n]", b"\r\n", x) for x in lines]
    text = b"\r\n".join(lines)
    if re.search(rb"(^|\r\n)\0+\.", text):
        return "550", "nul"
    return "250", text


def as_body(text):
    """The text behind a field of somebody else: an empty line keeps apart
    what does not begin with a field of its own."""
    apart = text and not re.match(rb"[!-9;-~]+[ \t]*:|\r\n", text[:126])
    return b"\r\n" + text if apart else text


def stuff(text):
    return re.sub(rb"(^|(?<=\r\n))\.", b"..", text)


# Readers that published work on smuggling found in the wild: what each takes
# for a line, for the next hop that is not as strict as we are.
LENIENT = {
    "as it is": lambda s: s.split(b"\r\n"),
    "LF is enough": lambda s: [x.rstrip(b"\r") for x in s.split(b"\n")],
    "CR is enough": lambda s: re.split(rb"\r\n|\r|\n", s),
    "NULs dropped": lambda s: s.replace(b"\0", b"").split(b"\r\n"),
    "NULs dropped, LF or CR": lambda s: re.split(rb"\r\n|\r|\n",
                                                 s.replace(b"\0", b"")),
    "CRs dropped": lambda s: s.replace(b"\r", b"").split(b"\n"),
}


def ends_seen_by_others(data):
    """How many ends of data each of them finds in data that we sent (with
    its real end)."""
    return {name: lines(data).count(b".") for name, lines in LENIENT.items()}


# --- a next hop -------------------------------------------------------------

class Recorder:
    """Takes all mail, strictly; keeps the raw data of each message with the
    octets that ended it."""

    def __init__(self, extensions=("PIPELINING", "8BITMIME")):
        self.extensions = extensions
        self.taken = {}  # recipient's local part -> [data]
        self.sessions = 0
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(50)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.sessions += 1
            threading.Thread(target=self.serve, args=(sock,),
                             daemon=True).start()

    def serve(self, sock):
        try:
            with sock:
                self.talk(sock)
        except OSError:
            pass

    def talk(self, sock):
        stream, commands = b"", []
        sock.sendall(b"220 recorder ESMTP\r\n")

        def up_to(end, start=b""):
            nonlocal stream
            while (start + stream).find(end) < 0:
                more = sock.recv(1 << 16)
                if not more:
                    raise OSError("closed")
                stream += more
            at = (start + stream).find(end) + len(end) - len(start)
            head, stream = stream[:at], stream[at:]
            return head
        while True:
            line = up_to(b"\r\n")
            commands.append(line)
            verb = line[:4].upper()
            if verb == b"EHLO":
                sock.sendall(b"".join(b"250-%s\r\n" % x.encode() for x in
                                      self.extensions) + b"250 ok\r\n")
            elif verb == b"DATA":
                sock.sendall(b"354 go\r\n")
                data = up_to(END, b"\r\n")
                for c in commands:
                    rcpt = re.match(rb"RCPT TO:<([^@]+)@", c)
                    if rcpt:
                        self.taken.setdefault(rcpt.group(1),
                                              []).append(data)
                commands = []
                sock.sendall(b"250 taken\r\n")
            elif verb == b"QUIT":
                sock.sendall(b"221 bye\r\n")
                return
            else:
                sock.sendall(b"250 ok\r\n")

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
