#!/bin/sh
# Replaces the running proxy with another one. It runs on the host and needs no other machine: even if the machine
# that started it fails, it ends with one proxy that serves. Values: `plan`, next to this file.
# The directories before/ and after/ hold what each proxy reads; a file that is missing there is removed.
# It ends by writing `outcome`: "done", or "undone: why".
#
# A reboot may stop it at any moment. The engine then starts the proxy whose restart policy says so, and that proxy
# finds its routes: the new ones, and the previous ones next to them under other names.
set -u
cd "$(dirname "$0")" || exit 1
. ./plan
exec 9> lock
flock -n 9 || exit 0
test -e outcome && exit 0

say() { echo "$(date -u +%FT%T.%3NZ) $*"; }
finish() {
    echo "$1" > outcome.new && sync outcome.new && mv outcome.new outcome
    say "$1"
    exit 0
}
place() { # file here, file there: replaced as a whole
    cp "$1" "$traefik/$2.new" && sync "$traefik/$2.new" && mv -f "$traefik/$2.new" "$traefik/$2"
}
place_all() {
    for file in settings.json dynamic/certificates.yaml dynamic/routes.yaml; do
        if test -e "$1/$file"; then place "$1/$file" "$file"; else rm -f "$traefik/$file"; fi
    done
}
state() { docker inspect --format '{{.State.Running}}' "$1" 2> /dev/null; } # nothing while the engine restarts
runs() { test "$(state "$1")" = true; }
# Open requests get one second to end, since the port is closed meanwhile.
stop() { docker stop -t 1 "$1" > /dev/null; }
policy() { docker update --restart "$1" "$2" > /dev/null; }
start_new() { docker start "$new" > /dev/null 2> error || back "$(reason)"; }
# Some engines print a last line that only names the container; the line before it gives the reason.
reason() { grep -v 'failed to start containers' error | tail -n 1; }
await_engine() { until docker version > /dev/null 2>&1; do sleep 0.2; done; }

back() {
    say "going back: $1"
    await_engine
    place_all before
    stop "$new"
    for _ in $(seq 100); do # its port may still be taken for a moment
        docker start "$old" > /dev/null && break
        sleep 0.3
    done
    runs "$old" || finish "failed: neither proxy could be started: $1"
    policy "$old_policy" "$old"
    policy no "$new"
    rm -f "$traefik/dynamic/$aside"
    finish "undone: $1"
}
keep() {
    say "keeping $new"
    await_engine
    place_all after
    if ! runs "$new"; then # the engine was restarted
        stop "$old"
        start_new
    fi
    policy "$new_policy" "$new"
    policy no "$old"
    stop "$old"
    rm -f "$traefik/dynamic/$aside"
    finish done
}

if test "${1-}" = again; then # a reboot ended it
    test -e keep && keep
    back "it was interrupted"
fi
say "replacing $old by $new"
test -e "$aside" && place "$aside" "dynamic/$aside"
policy always "$old" && policy no "$new" || back "the engine did not take a restart policy"
place_all after
stop "$old" || back "the previous proxy could not be stopped"
start_new
: > started
say "started"
# The ppmctl that began this checks whether users are served, and says so by a file.
for turn in $(seq "$patience"); do
    test -e keep && keep
    test -e back && back "$(cat back)"
    test $((turn % 3)) = 0 && test "$(state "$new")" = false && back "the new proxy ended by itself"
    sleep 0.1
done
test "$silence" = keep && keep
back "it was not confirmed that users are served"
