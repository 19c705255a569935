#!/bin/sh
# under_valgrind.sh ARGUMENTS... - $VALGRIND_MTA under valgrind: what system
# tests get for the program in `make test_system_memory`.  Each process of the
# tree is watched, and asked for leaks when it ends; what is said goes to
# $VALGRIND_LOGS, where tests/system/conftest.py looks.
here=$(cd "$(dirname "$0")" && pwd)
exec valgrind -q --leak-check=full --error-exitcode=99 \
    --errors-for-leak-kinds=definite,indirect,possible --track-fds=no \
    --suppressions="$here/valgrind.supp" \
    --log-file="${VALGRIND_LOGS:?}/valgrind.%p" "${VALGRIND_MTA:?}" "$@"
