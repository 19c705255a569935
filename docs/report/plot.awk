# plot.awk - bars for pic(1) from the tables of docs/bench.md, whose figures
# span decades: the axis is logarithmic.
#
#   -v column=N              the figure: a column of the tables of one row
#   -v from=N -v to=N        the decades of the axis, as powers of ten
#   -v unit=TEXT             what stands below it
#   -v rows="KEY ..."        the rows, by the name in parentheses
#   -v names="KEY=LINE|LINE" labels for some of them, one a line of text

function number(s) {
    sub(/ \(.*/, "", s)
    gsub(/,/, "", s)
    return s + 0
}

function at(v) {
    v = log(v) / log(10)
    return (v < from ? 0 : (v - from) / (to - from)) * width
}

function thousands(v) {
    if (v < 1000)
        return v
    return int(v / 1000) "\\|" substr(1000 + v % 1000, 2)
}

function bar(y, high, v, shade, name) {
    printf "box wid %.3f ht %.3f fill %.2f with .sw at (%.3f, %.3f)\n", \
        at(v), high, shade, left, y
    printf "\"\\s[-4]%s\\s[+4]\" ljust at (%.3f, %.3f)\n", \
        thousands(v), \
        left + at(v) + 0.05, y + high / 2
}

BEGIN {
    n = split(rows, key, " ")
    ns = split("mta Postfix Exim OpenSMTPD", server, " ")
    split("0.75 0.45 0.2 0", shade, " ")
    for (i = split(names, line, "\n"); i > 0; i--)
        name[substr(line[i], 1, index(line[i], "=") - 1)] = \
            substr(line[i], index(line[i], "=") + 1)
    left = 5.6
    width = 9.8
}
/^\*\*.*\*\* \(`/ {
    row = $0
    sub(/.*\(`/, "", row)
    sub(/`.*/, "", row)
    text[row] = $0
    sub(/^\*\*/, "", text[row])
    sub(/\*\*.*/, "", text[row])
}
/^\| (mta|Postfix|Exim|OpenSMTPD) \|/ && row != "" {
    split($0, cell, /\| */)
    sub(/ +$/, "", cell[2])
    figure[row, cell[2]] = number(cell[column + 1])
}
END {
    high = 0.22
    print ".PS\nscale = 2.54"
    y = 0
    for (i = 1; i <= n; i++) {
        if (!((key[i], "mta") in figure)) {
            print "plot.awk: no row " key[i] > "/dev/stderr"
            exit 1
        }
        top = y
        for (s = 1; s <= ns; s++) {
            y -= high
            if ((key[i], server[s]) in figure)
                bar(y, high, figure[key[i], server[s]], shade[s])
        }
        label = text[key[i]]
        cut = index(substr(label, 18), ", ") + 17
        if (key[i] in name) {
            cut = index(name[key[i]], "|") - 1
            label = substr(name[key[i]], 1, cut) " " \
                substr(name[key[i]], cut + 2)
        }
        if (length(label) > 30 && cut > 17 || key[i] in name)
            printf "\"\\s[-3]%s\\s[+3]\" rjust \"\\s[-3]%s\\s[+3]\" rjust at (%.3f, %.3f)\n", \
                substr(label, 1, cut), substr(label, cut + 2), left - 0.15, \
                (top + y) / 2
        else
            printf "\"\\s[-3]%s\\s[+3]\" rjust at (%.3f, %.3f)\n", label, \
                left - 0.15, (top + y) / 2
        y -= 0.24
    }
    printf "line from (%.3f, 0.1) to (%.3f, %.3f)\n", left, left, y
    printf "line from (%.3f, %.3f) to (%.3f, %.3f)\n", left, y, left + width, y
    for (d = from; d <= to; d++) {
        x = left + (d - from) / (to - from) * width
        printf "line from (%.3f, %.3f) to (%.3f, %.3f)\n", x, y, x, y - 0.12
        printf "\"\\s[-3]%s\\s[+3]\" at (%.3f, %.3f)\n", \
            d == 0 ? "1" : d == 1 ? "10" : d == 2 ? "100" : \
            d == 3 ? "1\\|000" : d == 4 ? "10\\|000" : "100\\|000", x, y - 0.35
    }
    printf "\"\\s[-3]%s\\s[+3]\" at (%.3f, %.3f)\n", unit, left + width / 2, y - 0.8
    for (s = 1; s <= ns; s++) {
        x = left + (s - 1) * 2.4
        printf "box wid 0.35 ht 0.24 fill %.2f with .sw at (%.3f, 0.3)\n", \
            shade[s], x
        printf "\"\\s[-3]%s\\s[+3]\" ljust at (%.3f, 0.42)\n", server[s], x + 0.45
    }
    print ".PE"
}
