"""A remote MX host of our own making, for tests of the sender.

    with Peer() as mx:
        ... mx.host, mx.port ...
        until("mail", lambda: mx.messages)

It keeps what it gets and counts its connections.  To misbehave it is given
answers: a dict from a verb (GREETING EHLO HELO MAIL RCPT DATA DOT BDAT RSET QUIT)
to a reply "451 later", to a list of replies that are used up one by one, to
None (close without a word) or to a function (session, line) -> reply.

With `tls`, an ssl.SSLContext, it offers STARTTLS and has it; session.tls is
then what was agreed on.  With `tls_first` too, TLS begins before the greeting.
"""

import socket
import threading

from harness import free_port

DEFAULTS = {"GREETING": "220 peer.test ESMTP", "HELO": "250 peer.test",
            "MAIL": "250 2.1.0 ok", "RCPT": "250 2.1.5 ok",
            "DATA": "354 go", "DOT": "250 2.0.0 taken",
            "BDAT": "250 2.0.0 taken", "RSET": "250 ok",
            "STARTTLS": "220 2.0.0 go",
            "QUIT": "221 bye"}


class Message:
    def __init__(self, sender, rcpts, data, session):
        self.sender, self.rcpts = sender, rcpts
        self.data, self.session = data, session

    def __repr__(self):
        return "Message(%r, %r, %d bytes)" % (self.sender, self.rcpts,
                                              len(self.data))


class Secured:
    """What a handshake came to."""

    def __init__(self, sock, names):
        self.version, self.cipher = sock.version(), sock.cipher()[0]
        self.resumed = sock.session_reused
        self.sni = names[0] if names else None


class Session:
    def __init__(self, peer, sock, number):
        self.peer, self.sock, self.number = peer, sock, number
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = sock.makefile("rb")
        self.sender, self.rcpts, self.lines = None, [], []
        self.tls = None
        self.messages = 0

    def reply(self, verb, line=""):
        """Say what the test wants; False: close."""
        text = self.peer.answer(verb, self, line)
        if (verb in ("DATA", "BDAT") and not self.rcpts and text
                and text[0] in "23"):
            text = "554 5.5.1 no valid recipients"
        if text is None:
            return None
        self.sock.sendall(text.encode() + b"\r\n")
        return text

    def data(self):
        body = bytearray()
        while True:
            line = self.file.readline()
            if not line:
                return None
            if line == b".\r\n":
                return bytes(body)
            body += line[1:] if line.startswith(b".") else line

    def chunk(self, line):
        """RFC 3030; the whole text in one chunk, as mta sends it."""
        size = int(line.split()[1])
        assert line.split()[2:] == ["LAST"], line
        data = self.file.read(size)
        return data if len(data) == size else None

    def take(self, verb, data):
        if data is None:
            return False
        text = self.reply(verb, data)
        if text is not None and text[0] == "2":
            self.messages += 1
            self.peer.keep(Message(self.sender, self.rcpts, data,
                                   self.number))
        self.sender, self.rcpts = None, []
        return text is not None and not text.startswith("421")

    def secure(self):
        """RFC 3207: what was said in clear is forgotten."""
        names = []

        def note(_sock, name, _context):
            names.append(name)
        context = self.peer.tls
        context.sni_callback = note
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.file = self.sock.makefile("rb")
        self.tls = Secured(self.sock, names)
        self.sender, self.rcpts = None, []

    def command(self, line):
        verb = line.split(" ", 1)[0].split(":", 1)[0].upper()
        if verb == "BDAT" and "CHUNKING" in self.peer.extensions:
            return self.take(verb, self.chunk(line))
        text = self.reply(verb, line)
        if text is None:
            return False
        if verb == "MAIL" and text[0] == "2":
            self.sender = line
        elif verb == "RCPT" and text[0] == "2":
            self.rcpts.append(line)
        elif verb == "STARTTLS" and text[0] == "2" and self.peer.tls:
            self.secure()
        elif verb == "RSET":
            self.sender, self.rcpts = None, []
        elif verb == "DATA" and text[0] == "3":
            return self.take("DOT", self.data())
        return verb != "QUIT" and not text.startswith("421")

    def run(self):
        if self.peer.tls_first:
            self.secure()
        text = self.reply("GREETING")
        if text is None or text.startswith("421"):
            return
        while True:
            line = self.file.readline()
            if not line:
                return
            line = line.decode("utf-8", "replace").rstrip("\r\n")
            self.lines.append(line)
            if not self.command(line):
                return


def established(session):
    """Has the other side not closed yet?  Our thread may see that later."""
    if session.sock.family == socket.AF_UNIX:
        return True
    try:
        info = session.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:  # our thread closes it, or hands it over to TLS
        return False
    return info[0] == 1  # TCP_ESTABLISHED


class Peer:
    def __init__(self, host="127.0.0.1", port=0, answers=None,
                 extensions=("PIPELINING", "8BITMIME", "SIZE 100000000",
                             "ENHANCEDSTATUSCODES"), tls=None,
                 tls_first=False):
        self.tls, self.tls_first = tls, tls_first
        self.host, self.port = host, port or free_port(host)
        self.answers, self.extensions = dict(answers or {}), extensions
        self.lock = threading.Lock()
        self.messages, self.sessions = [], []
        self.open, self.most = set(), 0  # connections at once
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.host, self.port))
        self.listener.listen(50)
        threading.Thread(target=self.accept, daemon=True).start()

    def default(self, verb, session=None):
        if verb == "EHLO":
            offered = list(self.extensions)
            if self.tls and session and not session.tls:
                offered.append("STARTTLS")
            return "\r\n".join(["250-peer.test"] + [
                "250-" + x for x in offered] + ["250 OK"])
        if verb == "STARTTLS" and not self.tls:
            return "502 5.5.1 no TLS here"
        return DEFAULTS.get(verb, "502 what?")

    def answer(self, verb, session, line):
        with self.lock:
            default = self.default(verb, session)
            text = self.answers.get(verb, default)
            if isinstance(text, list):
                text = text.pop(0) if text else default
        return text(session, line) if callable(text) else text

    def session(self, sock, number):
        return Session(self, sock, number)

    def keep(self, message):
        with self.lock:
            self.messages.append(message)

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                s = self.session(sock, len(self.sessions) + 1)
                self.sessions.append(s)
                self.open.add(s)
                self.most = max(self.most, sum(map(established, self.open)))
            threading.Thread(target=self.serve, args=(s,),
                             daemon=True).start()

    def serve(self, s):
        try:
            s.run()
        except OSError:
            pass
        finally:
            with self.lock:
                self.open.discard(s)
            s.file.close()
            s.sock.close()

    def lines(self):
        """All commands of all sessions, one list a session."""
        with self.lock:
            return [list(s.lines) for s in self.sessions]

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
