"""Delivery status notifications, read back by Python's email package."""

import email
import email.policy
import os
import subprocess

import pytest

TOOL = os.path.join(os.environ.get("TOOLS", "build/tools"), "dsn_sample")

ORIGINAL = (b"Received: from a by b; date\r\n"
            b"From: s@here.example\r\n"
            b"Subject: hello\r\n"
            b"\r\n"
            b"The body.\r\n--=_mta_0\r\n")


def sample(case, original=ORIGINAL):
    """The notice, checked for what holds in every case."""
    raw = subprocess.run([TOOL, case], input=original, check=True,
                         stdout=subprocess.PIPE).stdout
    assert raw.endswith(b"\r\n")
    assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
    assert b"\0" not in raw
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    m = email.message_from_bytes(raw, policy=email.policy.default)
    assert not m.defects
    assert m.get_content_type() == "multipart/report"
    assert m.get_param("report-type") == "delivery-status"
    assert m["Auto-Submitted"] == "auto-replied"
    assert m["MIME-Version"] == "1.0"
    assert "MAILER-DAEMON@mail.here.example" in m["From"]
    assert m["Message-ID"].endswith("@mail.here.example>")
    assert m["Date"].datetime is not None
    for name in ("From", "To", "Date", "Subject", "Message-ID"):
        assert len(m.get_all(name)) == 1, name
    assert len(m.get_payload()) == 3
    assert (raw.split(b"\r\n\r\n")[0].lower().count(b"8bit") == 1) == any(
        p["Content-Transfer-Encoding"] == "8bit" for p in m.get_payload())
    for p in m.get_payload():
        assert not p.defects
        if p["Content-Transfer-Encoding"] == "7bit":
            assert p.as_bytes().isascii()
    return m, m.get_payload()


def groups(part):
    assert part.get_content_type() == "message/delivery-status"
    return part.get_payload()


def test_failed():
    m, (text, report, header) = sample("failed")
    assert m["To"] == "s@here.example"
    body = text.get_content()
    assert "joe@far.example" in body and "ann@far.example" in body
    assert body.startswith("Your message to the 2 recipients named below "
                           "could not be delivered")
    told = " ".join(body.split())
    assert ("<joe@far.example> There is no such mailbox. "
            "mx.far.example replied: 550 5.1.1 No such user here, "
            in told)
    assert "Offered to a mail host 1 time, on " \
        in told
    assert ("<ann@far.example> The mail host of the recipient could not be "
            "reached. Reason, at mx.far.example: connection refused Not "
            "delivered within 5 days, and given up. Offered to a mail host 1 "
            "time, waited without one 30 times, from " in told)
    assert body.count("replied:") == 1
    message, joe, ann = groups(report)
    assert message["Reporting-MTA"] == "dns; mail.here.example"
    assert message["Original-Envelope-Id"] == "env-1"
    assert "14 Nov 2023" in message["Arrival-Date"]
    assert joe["Final-Recipient"] == "rfc822;joe@far.example"
    assert joe["Original-Recipient"] == "rfc822;Joe@far.example"
    assert joe["Action"] == "failed"
    assert joe["Status"] == "5.1.1"
    assert joe["Remote-MTA"] == "dns; mx.far.example"
    assert " ".join(joe["Diagnostic-Code"].split()).startswith(
        "smtp; 550 5.1.1 No such user here,")
    assert ann["Status"] == "5.4.7"
    assert ann["Remote-MTA"] == "dns; mx.far.example"
    assert ann["Diagnostic-Code"] == "x-mta; connection refused"
    assert "14 Nov 2023" in ann["Last-Attempt-Date"]
    assert header.get_content_type() == "text/rfc822-headers"
    assert "Subject: hello" in header.get_payload()
    assert "The body." not in header.get_payload()


def test_full():
    _, (_, _, whole) = sample("full")
    assert whole.get_content_type() == "message/rfc822"
    inner = whole.get_payload(0)
    assert inner["Subject"] == "hello"
    assert inner.get_payload().startswith("The body.")


@pytest.mark.parametrize("body", [b"x" * 999 + b"\r\n", b"a\nb\r\n",
                                  b"a\rb\r\n", b"a\0\r\n"],
                         ids=["long", "LF", "CR", "NUL"])
def test_full_that_would_need_an_encoding(body):
    _, (_, _, part) = sample("full", b"Subject: hello\r\n\r\n" + body)
    assert part.get_content_type() == "text/rfc822-headers"


def test_longest_line():
    line = b"x" * 998 + b"\r\n"
    _, (_, _, part) = sample("full", b"Subject: hello\r\n\r\n" + line)
    assert part.get_content_type() == "message/rfc822"


