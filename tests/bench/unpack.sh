#!/bin/sh
# unpack.sh DIR - fetch Exim and OpenSMTPD from Debian and unpack them below
# DIR, beside the packages.  They cannot be installed beside Postfix: each
# provides mail-transport-agent and conflicts with the others.
set -eu

dir=$1
[ -e "$dir/done" ] && exit 0
rm -rf "$dir"
mkdir -p "$dir/exim" "$dir/opensmtpd"
cd "$dir"
debs="exim4-daemon-light exim4-base opensmtpd"
# shellcheck disable=SC2086  # the list is words
apt-get download -qq $debs || {
    # No lists of packages here, or old ones.
    apt-get update -qq
    apt-get download -qq $debs
}
for p in exim4-*.deb; do
    dpkg -x "$p" exim
done
dpkg -x opensmtpd_*.deb opensmtpd
# What its postinst would do; 992 is "opensmtpq" in the root it runs in.
chgrp 992 opensmtpd/usr/sbin/smtpctl
chmod 2755 opensmtpd/usr/sbin/smtpctl
touch done
