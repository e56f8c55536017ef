#!/bin/sh
# Keep this image's assets on the volume /srv/kept, for pages of this release that are still open when another release
# serves: nginx looks there for assets that its own image lacks.
#   $@  the releases whose assets are kept; all other assets are removed. Without arguments, all are kept.
# On the volume, assets/ holds the files of every kept release, and releases/<id> lists the files of one release. A
# file's name changes with its content, so releases do not overwrite each other's files. The next start repairs files
# that a power failure damaged.
set -eu
export LC_ALL=C
cd /srv/kept
exec 9< .
if ! flock --timeout 10 9; then
    echo "keep-assets: another process has held the lock on /srv/kept for 10 s" >&2
    exit 75
fi
trap 'rm -f new' EXIT
mkdir -p assets releases
(cd /srv/ui && find assets -type f) > /tmp/own

# Remove before adding, so that a full volume has room.
if [ $# -gt 0 ]; then
    for list in releases/*; do
        case " $* " in
            *" ${list#releases/} "*) ;;
            *) rm -f "$list" ;;
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
