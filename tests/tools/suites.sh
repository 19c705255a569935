#!/bin/sh
# suites.sh plain|sanitizers|valgrind UNIT - the unit tests, as many suites at a
# time as there are processors; ends with a closing line like Check's.
#
# There is no fork between runner and test (CK_FORK=no): leaks of a test are
# seen, and the leak check and the start of valgrind, half a second, come once
# for a group of suites, not once a test.  A plain suite that fails is run again
# with forks, which name the test that died.
set -u
how=$1 unit=$2
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# Check's four seconds are short for a test that waits for a busy machine.
export CK_DEFAULT_TIMEOUT="${CK_DEFAULT_TIMEOUT:-60}"
export CK_FORK=no
run="timeout -k 5 900" together=1
case $how in
valgrind)
    export TEST_SHORT=1 TEST_VALGRIND=1
    together=9
    run="$run valgrind -q --leak-check=full --error-exitcode=99
         --errors-for-leak-kinds=definite,indirect,possible
         --suppressions=$here/valgrind.supp"
    ;;
esac
export unit dir run how

# The long ones first and alone, so that none is left to run alone at the end.
long="powercut powercut_handover powercut_delivery log.collector log.writer
      net.tls_peers spool_powercut net.loop net.transfer net.tls mailbox.work
      base.digest_key base.sandbox spool_faults spool_crash"
suites=$(grep -ho 'suite_create("[^"]*"' "$here"/../unit/*.c | cut -d'"' -f2)
{
    printf '%s\n' $long
    printf '%s\n' $long $long "$suites" | sort | uniq -u | xargs -n $together
} | tr '\n' '\0' |
    xargs -0 -P "$(nproc)" -n 1 sh -c '
        out=$dir/$(echo "$1" | cut -d" " -f1)
        $run "$unit" $1 > "$out.out" 2>&1
        status=$?
        echo $status > "$out.status"
        [ $status -eq 0 ] || [ $how != plain ] ||
            CK_FORK=yes $run "$unit" $1 >> "$out.out" 2>&1' sh

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
