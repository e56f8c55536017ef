#!/bin/sh
# Place docker-buildx of Debian 13 in $2, fetched from the Debian mirror $1. apt's own sources stay as they are.
set -eu
mirror=$1 plugins=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial" "$scratch/tree"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$scratch/sources.list"
cd "$scratch"

only_trixie() {
    apt-get -qq -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$scratch/lists" -o Dir::Cache="$scratch/cache" -o APT::Sandbox::User=root "$@"
}
only_trixie update
only_trixie download docker-buildx
dpkg-deb -x docker-buildx_*.deb tree
install -D -m 755 tree/usr/libexec/docker/cli-plugins/docker-buildx "$plugins/docker-buildx"
