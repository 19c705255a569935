#!/bin/sh
# base.sh BASE: the program that a comparison starts from; prints its path.
# BASE is the path of a binary, or a revision, which is built in a worktree of
# its own below build/, by the make, compiler and flags of the environment.
set -e
base=$1
if [ -f "$base" ] && [ -x "$base" ]; then
    realpath "$base"
    exit
fi
commit=$(git rev-parse --quiet --verify --short=12 "$base^{commit}") || {
    echo "bench-compare: BASE=$base is neither a binary nor a revision" >&2
    exit 2
}
tree=build/base/$commit
git worktree prune
[ -e "$tree/Makefile" ] || git worktree add --quiet --detach "$tree" "$commit" >&2
"${MAKE:-make}" -s -C "$tree" SAN= all >&2
realpath "$tree/mta"
