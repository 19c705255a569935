#!/bin/bash
# with_naps.sh ARGUMENTS... - $NAPPING_MTA, of whose calls some come late: what
# system tests get for the program in `make naps`.
export LD_PRELOAD="${LD_PRELOAD:+$LD_PRELOAD:}${FAULTS:?}"
export SHIM_NAPS="${NAPS:?}"
exec -a "$0" "${NAPPING_MTA:?}" "$@"
