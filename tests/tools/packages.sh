#!/bin/sh
# packages.sh build|test|report|fuzz|peers|bench ... - install the Debian packages that a
# target needs, if any is missing.  Silent and quick when all are there.
set -eu

build="gcc make pkg-config libc6-dev libconfig-dev libidn2-dev libssl-dev"
test="$build ccache check valgrind clang clang-format graphviz python3 python3-pytest python3-pytest-xdist
      swaks libio-socket-inet6-perl libnet-ssleay-perl openssl msmtp mutt curl postfix
      knot knot-dnsutils dovecot-core dovecot-lmtpd dovecot-submissiond
      dnsmasq-base strace iproute2 procps util-linux mandoc
      python3-dkim python3-yaml python3-prometheus-client opendkim-tools
      docker-compose python3-kubernetes
      cron mdadm smartmontools php-cli git-email libmailtools-perl logwatch
      s-nail mailutils
      debhelper dpkg-dev lintian mmdebstrap"
deb="debhelper dpkg-dev"
report="$build groff graphviz ghostscript poppler-utils"
fuzz="$build clang libclang-rt-14-dev"
# The peers' libraries; tests/bench/unpack.sh fetches Exim and OpenSMTPD,
# which cannot be installed beside Postfix.
peers="python3 postfix iproute2 util-linux mount libdb5.3 libevent-2.1-7
       libgnutls-dane0 libgnutls30 libidn12 libidn2-0 libnsl2 libpam0g
       libpcre2-8-0 libssl3 zlib1g"
bench="$build $peers knot strace e2fsprogs linux-perf openssl opendkim"

want=""
for set in "$@"; do
    case $set in
    build) want="$want $build" ;;
    test) want="$want $test" ;;
    deb) want="$want $deb" ;;
    report) want="$want $report" ;;
    fuzz) want="$want $fuzz" ;;
    peers) want="$want $peers" ;;
    bench) want="$want $bench" ;;
    *) echo "packages.sh: unknown set '$set'" >&2; exit 64 ;;
    esac
done

missing=""
for p in $want; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) in
    installed) ;;
    *) case " $missing " in *" $p "*) ;; *) missing="$missing $p" ;; esac ;;
    esac
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "Please install as root: apt-get install$missing" >&2
        exit 1
    }
    as_root=sudo
fi
echo "Installing:$missing"
# Postfix is here for its test tools and as a peer, not as this host's MTA.
echo "postfix postfix/main_mailer_type select No configuration" |
    $as_root debconf-set-selections 2>/dev/null || true
$as_root apt-get update -qq
# shellcheck disable=SC2086  # the list is words
# Daemons of callers of sendmail are not for this host either: in runlevel 1
# none is started.
$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
