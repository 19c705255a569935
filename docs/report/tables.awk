# tables.awk - make tables for tbl(1) of what the project says elsewhere, so
# that the report cannot drift from it.
#
#   -v what=settings      mta config --dump
#   -v what=requirements  docs/requirements.md
#   -v what=figures       a markdown page: its first table

function plain(s) {
    gsub(/`/, "", s)
    gsub(/\\/, "\\e", s)
    gsub(/'/, "\\(aq", s)
    if (s ~ /^[.]/)
        s = "\\&" s
    return s
}

function cells(line,    n, i) {
    sub(/^ *\|/, "", line)
    sub(/\| *$/, "", line)
    n = split(line, cell, /\|/)
    for (i = 1; i <= n; i++) {
        gsub(/^ +| +$/, "", cell[i])
        cell[i] = plain(cell[i])
    }
    return n
}

function head(format, titles) {
    print ".TS H\nexpand;"
    print format
    print titles
    print "_\n.TH"
}

BEGIN {
    FS = "\n"
    if (what == "settings")
        head("lfB lfB lfB\nlfCRp-2 lfCRp-2w(3.5c) lw(7.4c)p-1.", \
             "setting\tdefault\tmeaning")
    if (what == "requirements")
        head("lfB lfB lfB\nl lw(13c)p-1 l.", "id\twhat was asked\tstatus")
}

what == "settings" && /^[a-z]+: *\{/ { group = $0; sub(/:.*/, ".", group) }
what == "settings" && /^ *\};?$/ { group = "" }
what == "settings" && /^ *# / {
    s = $0
    sub(/^ *# /, "", s)
    if (s ~ /^Default: /)
        derived = substr(s, 10)
    else if (derived != "")
        derived = derived " " s
    sub(/[.]$/, "", derived)
    if (derived != "")
        next
    help = help == "" ? s : help " " s
}
what == "settings" && /^ *$/ { help = ""; derived = "" }
what == "settings" && /^ *#[a-z_]+ = / {
    s = $0
    sub(/^ *#/, "", s)
    name = s
    sub(/ = .*/, "", name)
    value = s
    sub(/^[^=]*= /, "", value)
    sub(/;$/, "", value)
    gsub(/[][ ]/, "", value)
    gsub(/,/, ", ", value)
    if (value == "")
        value = "\"\""
    value = derived != "" ? "\\fR\\s+1" plain(derived) "\\s0" : plain(value)
    printf "%s\tT{\n.ad l\n%s\nT}\tT{\n.ad l\n%s\nT}\n", plain(group name), \
        value, plain(help)
    help = ""
    derived = ""
}

what == "requirements" && /^\| [RCB][0-9]+ / {
    cells($0)
    printf "%s\tT{\n.ad l\n%s\nT}\t%s\n", cell[1], cell[2], cell[5]
    count[cell[5]]++
}

# Rows and what was to be reached are sentences; of figures the middle is
# enough, the page has their spread.
what == "figures" && /^\|/ && !done {
    n = cells($0)
    if (!begun++) {
        format = line = ""
        for (i = 1; i <= n; i++) {
            wide[i] = i == 1 || i > 4
            format = format (i == 1 ? "lp-2v-2w(4.0c)" : \
                wide[i] ? " lp-2v-2w(3.0c)" : " rp-2v-2")
            line = line (i > 1 ? "\t" : "") "\\fB" cell[i] "\\fR"
        }
        head(format ".", line)
        next
    }
    if ($0 ~ /^\|[-:| ]+$/)
        next
    line = ""
    for (i = 1; i <= n; i++) {
        if (!wide[i])
            sub(/ \(.*/, "", cell[i])
        gsub(/\*\*/, "", cell[i])
        line = line (i > 1 ? "\t" : "") \
            (wide[i] ? "T{\n.ad l\n" cell[i] "\nT}" : cell[i])
    }
    print line
}
what == "figures" && !/^\|/ && begun { done = 1 }

END {
    if (what != "figures" || begun)
        print ".TE"
    if (what == "requirements")
        printf ".LP\nOf %d rows %d are done, %d partly, %d come later.\n", \
            count["done"] + count["partly"] + count["later"], count["done"], \
            count["partly"], count["later"]
}
