#!/bin/bash
# all.sh - every test of `make tests`; the last line counts.
#
# Three lanes run beside each other, for most of the time of the system tests
# and all of that of kills and faults is waiting: what computes fills it, with
# less of the processors where both want them.  A part is shown when it is
# over: its runner's own closing line and what was skipped, or all of its output
# when it has failed; then the time it took, by the clock and of the processors.
# A part that fails does not stop the others, so one run shows all that is
# wrong, and one that hangs has failed when PART_LIMIT seconds are over.  In the
# end each test that failed stands there once more, for readers of the last
# lines.
set -um
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
limit=${PART_LIMIT:-1800}
lanes=""
stop() { # what is under way ends with us
    trap - EXIT
    for lane in $lanes; do kill -- "-$lane" 2> /dev/null; done
    cat "$dir"/running-* 2> /dev/null | xargs -r kill 2> /dev/null
    rm -rf "$dir"
    exit "$1"
}
trap 'rm -rf "$dir"' EXIT
trap 'stop 130' INT
trap 'stop 143' TERM HUP
jobs=$(nproc)
if command -v ccache > /dev/null; then # the second run need not compile
    case ${CC-} in ccache*) ;; *) export CC="ccache ${CC:-cc}" ;; esac
    export FUZZ_CC="ccache clang"
    export CCACHE_DEPEND=1    # a first run need not preprocess twice
    export CCACHE_NOHASHDIR=1 # nor the package's build compile anew
fi

# part NAME COMMAND...: run, then show and count by the runner's closing line.
part() {
    local name=$1 key=${1//[^a-z]/-} start=$SECONDS status cpu log result=ok
    log=$dir/$key
    shift
    TIMEFORMAT='%U %S'
    { time limited "$key" "$@" > "$log" 2>&1 < /dev/null; } 2> "$log.cpu"
    status=$?
    [ $status -eq 0 ] || result=FAILED
    [ $status -ne 124 ] || result="FAILED: hangs, stopped after $limit s"
    cpu=$(awk '{ s = $1 + $2 } END { printf "%d", s }' "$log.cpu")
    {
        flock 9
        count "$log" $status >> "$dir/counts"
        printf '\n== %s\n' "$name"
        if [ $status -eq 0 ]; then
            { grep '^SKIPPED ' "$log"; tail -n 4 "$log"; } | awk '!seen[$0]++'
        else
            cat "$log"
            "$here/failures.py" "$name" "$log" >> "$dir/failures"
        fi
        printf '== %s: %s, %d s, %d s of the processors\n' "$name" "$result" \
            $((SECONDS - start)) "$cpu"
    } 9> "$dir/lock"
    return $status
}

# limited KEY COMMAND...: with all that it starts in a process group of its
# own, to be stopped at the limit: 124 then.
limited() {
    local key=$1 status
    shift
    timeout -k 10 "$limit" "$@" &
    echo $! > "$dir/running-$key"
    wait $!
    status=$?
    rm -f "$dir/running-$key"
    [ $status -ne 137 ] || status=124
    return $status
}

count() { # log, status: "passed failed skipped"
    local check pytest plain all p=0 f=0 s=0
    check=$(grep -Eo 'Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+' "$1" |
        tail -n 1)
    pytest=$(grep -E '(passed|failed|error).* in [0-9.]+' "$1" | tail -n 1)
    plain=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$1" | tail -n 1)
    if [ -n "$check" ]; then
        all=$(number_after "$check" Checks:)
        f=$(($(number_after "$check" Failures:) +
            $(number_after "$check" Errors:)))
        p=$((all - f))
    elif [ -n "$plain$pytest" ]; then
        all=${plain:-$pytest}
        p=$(number_before "$all" passed)
        f=$(($(number_before "$all" failed) + $(number_before "$all" error)))
        s=$(number_before "$all" skipped)
    elif [ "$2" -eq 0 ]; then
        p=1
    fi
    [ "$2" -ne 0 ] && [ $f -eq 0 ] && f=1
    echo "$p $f $s"
}

number_before() { # of a word in a closing line, or 0
    [[ $1 =~ ([0-9]+)\ $2 ]] && echo "${BASH_REMATCH[1]}" || echo 0
}

number_after() {
    [[ $1 =~ $2\ ([0-9]+) ]] && echo "${BASH_REMATCH[1]}" || echo 0
}

# Builds that more than one lane needs have one maker; the others wait for it.
built() { : > "$dir/built-$1"; }
wait_for() {
    until [ -e "$dir/built-$1" ] || ! kill -0 "$maker"; do sleep 0.2; done
}

computes() {
    renice -n 5 $BASHPID > /dev/null
    part "build for the units" make -s -j"$jobs" test_build
    built units
    part "build with sanitizers" make -s -j"$jobs" SAN=address,undefined \
        test_build
    built sanitizers
    part "units" make -s -j"$jobs" test_units
    part "build for threads" make -s -j"$jobs" SAN=thread all
    built threads
    part "units with sanitizers" env TEST_SHORT=1 make -s -j"$jobs" \
        SAN=address,undefined test_units
    # A few seconds of fuzz are not worth a minute of optimizing.
    local quick="FUZZ_BUILD=build/fuzz-short FUZZ_OPTIMIZE=-O0"
    # shellcheck disable=SC2086  # two words
    part "build with clang, for fuzz" make -s -j"$jobs" $quick clang_build
    # shellcheck disable=SC2086
    part "fuzz, short" make -s -j"$jobs" $quick fuzz_short
    part "report" make -s report
}

system_tests() {
    part "style" make -s test_style
    wait_for units
    part "system" make -s -j"$jobs" test_system
    wait_for sanitizers
    part "system with sanitizers" env TEST_SHORT=1 make -s -j"$jobs" \
        SAN=address,undefined test_system
    wait_for threads
    part "threads with a sanitizer" env TEST_SHORT=1 make -s -j"$jobs" \
        test_threads
    part "system under valgrind" make -s -j"$jobs" test_system_memory
}

kills() {
    wait_for units
    part "crash, short" make -s crash_short
    part "liveness, short" make -s liveness_short
    part "faults, short" make -s faults_short
    renice -n 5 $BASHPID > /dev/null
    part "units under valgrind" make -s -j"$jobs" test_memory
}

# lane FUNCTION: beside the others.  One that does not come to its end has
# failed, whatever its parts were.
lane() {
    { "$1"; : > "$dir/ended-$1"; } &
    lanes="$lanes $!"
}

finish() {
    local p f s lane
    for lane in computes system_tests kills; do
        [ -e "$dir/ended-$lane" ] && continue
        echo "0 1 0" >> "$dir/counts"
        echo "-- $lane: these parts did not come to their end" \
            >> "$dir/failures"
    done
    read -r p f s < <(awk '{ p += $1; f += $2; s += $3 }
        END { print p + 0, f + 0, s + 0 }' "$dir/counts")
    [ ! -e "$dir/failures" ] || {
        printf '\n== what failed\n'
        cat "$dir/failures"
    }
    printf '\n%d passed, %d failed, %d skipped\n' "$p" "$f" "$s"
    [ "$f" -eq 0 ]
}

make -s -j"$jobs" all > /dev/null || {
    printf '\n0 passed, 1 failed, 0 skipped\n'
    exit 1
}
lane computes
maker=$!
lane system_tests
lane kills
wait
finish
