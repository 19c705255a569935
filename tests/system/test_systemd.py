"""The service under a real systemd, PID 1 of a system in namespaces: it starts
as its unit says, delivers, rotates its log, stops in time, is upgraded and
goes, all within what the unit allows."""

import ctypes
import os
import re
import time

import pytest

import debian
from debian import Box, build, repack, run
from harness import until
from test_privileges import CREATE_RULESET, LIBC

# As systemd-nspawn: nothing that would reach the system around it.
DROPPED = """sys_module sys_time sys_rawio syslog mac_admin mac_override
    sys_pacct wake_alarm block_suspend audit_read bpf perfmon""".split()
SYSTEMD = ["setpriv", "--bounding-set=" + ",".join("-" + c for c in DROPPED),
           "env", "-i", "container=test", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
           "/lib/systemd/systemd", "--unit=multi-user.target",
           "--show-status=no", "--log-target=journal"]

SILENT_HOST = b"""use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:2526", Listen => 9);
open(F, ">", "/tmp/listens");
my $c = $s->accept;
open(F, ">", "/tmp/called");
sleep 60;
"""
SILENT_CLIENT = b"""exec 3<> /dev/tcp/127.0.0.1/25
read -r line <&3
echo EHLO x >&3
: > /tmp/connected
sleep 60
"""

CONFINED = b"""[Service]
Type=oneshot
User=bob
ProtectSystem=strict
ProtectHome=yes
PrivateDevices=yes
NoNewPrivileges=yes
ExecStart=sh -c 'echo "Subject: confined" | sendmail alice'
"""


def why_not():
    """Why there can be no systemd here, or None."""
    if os.geteuid() != 0:
        return None  # debian.marks has it
    status, said = run("unshare", "-m", "mount", "-t", "cgroup2", "none",
                       "/mnt")
    return said.strip() if status else None


WHY_NOT = why_not()
pytestmark = debian.marks + [
    pytest.mark.skipif(WHY_NOT is not None,
                       reason="no control groups: %s" % WHY_NOT)]


class Machine(Box):
    def __init__(self, dir):
        super().__init__(dir, *SYSTEMD)
        until("the boot", lambda:
              self.fails("systemctl is-active multi-user.target") == 0)
        self.sh("echo box.example.com > /etc/mailname; useradd -m alice; "
                "useradd -m bob; useradd -m -d /srv/carol carol")

    def install(self, package, name="mta"):
        self.copy(package, "/tmp/%s.deb" % name)
        return self.sh("dpkg -i /tmp/%s.deb" % name)

    def show(self, *names, unit="mta"):
        text = self.sh("systemctl show %s -p %s" % (unit, ",".join(names)))
        values = dict(x.split("=", 1) for x in text.splitlines())
        return [values[n] for n in names]

    def is_running(self):
        return self.show("ActiveState", "SubState") == ["active", "running"]

    def main_pid(self):
        return int(self.show("MainPID")[0])

    def journal(self):
        return self.sh("journalctl -u mta -o cat --no-pager")

    def log(self, what=""):
        return [x for x in self.file("/var/log/mta/mta.log").splitlines()
                if what in x]

    def put(self, group, setting):
        """A setting into a group of the file, in the place of what it had."""
        self.sh("sed -i '/^%s: {/,/^};/{/^};/!{/^%s: {/!d}};s|^%s: {|&\\n    %s;"
                "|' /etc/mta/mta.conf" % (group, group, group, setting))

    def faults(self):
        """What systemd or the program complained about, but for the disk."""
        said = [x for x in self.journal().splitlines()
                if re.search("^mta[ :]|denied|not permitted|[Ii]gnor", x)]
        said += [x for x in self.log() if " warn " in x or " error " in x]
        return [x for x in said if "is on overlayfs" not in x]


@pytest.fixture
def machine(tmp_path):
    it = Machine(str(tmp_path))
    try:
        yield it
    finally:
        it.close()


def starts_as_its_unit_says(m):
    assert m.is_running()
    assert m.show("Type", "NRestarts", "UnitFileState", "Result") == [
        "notify", "0", "enabled", "success"]
    # It was not active before its sockets listened.
    m.sh("systemctl restart mta; bash -c 'exec 3<> /dev/tcp/127.0.0.1/25'")
    status = m.sh("systemctl status mta")
    assert "active (running)" in status and "mta mail system" in status
    assert m.sh("systemd-analyze verify --man=no mta.service") == ""
    m.sh("systemd-analyze security --threshold=40 mta.service")


def confines_itself_within_the_unit(m):
    """seccomp and Landlock in each process, as outside of the unit."""
    abi = max(LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1), 0)
    lines = until("they are confined", lambda: (
        lambda x: x if len(x) >= 8 else None)(m.log(" sandbox.on ")))
    for line in lines:
        assert "seccomp=yes" in line and "landlock=%d" % abi in line


def delivers_to(m, user, subject, path):
    assert m.submit(user, subject) == 0
    until("mail of %s in %s" % (user, path), lambda: m.fails(
        "grep -rqx 'Subject: %s' %s" % (subject, path)) == 0)
    assert m.sh("stat -c %%U %s" % path).split() == [user]


