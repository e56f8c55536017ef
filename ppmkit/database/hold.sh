#!/bin/sh
# Hold: the database changes while requests wait in the proxy. It runs on the host and needs no other machine: even if
# the machine that started it fails, it ends with a release that serves. Values: `plan`, next to this file.
# It ends by writing `outcome`: "done", or "undone: why".
set -u
cd "$(dirname "$0")" || exit 1
. ./plan
exec 9> lock
flock -n 9 || exit 0
test -e outcome && exit 0

# Uptime instead of wall-clock time, which may be set meanwhile.
seconds() { cut -d. -f1 /proc/uptime; }
left() { echo $((end - $(seconds) > 1 ? end - $(seconds) : 1)); }
say() { echo "$(date -u +%FT%T.%3NZ) $*"; }
finish() { # outcome, routes
    cp "$2" "$routes/.new.held" && sync "$routes/.new.held" && mv -f "$routes/.new.held" "$routes/routes.yaml"
    echo "$1" > outcome.new && sync outcome.new && mv outcome.new outcome
    say "$1"
    exit 0
}
# The previous release gets the new one's names too: a held request keeps retrying the name that it was first sent to.
back() {
    say "going back: $1"
    until docker version > /dev/null 2>&1; do sleep 0.2; done
    docker stop $old > /dev/null   # it first finishes its requests in flight
    docker kill $new "$change" > /dev/null 2>&1   # what changes the database may keep others from opening it
    for pair in $pairs; do   # names with commas between them, @, the container
        docker network disconnect --force "$network" "${pair#*@}"
        docker network connect $(echo "${pair%@*}" | tr , ' ') "$network" "${pair#*@}"
    done
    docker start $old $steward
    finish "undone: $1" routes.before
}
# Signal a waiting container to start, and return its exit status: 124 for too late.
go() {
    docker kill --signal USR1 "$1" > /dev/null || return 1
    status=$(timeout "$(left)" docker wait "$1") || { docker kill "$1" > /dev/null; docker wait "$1" > /dev/null; return 124; }
    return "$status"
}

# The ppmctl that started this routes users to wait; if it is gone, they are sent back.
for _ in $(seq "$patience"); do
    test -e go && break
    sleep 0.1
done
test -e go || back "the ppmctl that started it is gone"
end=$(($(seconds) + limit))
say "draining"
timeout "$(left)" docker stop $old > /dev/null || back "the old release could not be stopped in time"
say "keeping what the database is"
go "$copy" || back "the database could not be kept"
say "changing the database"
go "$change"
case $? in
    0) finish done routes.after ;;
    124)
        # The change may have finished at the last moment, so restore the copy.
        end=$(($(seconds) + 600))
        go "$restore" || say "the database could not be put back"
        back "the database was not changed within $limit s" ;;
    *) back "the change of the database failed" ;;
esac
