"""The server's side of AUTH, for scripted hosts: each mechanism, and what a
host can do wrong in it."""

import base64
import hashlib
import hmac
import os

from peer import DEFAULTS, Peer

USER, PASSWORD = "joe@src.test", "s3cret-pass,w=rd"
PLAIN = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str)
                            else data).decode()


class Refused(Exception):
    """With the reply to AUTH."""


class AuthPeer(Peer):
    """Takes mail only after a login.  Keeps what came in AUTH in `logins`, as
    (mechanism, what was decoded); `secret` may be changed under way."""

    def __init__(self, mechanisms="PLAIN", user=USER, secret=PASSWORD,
                 extensions=PLAIN, needs=True, **kwargs):
        self.mechanisms, self.user, self.secret = mechanisms, user, secret
        self.needs, self.logins, self.scram = needs, [], {}
        answers = dict(kwargs.pop("answers", None) or {})
        answers.setdefault("AUTH", self.auth)
        answers.setdefault("MAIL", self.mail)
        super().__init__(answers=answers, extensions=tuple(extensions) + (
            "AUTH " + mechanisms,) if mechanisms else extensions, **kwargs)

    def mail(self, session, _line):
        if self.needs and not getattr(session, "user", None):
            return "530 5.7.0 authentication required"
        return DEFAULTS["MAIL"]

    def challenge(self, session, text):
        """What the client answers, decoded."""
        session.sock.sendall(("334 %s\r\n" % b64(text)).encode())
        line = session.file.readline().decode().rstrip("\r\n")
        session.lines.append(line)
        if line == "*":
            raise Refused("501 5.5.2 cancelled")
        return base64.b64decode(line, validate=True)

    def auth(self, session, line):
        words = line.split(" ")
        name = words[1].upper()
        step = getattr(self, "auth_" + name.lower().replace("-", "_"), None)
        if step is None or name not in self.mechanisms.split():
            return "504 5.5.4 unknown mechanism"
        first = base64.b64decode(words[2], validate=True) \
            if len(words) > 2 else None
        try:
            step(session, first)
        except Refused as r:
            return str(r)
        session.user = self.user
        return "235 2.7.0 welcome"

    def check(self, name, *got):
        self.logins.append((name,) + tuple(got))
        if got != (self.user, self.secret):
            raise Refused("535 5.7.8 authentication credentials invalid")

    def auth_plain(self, session, first):
        if first is None:
            first = self.challenge(session, "")
        _, user, secret = first.split(b"\0")
        self.check("PLAIN", user.decode(), secret.decode())

    def auth_login(self, session, first):
        user = first if first is not None \
            else self.challenge(session, "Username:")
        secret = self.challenge(session, "Password:")
        self.check("LOGIN", user.decode(), secret.decode())

    def deny(self, session):
        """A token is refused in two steps."""
        answer = self.challenge(session, '{"status":"401","schemes":"bearer"}')
        self.logins.append(("denied", answer))

    def auth_xoauth2(self, session, first):
        if first is None:
            first = self.challenge(session, "")
        fields = first.decode().split("\1")
        assert fields[2:] == ["", ""], fields
        user = fields[0][len("user="):]
        token = fields[1][len("auth=Bearer "):]
        if (user, token) != (self.user, self.secret):
            self.deny(session)
        self.check("XOAUTH2", user, token)

    def auth_oauthbearer(self, session, first):
        if first is None:
            first = self.challenge(session, "")
        head, *fields = first.decode().split("\1")
        token = [f for f in fields if f.startswith("auth=")][0][12:]
        user = head.split(",")[1][2:].replace("=2C", ",").replace("=3D", "=")
        if (user, token) != (self.user, self.secret):
            self.deny(session)
        self.check("OAUTHBEARER", user, token)

    def auth_scram_sha_256(self, session, first):
        """self.scram: "nonce", "salt", "rounds", "final" in place of its
        own."""
        bare = first.decode()[3:]
        user, nonce = bare.split(",r=")
        user = user[2:].replace("=2C", ",").replace("=3D", "=")
        salt = os.urandom(16)
        both = nonce + b64(os.urandom(9))
        server = self.scram.get("first", "r=%s,s=%s,i=%d") % (
            both, b64(salt), self.scram.get("rounds", 4096))
        last = self.challenge(session, server).decode()
        without, proof = last.split(",p=")
        salted = hashlib.pbkdf2_hmac("sha256", self.secret.encode(), salt,
                                     self.scram.get("rounds", 4096))

        def mac(key, text):
            return hmac.new(key, text.encode(), "sha256").digest()
        message = ",".join([bare, server, without])
        key = mac(salted, "Client Key")
        signature = mac(hashlib.sha256(key).digest(), message)
        want = bytes(a ^ b for a, b in zip(key, signature))
        good = base64.b64decode(proof) == want and user == self.user
        self.logins.append(("SCRAM-SHA-256", user, good))
        if not good:
            raise Refused("535 5.7.8 authentication credentials invalid")
        final = self.scram.get("final", "v=" + b64(mac(mac(
            salted, "Server Key"), message)))
        if final is not None:
            answer = self.challenge(session, final)
            assert answer == b"", answer
