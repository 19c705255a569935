#!/bin/sh
# check_generated.sh - what is generated from the tables of settings, commands
# and states must be what is committed.
#
# usage: check_generated.sh [MTA]          complain, exit 1 when they differ
#        check_generated.sh --write [MTA]  bring the files up to date
set -eu
write=no
if [ "${1-}" = --write ]; then
    write=yes
    shift
fi
mta=${1-./mta}
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0

# compare FRESH FILE TABLE
compare() {
    if [ $write = yes ]; then
        cmp -s "$1" "$root/$2" || cp "$1" "$root/$2"
    elif [ ! -e "$root/$2" ]; then
        echo "$2 is missing; run tests/tools/check_generated.sh --write" >&2
        status=1
    elif ! diff -u "$root/$2" "$1" > "$dir/diff"; then
        echo "$2 is not what the table of $3 says:" >&2
        cat "$dir/diff" >&2
        echo "run tests/tools/check_generated.sh --write" >&2
        status=1
    fi
}

"$mta" config --dump > "$dir/mta.conf"
compare "$dir/mta.conf" conf/mta.conf settings

"$mta" config --man > "$dir/options"
awk -v options="$dir/options" '
    /^\.\\" generated: begin/ {
        print
        while ((getline line < options) > 0)
            print line
        inside = found = 1
        next
    }
    /^\.\\" generated: end/ { inside = 0 }
    !inside { print }
    END { exit !found || inside }
' "$root/docs/mta.conf.5" > "$dir/mta.conf.5" || {
    echo "docs/mta.conf.5: no marks around the generated part" >&2
    exit 1
}
compare "$dir/mta.conf.5" docs/mta.conf.5 settings

mkdir "$dir/man"
"$root/tests/tools/manpages.py" "$mta" "$dir/man"
for page in "$dir"/man/*; do
    compare "$page" "docs/man/${page##*/}" "commands and docs/mta.1"
done
for page in "$root"/docs/man/*; do
    [ -e "$dir/man/${page##*/}" ] || {
        echo "docs/man/${page##*/} is of no command" >&2
        status=1
    }
done

for who in server client; do
    "$mta" fsm $who > "$dir/fsm.dot"
    compare "$dir/fsm.dot" docs/fsm-$who.dot states
done
exit $status
