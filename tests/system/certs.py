"""Certificates for tests, made by openssl(1)."""

import os
import subprocess


def openssl(*args):
    done = subprocess.run(["openssl", *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout


def make(dir, name, kind="ec", days=30, names=None, tag=""):
    """A certificate of its own authority; returns the files of certificate
    and key.  names: all that it has besides the subject, as DNS names."""
    base = os.path.join(dir, name + "-" + kind + tag)
    cert, key = base + ".crt", base + ".key"
    new = {"ec": ["-newkey", "ec", "-pkeyopt",
                  "ec_paramgen_curve:P-256"],
           "rsa": ["-newkey", "rsa:2048"]}[kind]
    alt = ",".join("DNS:" + n for n in names or [name])
    openssl("req", "-x509", *new, "-nodes", "-sha256", "-keyout", key, "-out",
            cert, "-days", str(days), "-subj", "/CN=" + name, "-addext",
            "subjectAltName=" + alt)
    return cert, key


def expired(dir, name):
    """One whose time is over."""
    cert, key = make(dir, name, tag="-expired")
    openssl("x509", "-in", cert, "-signkey", key, "-days", "-1", "-out",
            cert + ".new")
    os.rename(cert + ".new", cert)
    return cert, key


def fingerprint(cert):
    """SHA-256 of the first certificate in a file, as hex."""
    text = openssl("x509", "-in", cert, "-noout", "-fingerprint", "-sha256")
    return text.decode().strip().split("=")[1].replace(":", "").lower()
