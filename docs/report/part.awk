# part.awk - a part of a drawing that `mta fsm` prints: some of its states with
# all ways that leave them.
#
#   -v states="IDLE MAIL"    the states; those that they lead to are outlined
#
# Writes the number of its ways to standard error.

BEGIN {
    n = split(states, name, " ")
    for (i = 1; i <= n; i++)
        mine[name[i]] = 1
}
/ -> .*\[label=/ {
    if (!($1 in mine))
        next
    ways++
    if (!($3 in mine))
        outside[$3] = 1
    print
    next
}
/^  [A-Za-z_]+ \[label=/ {
    if ($1 in mine)
        print
    next
}
/^}/ {
    for (state in outside)
        printf "  %s [label=\"%s\", shape=plaintext];\n", state, state
    print "}"
    print ways + 0 > "/dev/stderr"
    next
}
# It is made smaller for the page; its letters are to be read there.
/fontsize/ { gsub(/fontsize=1[01]/, "fontsize=15") }
{ print }
