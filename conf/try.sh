#!/bin/sh
# try.sh - start a working system below local/, on ports that need no root.
set -eu
dir=${MTA_TRY_DIR:-local}
port=${MTA_TRY_PORT:-2525}
mkdir -p "$dir/mail"
cat <<TEXT
Starting mta on 127.0.0.1 port $port; mailboxes, queue and log are in $dir/.
Stop it with Ctrl-C.  A first message, from another terminal:

  curl smtp://127.0.0.1:$port --mail-from me@localhost \\
       --mail-rcpt $(id -un)@localhost --crlf --upload-file README.md

Then look at it:

  ls $dir/mail/$(id -un)/new
  ./mta queue list -o queue_dir=$dir/queue

TEXT
exec ./mta run -o "queue_dir=$dir/queue" -o "serve.mail_dir=$dir/mail" \
    -o "serve.listen=127.0.0.1:$port" -o serve.users=any \
    -o serve.aliases= -o serve.rdns=off -o send.retry_min=10s
