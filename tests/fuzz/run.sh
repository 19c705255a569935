#!/bin/sh
# run.sh SECONDS BUILD NAME... - each target of BUILD for so long, as many at a
# time as there are processors.
#
# Every input found so far is tried again first.  A target is silent while all
# is well; the log of one that fails is shown.
set -u
seconds=$1 build=$2
shift 2
seeds=$(cd "$(dirname "$0")" && pwd)/corpus
export seconds build seeds
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 sh -c '
    mkdir -p "$build/corpus/$1"
    more=$seeds/$1
    [ -d "$more" ] || more=
    "$build/$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$build/$1-" -print_final_stats=1 \
        "$build/corpus/$1" $more > "$build/$1.log" 2>&1 || {
        cat "$build/$1.log"
        echo "fuzz: $1 failed"
        exit 1
    }
    n=$(sed -n "s/^stat::number_of_executed_units: *//p" "$build/$1.log")
    echo "fuzz: $1: $n inputs, no fault"' sh || exit 1
sum=0
for name in "$@"; do
    n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log")
    sum=$((sum + n))
done
echo "fuzz: $# targets, $sum inputs, no fault"
