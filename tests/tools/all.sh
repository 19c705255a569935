#!/bin/sh
# all.sh - every test of `make tests`; ends with one line that counts.
#
# Each part prints its runner's own closing line.  A part that fails does not
# stop the others, so one run shows all that is wrong.
set -u
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0
jobs=$(nproc)

# part NAME COMMAND...: run, show, and count by the runner's closing line.
part() {
    name=$1
    shift
    printf '\n== %s\n' "$name"
    start=$(date +%s)
    "$@" > "$log" 2>&1
    status=$?
    [ $status -eq 0 ] && tail -n 4 "$log" || cat "$log"
    count "$status"
    printf '== %s: %s, %d s\n' "$name" \
        "$([ $status -eq 0 ] && echo ok || echo FAILED)" \
        $(($(date +%s) - start))
}

count() {
    check=$(grep -Eo 'Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+' "$log" |
        tail -n 1)
    pytest=$(grep -E '(passed|failed|error).* in [0-9.]+' "$log" | tail -n 1)
    plain=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
    p=0 f=0 s=0
    if [ -n "$check" ]; then
        all=$(echo "$check" | sed 's/Checks: \([0-9]*\).*/\1/')
        f=$(($(echo "$check" |
            sed 's/.*Failures: \([0-9]*\), Errors: \([0-9]*\)/\1 + \2/')))
        p=$((all - f))
    elif [ -n "$plain" ]; then
        p=$(number "$plain" passed)
        f=$(number "$plain" failed)
    elif [ -n "$pytest" ]; then
        p=$(number "$pytest" passed)
        f=$(($(number "$pytest" failed) + $(number "$pytest" error)))
        s=$(number "$pytest" skipped)
    elif [ "$1" -eq 0 ]; then
        p=1
    fi
    [ "$1" -ne 0 ] && [ "$f" -eq 0 ] && f=1
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

number() { # the number before a word in pytest's closing line, or 0
    n=$(echo "$1" | grep -Eo "[0-9]+ $2" | head -n 1 | cut -d' ' -f1)
    echo "${n:-0}"
}

make -s -j"$jobs" > /dev/null || exit 1
part "style" make -s test_style
part "build with clang" make -s -j"$jobs" CC=clang BUILD=build/clang \
    PROGRAM=build/clang/mta CFLAGS='-O2 -g -Werror'
part "report" make -s report
part "units" make -s -j"$jobs" test_units
part "units under valgrind" make -s -j"$jobs" test_memory
part "units with sanitizers" env MTA_TEST_SHORT=1 make -s -j"$jobs" SAN=address,undefined test_units
part "system" make -s -j"$jobs" test_system
part "system with sanitizers" make -s -j"$jobs" SAN=address,undefined \
    test_system
part "system under valgrind" make -s -j"$jobs" test_system_memory
part "threads with a sanitizer" make -s -j"$jobs" test_threads
part "crash, short" make -s crash_short
part "faults, short" make -s faults_short
part "fuzz, short" make -s -j"$jobs" fuzz_short

printf '\n%d passed, %d failed, %d skipped\n' $passed $failed $skipped
[ $failed -eq 0 ]
