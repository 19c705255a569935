#!/bin/sh
# try.sh - start a working system below local/, on ports that need no root,
# with a first message at hand.
set -eu
dir=${TRY_DIR:-local}
port=${TRY_PORT:-2525}
mta=${MTA:-./mta}
user=$(id -un)
as=$([ "$(id -u)" -ne 0 ] || echo root) # root must be asked for
mkdir -p "$dir/mail"
cat > "$dir/first.eml" <<MAIL
From: The first sender <first@localhost>
To: $user@localhost
Subject: It works
Date: $(date -R)
Message-ID: <first.$(date +%s).$$@localhost>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

Hello $user,

when you read this, mta has accepted a message by SMTP, made it durable
and delivered it into your mailbox. Its path stands in the header above
and in the log.

Regards,
the first sender
MAIL
cat <<TEXT
Starting mta on 127.0.0.1 port $port; mailboxes, queue and log are in $dir/.
Stop it with Ctrl-C.  A first message, from another terminal:

  curl smtp://127.0.0.1:$port --mail-from first@localhost \\
       --mail-rcpt $user@localhost --crlf --upload-file $dir/first.eml

It is in a Maildir; read it with your mail client (mutt -f $dir/mail/$user), or:

  cat $dir/mail/$user/new/*

What waits in the queue, and why (mail to other hosts, until they take it):

  $mta queue list --queue-dir $dir/queue

TEXT
exec "$mta" run -o "user=$as" -o "queue_dir=$dir/queue" \
    -o "local.mail_dir=$dir/mail" -o "serve.listen=127.0.0.1:$port" \
    -o local.users=any -o local.aliases= -o serve.rdns=off \
    -o send.retry_min=10s
