#!/bin/sh
# make.sh OUTDIR - the report: OUTDIR/report.pdf, of report.ms, of drawings,
# and of tables that are made from what the program and the other pages say.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
mta=${MTA:-$root/mta}

# --- drawings ---------------------------------------------------------------
dot -Teps "$here/processes.dot" > "$out/processes.eps"
(cd "$root" && tests/tools/style.py --ladder) | dot -Teps > "$out/ladder.eps"

# Those of the sessions would be too small to be read on a page: parts, which
# have all ways between them.
begin() { # server or client
    fsm=$1
    "$mta" fsm "$fsm" > "$out/$fsm.dot"
    ways=0
}
part() { # name, states
    awk -v states="$2" -f "$here/part.awk" "$out/$fsm.dot" \
        > "$out/part.dot" 2> "$out/ways"
    dot -Teps "$out/part.dot" > "$out/$fsm-$1.eps"
    ways=$((ways + $(cat "$out/ways")))
}
all_drawn() {
    all=$(grep -c ' -> .*\[label=' "$out/$fsm.dot")
    if [ "$ways" -ne "$all" ]; then
        echo "make.sh: $ways of the $all ways of the $fsm are drawn" >&2
        exit 1
    fi
}
begin server
part open "CONNECTED HANDSHAKE GREETED any"
part mail "READY MAIL RCPT DATA CHECK COMMIT"
all_drawn
begin client
part open "DIAL WRAP GREET EHLO STARTTLS HANDSHAKE EHLO_TLS HELO AUTH any"
part envelope "IDLE MAIL RCPT RSET QUIT"
part text "DATA BODY DOT VOID"
part chunk "CHUNK SETTLE"
all_drawn

# --- tables ---------------------------------------------------------------
"$mta" config --dump | awk -v what=settings -f "$here/tables.awk" \
    > "$out/settings.tbl"
awk -v what=requirements -f "$here/tables.awk" "$root/docs/requirements.md" \
    > "$out/requirements.tbl"
if [ -e "$root/docs/bench.md" ]; then
    awk -v what=figures -f "$here/tables.awk" "$root/docs/bench.md" \
        > "$out/figures.tbl"
    plot() { # name, column, decades from and to, unit, rows
        awk -v column="$2" -v from="$3" -v to="$4" -v unit="$5" -v rows="$6" \
            -v names="${names-}" -f "$here/plot.awk" "$root/docs/bench.md" > "$out/$1.pic"
    }
    rows="one-20 one-100 kept-20 kept-100 pipe-100 maildir relay-one relay-100"
    plot rate 2 1 5 "messages a second" "$rows"
    plot cpu 3 1 4 "microseconds of CPU time a message" "$rows"
    # Rows of TLS are in the run since it has them.
    : > "$out/tls.ms"
    if grep -q '(`tls-kept-100`)' "$root/docs/bench.md"; then
        rows="tls-kept-100 tls-pipe-100 tls-one-20 relay-tls-one relay-tls-100"
        rows="$rows sign life sendmail"
        names="tls-kept-100=accept over TLS,|100 connections kept
tls-pipe-100=accept over TLS,|100 connections kept, pipelining
tls-one-20=accept,|a TLS session for each message
relay-tls-one=relay over TLS|to one next hop
relay-tls-100=relay over TLS|to 100 MX hosts
sign=sign with RSA-2048,|relay to one next hop
life=sign, relay over TLS to 100 hosts|behind lines of 50 ms
sendmail=sendmail,|20 callers"
        plot tls-rate 2 1 5 "messages a second" "$rows"
        plot tls-cpu 3 1 5 "microseconds of CPU time a message" "$rows"
        figure() { # name, caption
            printf '.KS\n.so %s.pic\n.sp 2p\n.ce\n' "$1"
            printf '\\s-1\\f[I]%s\\f[]\\s+1\n.sp 6p\n.KE\n' "$2"
        }
        {
            figure tls-rate "Figure 12. Messages a second with TLS, signatures, sendmail"
            figure tls-cpu "Figure 13. CPU time of these for a message"
        } > "$out/tls.ms"
    fi
else
    : > "$out/rate.pic"
    : > "$out/cpu.pic"
    : > "$out/tls.ms"
    cat > "$out/figures.tbl" <<'END'
.LP
No figures are kept in the sources yet, because they belong to a machine and
a day: \*cmake bench\*r makes the table of yours.
END
fi

# What .so includes does not pass preconv(1) by itself.
for name in settings requirements figures; do
    preconv -r -e utf-8 "$out/$name.tbl" > "$out/table"
    mv "$out/table" "$out/$name.tbl"
done

# --- text; the first pass only finds out on which page each section is ----
when=$(git -C "$root" log -1 --format=%cs 2>/dev/null || date +%F)
version=$("$mta" version | awk 'NR == 1 { print $NF }')
: > "$out/contents.ms"
typeset_ps() {
    (cd "$out" && groff -k -s -p -t -ms -Tps -dpaper=a4 -P-pa4 \
        -dwhen="$when" -dversion="$version" "$here/report.ms" \
        > report.ps 2> pass.log)
}
contents() {
    sed -n 's/^contents: //p' "$out/pass.log" > "$out/contents.ms"
    if grep -v '^contents: ' "$out/pass.log" >&2; then
        echo "make.sh: the typesetter has complained" >&2
        exit 1
    fi
}
typeset_ps; contents
typeset_ps; contents
typeset_ps; contents
(cd "$out" && ps2pdf -sPAPERSIZE=a4 -dPDFSETTINGS=/prepress \
    -dAutoRotatePages=/PageByPage report.ps report.pdf)
echo "$out/report.pdf: $(pdfinfo "$out/report.pdf" |
    sed -n 's/^Pages: *//p') pages"
