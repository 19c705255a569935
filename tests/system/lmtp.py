"""An LMTP host (RFC 2033) of our own making: the peer of peer.py with a reply
for each recipient, on a port or on a Unix socket.

`answers` may have FINAL: a function (session, rcpt) -> reply for the end of
the text, where rcpt is the address; a list of replies; or one reply.
"""

import os
import re
import socket
import threading

import peer


class Session(peer.Session):
    def take(self, verb, data):
        if data is None:
            return False
        taken = []
        for rcpt in self.rcpts:
            text = self.peer.answer("FINAL", self, re.search("<(.*?)>",
                                                             rcpt).group(1))
            if text is None:
                return False
            self.sock.sendall(text.encode() + b"\r\n")
            if text[0] == "2":
                taken.append(rcpt)
            if text.startswith("421"):
                return False
        if taken:
            self.messages += 1
            self.peer.keep(peer.Message(self.sender, taken, data,
                                        self.number))
        self.sender, self.rcpts = None, []
        return True


class LmtpPeer(peer.Peer):
    """path: listen on that Unix socket in the place of a port."""

    def __init__(self, path=None, **more):
        self.path = path
        super().__init__(**more)
        if path is not None:
            self.listener.close()
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(path)
            os.chmod(path, 0o777)
            self.listener.listen(50)
            threading.Thread(target=self.accept, daemon=True).start()

    def default(self, verb, session):
        if verb == "LHLO":
            return super().default("EHLO", session)
        if verb in ("EHLO", "HELO"):
            return "500 5.5.1 this is LMTP"
        return ("250 2.0.0 taken" if verb == "FINAL"
                else super().default(verb, session))

    def session(self, sock, number):
        return Session(self, sock, number)
