"""Certificates for tests: an authority of our own and what it signs, by
openssl(1).  Each is one file with key and certificate, for ssl.SSLContext and
for servers alike.
"""

import os
import subprocess
import ssl
import tempfile


def openssl(*args):
    subprocess.run(["openssl"] + list(args), check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Authority:
    """with Authority() as ca: ... ca.path, ca.issue("mx.test") ..."""

    def __init__(self):
        self.home = tempfile.TemporaryDirectory(prefix="pki-")
        self.dir = self.home.name
        os.chmod(self.dir, 0o755)
        self.key = os.path.join(self.dir, "ca.key")
        self.path = os.path.join(self.dir, "ca.pem")
        self.n = 0
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key,
                "-out", self.path, "-days", "30", "-subj", "/CN=test CA")

    def issue(self, *names, days=10, self_signed=False, bits=0):
        """The file of a certificate for these names; days -1: expired; bits:
        with a key of RSA."""
        self.n += 1
        at = os.path.join(self.dir, "%d" % self.n)
        with open(at + ".ext", "w", encoding="ascii") as f:
            f.write("subjectAltName=%s\n" % ",".join(
                ("IP:" if n[0].isdigit() else "DNS:") + n for n in names))
        kind = (["rsa:%d" % bits] if bits else
                ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        openssl("req", "-newkey", *kind, "-nodes", "-keyout", at + ".key", "-out", at + ".csr",
                "-subj", "/CN=test")
        signer = (["-signkey", at + ".key"] if self_signed else
                  ["-CA", self.path, "-CAkey", self.key, "-CAcreateserial"])
        openssl("x509", "-req", "-in", at + ".csr", "-out", at + ".crt",
                "-days", str(days), "-extfile", at + ".ext", *signer)
        with open(at + ".pem", "wb") as out:
            for part in (".key", ".crt"):
                with open(at + part, "rb") as f:
                    out.write(f.read())
        return at + ".pem"

    def context(self, *names, **how):
        """The same for a server of our own."""
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if how.get("bits", 2048) < 2048:
            c.set_ciphers("DEFAULT:@SECLEVEL=0")
        c.load_cert_chain(self.issue(*names, **how))
        return c

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.home.cleanup()
