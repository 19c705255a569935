#!/bin/sh
# suites.sh plain|valgrind UNIT - the unit tests suite by suite, as many at a
# time as there are processors; ends with a closing line like Check's.
#
# Under valgrind there is no fork between runner and test (CK_FORK=no), so
# that leaks of a test are seen; a failing check then ends its suite.
set -u
how=$1 unit=$2
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# Check's four seconds are short for a test that waits for a busy machine.
export CK_DEFAULT_TIMEOUT="${CK_DEFAULT_TIMEOUT:-60}"
run=""
if [ "$how" = valgrind ]; then
    export CK_FORK=no TEST_SHORT=1 TEST_VALGRIND=1
    run="timeout -k 5 900 valgrind -q --leak-check=full --error-exitcode=99
         --errors-for-leak-kinds=definite,indirect,possible
         --suppressions=$here/valgrind.supp"
fi
export unit dir run

# The long ones first, so that none is left to run alone at the end.
{
    printf '%s\n' powercut powercut_handover powercut_delivery log.collector log.writer spool_powercut net.loop \
        spool_faults spool_crash
    grep -ho 'suite_create("[^"]*"' "$here"/../unit/*.c | cut -d'"' -f2
} | awk '!seen[$0]++' |
    xargs -P "$(nproc)" -n 1 sh -c '
        CK_RUN_SUITE=$1 $run "$unit" > "$dir/$1.out" 2>&1
        echo $? > "$dir/$1.status"' sh

checks=0 errors=0
for out in "$dir"/*.out; do
    status=$(cat "${out%.out}.status")
    n=$(sed -n 's/.*Checks: \([0-9]*\).*/\1/p' "$out" | tail -n 1)
    checks=$((checks + ${n:-0}))
    if [ "$status" -ne 0 ]; then
        errors=$((errors + 1))
        echo "-- $(basename "$out" .out): status $status"
        cat "$out"
    fi
done
if [ "$errors" -eq 0 ]; then
    echo "100%: Checks: $checks, Failures: 0, Errors: 0"
else
    echo "by suites: Checks: $checks, Failures: 0, Errors: $errors"
    exit 1
fi
