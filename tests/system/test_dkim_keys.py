"""mta dkim: keys and their DNS records."""

import json
import os
import re
import subprocess

import pytest

from harness import DEADLINE, MTA


def dkim(*argv):
    done = subprocess.run([MTA, "dkim", *map(str, argv)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=DEADLINE, encoding="utf-8")
    return done.returncode, done.stdout, done.stderr


def strings(text):
    return re.findall(r'"([^"]*)"', text)


def public(path):
    """As openssl has it, a SubjectPublicKeyInfo in base64."""
    pem = subprocess.run(["openssl", "pkey", "-in", path, "-pubout"],
                         check=True, stdout=subprocess.PIPE).stdout.decode()
    return "".join(pem.split("\n")[1:-2])


def test_an_rsa_key(tmp_path):
    path = tmp_path / "key"
    code, out, err = dkim("keygen", "Example.COM", "s1", path)
    assert (code, err) == (0, "")
    assert out.startswith("s1._domainkey.example.com. IN TXT (")
    parts = strings(out)
    assert len(parts) == 2 and all(len(x) <= 255 for x in parts)
    assert "".join(parts) == "v=DKIM1; k=rsa; p=" + public(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    code, out, err = dkim("record", path)
    assert (code, err) == (0, "") and strings(out) == parts


def test_an_ed25519_key(tmp_path):
    """Of SubjectPublicKeyInfo the record has the last 32 octets."""
    path = tmp_path / "key"
    code, out, err = dkim("keygen", "--ed25519", "--json", "example.com",
                          "s.2", path)
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert record["name"] == "s.2._domainkey.example.com"
    assert record["value"].startswith("v=DKIM1; k=ed25519; p=")
    p = record["value"].split("p=")[1]
    assert public(path).endswith(p[-40:]) and len(p) == 44
    assert json.loads(dkim("record", "--json", path)[1]) == {
        "value": record["value"]}


def test_no_file_is_overwritten(tmp_path):
    path, link = tmp_path / "key", tmp_path / "link"
    path.write_text("mine")
    os.symlink(tmp_path / "elsewhere", link)
    for at in (path, link):
        code, out, err = dkim("keygen", "example.com", "s", at)
        assert code != 0 and out == "" and "File exists" in err
    assert path.read_text() == "mine" and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("argv,said", [
    (["keygen", "a..b", "s", "f"], "domain 'a..b' has an empty label"),
    (["keygen", "a.b", "s s", "f"], "selector 's s' has a blank in it"),
    (["keygen", "a.b", "s"], "write keygen DOMAIN SELECTOR FILE"),
    (["record", "a", "b"], "write keygen DOMAIN SELECTOR FILE"),
    (["record", "/does/not/exist"], "/does/not/exist: No such file"),
    (["record", "/etc/hostname"], "/etc/hostname: no private key (PEM) in it"),
    (["forget", "a"], "write keygen DOMAIN SELECTOR FILE"),
])
def test_mistakes(argv, said, tmp_path):
    done = subprocess.run([MTA, "dkim", *argv], cwd=tmp_path,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=DEADLINE)
    assert done.returncode != 0 and done.stdout == b""
    assert said in done.stderr.decode()
    assert os.listdir(tmp_path) == []
