"""Programs of Debian that call sendmail, as they are: cron, mdadm,
smartmontools, PHP, git, logwatch, mutt, s-nail, mailutils.

Each runs in a mount namespace of its own, where /usr/sbin/sendmail is ours and
/etc/mta/mta.conf names the queue of the test."""

import email
import email.policy
import os
import subprocess
import textwrap

import pytest

from harness import DEADLINE, MTA, UNDER_VALGRIND, send_signal, until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount"),
    pytest.mark.skipif(UNDER_VALGRIND, reason="runs programs of others"),
]

# /etc is ours to change; directories of daemons are empty.
PRIVATE = """
set -eu
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/home"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" none /etc
mkdir -p /etc/mta
cp "$2" /etc/mta/mta.conf
mount --bind "$3" /usr/sbin/sendmail
mount -t tmpfs none /run
mount -t tmpfs none /var/spool/cron
mount -t tmpfs none /var/cache
mkdir -p /var/spool/cron/crontabs
export HOME="$1/home" PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd "$HOME"
unset EMAIL NAME MTA_CONFIG || :
"""


@pytest.fixture
def host(mta):
    m = mta("serve", {"hostname": "box.here.test",
                      "local.domains": ["here.test", "box.here.test"]})
    os.chmod(m.dir, 0o755)
    until("socket", lambda: os.path.exists(os.path.join(m.queue, "submit")))
    os.mkdir(os.path.join(m.dir, "private"))
    return m


def command(m, script):
    return ["unshare", "--mount", "--", "/bin/sh", "-c",
            PRIVATE + textwrap.dedent(script), "sh",
            os.path.join(m.dir, "private"), m.conf, MTA]


def call(m, script):
    done = subprocess.run(command(m, script), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=4 * DEADLINE)
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


def received(m, user="joe"):
    """The only message in the mailbox, taken apart; made here."""
    (copy,) = m.copies(user)
    message = email.message_from_bytes(copy, policy=email.policy.default)
    assert b"\r" not in copy and not message.defects
    assert "from userid" in message["Received"]
    assert message["From"]
    return message


def text_of(message):
    part = message.get_body(("plain",))
    return (part or message).get_content()


def test_cron(host):
    """A job at the start, whose output goes to MAILTO."""
    p = subprocess.Popen(command(host, """
        rm -rf /etc/cron.d && mkdir /etc/cron.d && : > /etc/crontab
        printf 'MAILTO=joe@here.test\\n@reboot root echo hello from cron\\n' \\
            > /etc/cron.d/test
        exec cron -f
        """), stdin=subprocess.DEVNULL)
    try:
        message = received(host)
    finally:
        send_signal(p.pid, 15)
        p.wait(DEADLINE)
    assert text_of(message) == "hello from cron\n"
    assert message["To"] == "joe@here.test"
    assert "Cron" in message["Subject"] and "root" in message["From"]


def test_mdadm(host):
    call(host, """
        mdadm --monitor --test --oneshot --mail joe@here.test /dev/md127 || :
        """)
    until("messages", lambda: host.mailbox("joe"))
    found = [email.message_from_bytes(c, policy=email.policy.default)
             for c in host.settle().mailbox("joe")]
    (message,) = [x for x in found if x["Subject"].startswith("TestMessage")]
    assert message["To"] == "joe@here.test" and "/dev/md127" in \
        message["Subject"]
    assert "TestMessage" in text_of(message)


def test_smartmontools(host):
    """What smartd runs when a disk fails."""
    call(host, """
        SMARTD_MAILER= SMARTD_ADDRESS=joe@here.test SMARTD_MESSAGE=failing \\
        SMARTD_FAILTYPE=EmailTest SMARTD_DEVICE=/dev/sdz SMARTD_DEVICETYPE=ata \\
        SMARTD_DEVICESTRING=/dev/sdz SMARTD_DEVICEINFO=disk SMARTD_TFIRST=now \\
        SMARTD_TFIRSTEPOCH=0 SMARTD_PREVCNT=0 SMARTD_NEXTDAYS= \\
        SMARTD_SUBJECT=x /usr/share/smartmontools/smartd_warning.sh
        """)
    message = received(host)
    assert "SMART error (EmailTest)" in message["Subject"]
    assert "failing" in text_of(message)


