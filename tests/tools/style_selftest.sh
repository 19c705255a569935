#!/bin/sh
# style_selftest.sh - the checker must find what it is there to find.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/src/base" "$dir/include/base"
echo 'int main(void);' > "$dir/mta.c"

expect() { # text of the fault, then the file on stdin
    cat > "$dir/src/base/x.c"
    if "$here/style.py" "$dir" > "$dir/out" || ! grep -q "$1" "$dir/out"; then
        echo "style.py does not find: $1" >&2
        cat "$dir/out" >&2
        exit 1
    fi
}

echo '#include "spool/writer.h"' | expect "up the ladder"
echo '#include <libconfig.h>' | expect "may be included only in"
echo 'void f(void) { char *p = realloc(q, 2); }' | expect "banned name: realloc"
printf 'int f(int a, int b, int c, int d, int e, int g, int h)\n{\n}\n' |
    expect "has 7 parameters"
{ printf 'int f(void)\n{\n'; yes '    x++;' | head -70; echo '}'; } |
    expect "function f has 73 lines"
printf '%90s;\n' x | expect "line of 91 columns"