def delivers_where_users_have_mail(m):
    delivers_to(m, "alice", "mbox", "/var/mail/alice")
    pid = m.main_pid()
    m.put("local", 'mail_dir = "~/Maildir"')
    m.sh("mta config --check && systemctl reload mta")
    until("the new setting", lambda: m.log("config.reload"))
    delivers_to(m, "bob", "home", "/home/bob/Maildir/new")
    assert m.main_pid() == pid
    # Homes elsewhere: what the unit has in a comment.
    assert m.submit("carol", "elsewhere") == 0
    reason = until("the failure", lambda: m.log("deliver.mailbox"))[0]
    assert "/srv/carol" in reason and "Read-only" in reason, reason
    m.sh("mkdir -p /etc/systemd/system/mta.service.d; printf "
         "'[Service]\\nReadWritePaths=/srv\\n' > "
         "/etc/systemd/system/mta.service.d/homes.conf; "
         "systemctl daemon-reload; systemctl restart mta")
    until("it goes on", lambda: m.fails("mta queue flush") == 0)
    until("mail of carol", lambda: m.fails(
        "grep -rq 'Subject: elsewhere' /srv/carol/Maildir/new") == 0)
    m.put("local", 'mailbox = "mbox"')
    m.sh("echo 'send = { relay_host = \"[127.0.0.1]:2526\"; };' >> "
         "/etc/mta/mta.conf; "
         "rm -r /etc/systemd/system/mta.service.d; systemctl daemon-reload; "
         "systemctl restart mta; : > /var/log/mta/mta.log")


def takes_mail_of_services(m):
    """Of cron, and of a unit that is confined as such units are."""
    m.sh("printf 'MAILTO=alice\\n@reboot root echo from-cron\\n' > "
         "/etc/cron.d/test; rm -f /run/crond.reboot; systemctl restart cron")
    m.write("/etc/systemd/system/confined.service", CONFINED)
    m.sh("systemctl start confined")
    until("mail of both", lambda: m.arrived("confined") and
          "from-cron" in m.file("/var/mail/alice"))


def rotates_its_log(m):
    """By logrotate's own unit, on a day after the last."""
    m.sh("printf 'logrotate state -- version 2\\n\"/var/log/mta/mta.log\" "
         "2020-1-1-0:0:0\\n' > /var/lib/logrotate/status; "
         "systemctl start logrotate")
    assert m.sh("stat -c '%U %G %a' /var/log/mta/mta.log.1").startswith("mta ")
    delivers_to(m, "alice", "after-rotation", "/var/mail/alice")
    until("a line in the new file", lambda: m.log("deliver.delivered"))


def a_wrong_setting_stops_the_start_alone(m):
    pid = m.main_pid()
    m.sh("cp /etc/mta/mta.conf /tmp/good; echo 'stop_timeout = \"soon\";' >> "
         "/etc/mta/mta.conf")
    assert m.fails("systemctl reload mta") == 1
    assert "stop_timeout" in m.run("systemctl status mta")[1]
    assert m.is_running() and m.main_pid() == pid
    assert m.fails("systemctl restart mta") == 1
    assert m.show("ActiveState", "NRestarts", "ExecMainStatus") == [
        "failed", "0", "78"]
    assert "stop_timeout" in m.run("systemctl status mta")[1]
    m.sh("cp /tmp/good /etc/mta/mta.conf; systemctl start mta")
    assert m.is_running()


def is_started_again_when_killed(m):
    pid = m.main_pid()
    m.sh("kill -9 %d" % pid)
    until("another one", lambda: m.show("NRestarts") == ["1"] and
          m.is_running())
    assert m.main_pid() != pid
    delivers_to(m, "alice", "after-a-kill", "/var/mail/alice")


def stops_in_time_with_mail_in_hand(m):
    """A client that is silent, a host that is silent, mail that waits."""
    m.write("/tmp/host", SILENT_HOST)
    m.sh("perl /tmp/host > /dev/null 2>&1 &")
    until("the host listens", lambda: m.fails("test -e /tmp/listens") == 0)
    assert m.submit("joe@elsewhere.test", "waits") == 0
    until("it is called", lambda: m.fails("test -e /tmp/called") == 0)
    m.write("/tmp/client", SILENT_CLIENT)
    m.sh("bash /tmp/client > /dev/null 2>&1 &")
    until("a client", lambda: m.fails("test -e /tmp/connected") == 0)
    began = time.monotonic()
    m.sh("systemctl stop mta")
    took = time.monotonic() - began
    assert m.show("ActiveState", "Result") == ["inactive", "success"]
    assert took < 8 + 2, took
    m.sh("systemctl start mta")
    assert "joe@elsewhere.test" in m.sh("mailq")


def test_service(machine):
    began = time.monotonic()
    machine.install(build()[1])
    starts_as_its_unit_says(machine)
    confines_itself_within_the_unit(machine)
    delivers_where_users_have_mail(machine)
    takes_mail_of_services(machine)
    assert machine.faults() == []
    rotates_its_log(machine)
    a_wrong_setting_stops_the_start_alone(machine)
    is_started_again_when_killed(machine)
    stops_in_time_with_mail_in_hand(machine)
    print("service: %.1f s" % (time.monotonic() - began))


def test_upgrade_and_purge(machine, tmp_path):
    """Beside a service that runs."""
    package = build()[1]
    machine.install(package)
    assert machine.submit("joe@elsewhere.test", "waits") == 0
    pid = machine.main_pid()
    machine.install(repack(package, str(tmp_path / "next"),
                           str(tmp_path / "next.deb"), Version="99.1"), "next")
    assert machine.is_running() and machine.main_pid() != pid
    assert "joe@elsewhere.test" in machine.sh("mailq")
    assert "still waits" in machine.sh("dpkg -r mta")
    assert machine.show("ActiveState", "LoadState") == ["inactive", "not-found"]
    machine.install(package)
    assert machine.is_running()
    assert "joe@elsewhere.test" in machine.sh("mailq")
    machine.sh("MTA_PURGE_QUEUE=yes dpkg -P mta")
    assert machine.show("ActiveState", "LoadState") == [
        "inactive", "not-found"]
    assert machine.sh("systemctl list-units --failed --plain --no-legend") == ""
    assert machine.sh("find /etc/systemd /var/lib/systemd -name 'mta*'") == ""