@pytest.mark.parametrize("ends", ["\\n", "\\r\\n"])
def test_php(host, ends):
    """Header and text end their lines in CRLF, in LF, or in both."""
    call(host, """
        php -d error_reporting=-1 -d display_errors=1 -r '
        exit(mail("Joe <joe@here.test>", "subj", "one%stwo\\n.\\nthree",
                  "From: Web <web@here.test>%sBcc: ann@here.test\\r\\nX: y",
                  "-fbounce@here.test") ? 0 : 1);'
        """ % (ends, ends))
    message = received(host)
    assert text_of(message) == "one\ntwo\n.\nthree\n"
    assert message["From"] == "Web <web@here.test>" and message["X"] == "y"
    assert message["Bcc"] is None
    assert message["Return-Path"] == "<bounce@here.test>"
    assert len(host.copies("ann")) == 1


def test_git(host):
    call(host, """
        export GIT_CONFIG_NOSYSTEM=1
        git init -q repo && cd repo
        git config user.name Author && git config user.email author@here.test
        printf 'one\\n.\\n' > file
        git add file && git commit -q -m 'First change' -m 'Why.'
        git send-email --quiet --confirm=never --to='Joe <joe@here.test>' \\
            --bcc=ann@here.test --envelope-sender=bounce@here.test --root -1
        """)
    message = received(host)
    assert message["Subject"] == "[PATCH] First change"
    assert message["From"] == "Author <author@here.test>"
    assert "\n+.\n" in text_of(message)
    assert message["Return-Path"] == "<bounce@here.test>"
    (copy,) = host.copies("ann")
    assert b"Bcc" not in copy


def test_logwatch(host):
    call(host, """
        mkdir -p /var/cache/logwatch
        logwatch --output mail --mailto joe@here.test --range all \\
            --service zz-disk_space --detail high
        """)
    message = received(host)
    assert message["Subject"].startswith("Logwatch for ")
    assert "Disk Space" in text_of(message)


def test_mutt(host):
    call(host, """
        printf 'one\\n.\\n\\303\\266\\n' > attached
        printf 'hello\\n' | mutt -F /dev/null -e 'set charset=utf-8' \\
            -s 'subj' -c bob@here.test -b ann@here.test -a attached -- \\
            joe@here.test
        """)
    message = received(host)
    assert message["Subject"] == "subj" and text_of(message) == "hello\n"
    (part,) = message.iter_attachments()
    assert part.get_content() == "one\n.\n\u00f6\n"
    for user in "ann", "bob":
        (copy,) = host.copies(user)
        assert b"ann@" not in copy.split(b"Received", 1)[1]


def test_mutt_asks_for_notices(host):
    call(host, """
        printf 'hello\\n' | mutt -F /dev/null -e 'set dsn_notify=never' \\
            -e 'set dsn_return=hdrs' -e 'set use_8bitmime' \\
            -e 'set envelope_from_address=bounce@here.test' \\
            -e 'set use_envelope_from' -s subj joe@elsewhere.test
        """)
    (q,) = host.queued()
    shown = host.tool("queue", "show", q["id"], "--json").stdout.decode()
    assert q["sender"] == "bounce@here.test"
    assert "NEVER" in shown.upper() and '"ret":"hdrs"' in shown


def test_s_nail(host):
    call(host, """
        printf 'hello\\n.\\nmore\\n' > text
        s-nail -n -S nosave -s 'subj' -c bob@here.test -b ann@here.test \\
            -r 'Sender <sender@here.test>' joe@here.test < text
        """)
    message = received(host)
    assert message["Subject"] == "subj"
    assert text_of(message) == "hello\n.\nmore\n"
    assert message["Return-Path"] == "<sender@here.test>"
    assert message["Bcc"] is None
    assert len(host.copies("ann")) == len(host.copies("bob")) == 1


def test_mailutils(host):
    call(host, """
        printf 'hello\\n.\\nmore\\n' | mail.mailutils -s 'subj' \\
            -a 'X-Test: y' -r sender@here.test joe@here.test
        """)
    message = received(host)
    assert message["Subject"] == "subj" and message["X-Test"] == "y"
    assert text_of(message) == "hello\n.\nmore\n"
    assert message["Return-Path"] == "<sender@here.test>"


def test_names(host):
    """mailq and newaliases are links to sendmail in Debian."""
    said = call(host, """
        ln -s /usr/sbin/sendmail /etc/mailq
        ln -s /usr/sbin/sendmail /etc/newaliases
        ln -s /usr/sbin/sendmail /etc/sendmail
        /etc/mailq
        /etc/newaliases
        printf 'Subject: x\\n\\nhello\\n' | /etc/sendmail joe@here.test
        """)
    assert "empty" in said
    assert text_of(received(host)) == "hello\n"
