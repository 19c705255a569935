#!/bin/sh
# container_root.sh DIR [MTA] - make the root file system of the container:
# the program, the libraries it needs, CA certificates if this host has them,
# and an empty place for the queue.  conf/Containerfile and the tests both run
# this, so the tests have the same root as the image.
set -eu
[ $# -ge 1 ] || { echo "usage: container_root.sh DIR [MTA]" >&2; exit 64; }
root=$1
mta=${2:-./mta}
certificates=/etc/ssl/certs/ca-certificates.crt

umask 022
mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/etc/mta" "$root/var/mail"
strip -o "$root/mta" "$mta"
chmod 755 "$root/mta"
# The loader has no "=>" before its path, and the vdso no path at all.
ldd "$mta" | sed -n 's/^.*[[:space:]]\(\/[^ ]*\) (0x.*$/\1/p' |
    while read -r library; do
        mkdir -p "$root${library%/*}"
        cp -L "$library" "$root$library"
    done
if [ -e "$certificates" ]; then
    mkdir -p "$root${certificates%/*}"
    cp -L "$certificates" "$root$certificates"
fi
# Of root, for the group of root: any user that the container is run as, which
# has that group unless another is asked for, makes its directories in it.
mkdir -p "$root/var/spool/mta"
chmod 770 "$root/var/spool/mta"
