#!/bin/sh
# Keep this image's assets on the volume /srv/kept, for the pages of this release that are still open when another one
# serves: nginx looks there for what its own image lacks.
#   $@  the releases whose assets stay; the rest is removed. Without any, all stay.
# In the volume: assets/ has the files of every kept release, releases/<id> the names of one's own. A name changes with
# the content, so releases do not disturb each other. What a power cut damages, the next start mends.
set -eu
export LC_ALL=C
cd /srv/kept
exec 9< .
if ! flock --timeout 10 9; then
    echo "keep-assets: somebody else has had /srv/kept for 10 s" >&2
    exit 75
fi
trap 'rm -f new' EXIT
mkdir -p assets releases
(cd /srv/ui && find assets -type f) > /tmp/own

# Before anything is added: a full volume gets room.
if [ $# -gt 0 ]; then
    for note in releases/*; do
        case " $* " in
            *" ${note#releases/} "*) ;;
            *) rm -f "$note" ;;
        esac
    done
    find releases -type f -exec cat {} + > /tmp/named
    sort /tmp/named /tmp/own > /tmp/needed
    find assets -type f | sort | comm -23 - /tmp/needed | xargs --no-run-if-empty --delimiter='\n' rm -f
fi

cp /tmp/own new
mv -T new "releases/$PPM_RELEASE"
while IFS= read -r file; do
    if ! cmp -s "/srv/ui/$file" "$file"; then
        mkdir -p "${file%/*}"
        cp "/srv/ui/$file" new
        mv -T new "$file"
    fi
done < /tmp/own
