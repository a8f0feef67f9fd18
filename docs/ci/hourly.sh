#!/bin/sh
# The hourly job for plain cron, in a file of its own. Says nothing while all is well, because cron mails whatever is said.
#
#   /etc/cron.d/okaeri:   7 * * * *  okaeri  /srv/campaigns/hourly.sh /srv/campaigns/shop /etc/okaeri.env
#
# The first is a clone of the campaigns; the second holds what the job must know and belongs to the user alone (chmod 600):
#
#   DATABASE_URL=postgres://okaeri:…@db.example.net/shop
#   SMTP_URL=smtps://user:password@mail.example.com
#   OKAERI_SECRET=…
#   OKAERI_BASE_URL=https://mail.example.com
set -eu
project=$1 environment=$2
set -a # what is set from here on is seen by the commands below
. "$environment"
set +a
cd "$project"
git pull --quiet --ff-only

code=0
said=$(okaeri import --quiet 2>&1 && okaeri run --max-time 50m --quiet 2>&1) || code=$?
case $code in
  0 | 75) ;; # 75: something is due later, and the next hour has it
  *) printf '%s\n' "$said"; exit "$code" ;;
esac
