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
echo '/* Nobody waits: it is for whoever reads. */' |
    expect 'a comment says "whoever"'
echo '/* who calls */' | expect "x.c:1: a comment says"

mkdir -p "$dir/tests/new" "$dir/docs"
echo 'See `docs/gone.md`.' > "$dir/README.md"
: | expect "README.md:1: tests/new is not named"
: | expect "README.md:1: no such file: docs/gone.md"
rm -r "$dir/README.md" "$dir/tests"

# exports.py: x is used by another object, y is not.
echo 'int x(void) { return 0; } int y(void) { return 0; }' > "$dir/a.c"
echo 'int x(void); int main(void) { return x(); }' > "$dir/b.c"
for f in a b; do ${CC:-cc} -c -o "$dir/$f.o" "$dir/$f.c"; done
! "$here/exports.py" "$dir/a.o" "$dir/b.o" > "$dir/out" &&
    [ "$(cat "$dir/out")" = "a.o: y is used by no other file of the program" ] || {
    echo "exports.py does not find what it should:" >&2
    cat "$dir/out" >&2
    exit 1
}

# check_requirements.py, on a page with one fault of each kind.
page() { # the row of R1, without its id
    mkdir -p "$dir/docs" "$dir/tests"
    echo 'def test_it(): pass' > "$dir/tests/t.py"
    {
        echo "| R1 | $1 |"
        for i in $(seq 2 17); do echo "| R$i | x | y | z | later |"; done
        for i in $(seq 5); do echo "| C$i | x | y | z | later |"; done
        for i in $(seq 9); do echo "| B$i | x | y | z | later |"; done
    } > "$dir/docs/requirements.md"
}
expect_row() { # text of the fault, the row
    page "$2"
    if "$here/check_requirements.py" "$dir" > "$dir/out" ||
        ! grep -q "$1" "$dir/out"; then
        echo "check_requirements.py does not find: $1" >&2
        exit 1
    fi
}
page 'x | `docs/requirements.md` | `tests/t.py::test_it` | done'
"$here/check_requirements.py" "$dir"
expect_row "no such test" 'x | y | `tests/t.py::test_other` | done'
expect_row "no such test: tests/t.py::test_b" \
    'x | y | `tests/t.py::test_it`, `::test_b` | done'
expect_row "no such file: " 'x | y | `::test_it` | done'
expect_row "no such file" 'x | `src/gone.c` | `tests/t.py::test_it` | done'
expect_row "no test shows it" 'x | y | z | done'
expect_row 'status "soon"' 'x | y | z | soon'
expect_row "R1 has 0 rows" 'x | y | z'

# check_faults.py: rows without a test, and tests that do not exist.
expect_fault() { # text of the fault, the row
    printf '| fault | test |\n|---|---|\n| x | %s |\n' "$2" \
        > "$dir/docs/faults.md"
    if "$here/check_faults.py" "$dir" > "$dir/out" ||
        ! grep -q "faults.md:3: $1" "$dir/out"; then
        echo "check_faults.py does not find: $1" >&2
        exit 1
    fi
}
expect_fault "no test shows it" y
expect_fault "no such test" '`tests/t.py::test_other`'
printf '| x | `tests/t.py::test_it` |\n' > "$dir/docs/faults.md"
"$here/check_faults.py" "$dir"
rm "$dir/docs/faults.md"

# check_docs.py: what is prose, and what is not.
expect_page() { # text of the fault, the page on stdin
    cat > "$dir/docs/x.md"
    if "$here/check_docs.py" "$dir" > "$dir/out" || ! grep -q "$1" "$dir/out"
    then
        echo "check_docs.py does not find: $1" >&2
        exit 1
    fi
}
long=$(printf '%081d' 0)
{
    printf '| x | %s |\n\n    who %s\n```\nwhoever\n```\n' "$long" "$long"
    printf '<!-- written by x -->\n%s\n<!-- end -->\n' "$long"
} > "$dir/docs/x.md"
"$here/check_docs.py" "$dir"
printf '%s\n' "$long" | expect_page "x.md:1: line of 81 columns"
printf '<!-- written by x -->\n<!-- end -->\n%s\n' "$long" |
    expect_page "x.md:3: line of 81"
printf '    code\n\ntext\n    %s\n' "$long" | expect_page "x.md:4: line of 85"
echo 'Nobody waits.' | expect_page 'x.md:1: "Nobody"'
echo '| Nobody | waits |' | expect_page 'x.md:1: "Nobody"'
echo '.B whoever' > "$dir/docs/x.1"
echo | expect_page 'x.1:1: "whoever"'