def test_delayed():
    m, (text, report, _) = sample("delayed")
    assert "delayed" in m["Subject"]
    told = " ".join(text.get_content().split())
    assert told.startswith(
        "Your message to <ann@far.example> has not been delivered yet. The "
        "mailbox is full. You need not send it again: it will be tried "
        "until ")
    assert "19 Nov 2023" in told
    assert "<ann@far.example> 192.0.2.1 replied: 451 4.2.2 try later" in told
    _, ann = groups(report)
    assert ann["Action"] == "delayed"
    assert ann["Status"] == "4.2.2"
    assert ann["Remote-MTA"] == "dns; [192.0.2.1]"
    assert ann["Diagnostic-Code"] == "smtp; 451 4.2.2 try later"
    assert "19 Nov 2023" in ann["Will-Retry-Until"]


def test_relayed():
    _, (_, report, _) = sample("relayed")
    assert groups(report)[1]["Action"] == "relayed"
    assert groups(report)[1]["Status"] == "2.1.1"


def test_expanded():
    m, (text, report, _) = sample("expanded")
    assert "several recipients" in m["Subject"]
    assert groups(report)[1]["Action"] == "expanded"
    assert "passes mail on to several recipients" in " ".join(
        text.get_content().split())


def test_hostile_values():
    m, (text, report, _) = sample("hostile")
    assert "Bcc" not in m
    message, rcpt = groups(report)
    assert "X" not in message
    assert rcpt.get_all("Action") == ["failed"]
    assert rcpt.get_all("Status") == ["5.999.7"]
    assert "Bcc" not in rcpt
    assert not any(line.startswith("--") for line in
                   text.get_content().split("\n"))


def test_utf8_address():
    _, (text, report, _) = sample("utf8")
    assert "j\u00f6+e@far.example" in text.get_content()
    assert groups(report)[1]["Final-Recipient"] == \
        "utf-8;j\\x{F6}\\x{2B}e@far.example"
    assert groups(report)[1]["Status"] == "5.0.0"


@pytest.mark.parametrize("original", [
    b"", b"\r\n", b"\r\nonly a body\r\n", b"no header at all\r\nX: y\r\n",
    b"Subject: no end", b"Subject: bare\nX: y\rz\r\n\r\nbody\r\n",
    b"Subject: nul\0\r\n\r\n", b"Subject: \xc3\xa4\r\n\r\nb\r\n",
    b"Subject: \xe4\xff\r\n\r\nb\r\n", b"Subject: " + b"y" * 5000 + b"\r\n\r\n",
    b"Subject: " + b"\xc3\xa4" * 3000 + b"\r\n\r\n",
    b"X: y\r\n" * 30000 + b"\r\nb\r\n", b"X" * 100000,
], ids=range(13))
@pytest.mark.parametrize("case", ["failed", "full"])
def test_odd_originals(case, original):
    _, (_, _, part) = sample(case, original)
    assert len(part.as_bytes()) < 80 * 1024 or \
        part.get_content_type() == "message/rfc822"


@pytest.mark.parametrize("line", [
    b"X: \xe4", b"X: \xc3\xa4 ", b"X:\xff\t", b"X: " + b"\xc3\xa4" * 400,
    b"X: \xe4=3D =\t " + b"y" * 71, b"X: \xe4" + b" " * 200,
    b"X: \xe4" + b"z" * 66 + b" ", b"X: \xe4" + b"z" * 67 + b" "])
def test_a_notice_is_seven_bit(line):
    """What is beyond ASCII is encoded; decoded it is what was sent."""
    raw = subprocess.run([TOOL, "failed"], input=line + b"\r\n\r\nbody\r\n",
                         check=True, stdout=subprocess.PIPE).stdout
    assert raw.isascii()
    assert all(len(x) <= 76 for x in raw.split(b"\r\n\r\n")[-1].split(
        b"\r\n"))
    _, (_, _, header) = sample("failed", line + b"\r\n\r\nbody\r\n")
    assert header["Content-Transfer-Encoding"] == "quoted-printable"
    assert header.get_payload(decode=True).replace(b"\r\n", b"\n") == \
        line + b"\n"


def test_header_is_returned_to_the_byte():
    head = b"Subject: a\r\n\tfolded\r\nX-Long: " + b"w " * 300 + b"\r\n"
    raw = subprocess.run([TOOL, "failed"], input=head + b"\r\nbody\r\n",
                         check=True, stdout=subprocess.PIPE).stdout
    assert b"\r\n\r\n" + head + b"\r\n--=_mta_" in raw
