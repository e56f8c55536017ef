#!/bin/sh
# Create the file tree of a Debian image.
#   $1 empty directory   $2 mirror, or nothing for debootstrap's default   $3 mirror of security updates, or nothing
# A change to this file rebuilds every base image.
set -eu
tree=$1 mirror=${2:-} security=${3:-} suite=trixie

debootstrap --force-check-gpg --variant=minbase "$suite" "$tree" $mirror
mirror=$(awk '$1 == "deb" {print $2; exit}' "$tree/etc/apt/sources.list")
{
    echo "deb $mirror $suite main"
    echo "deb $mirror $suite-updates main"
    if [ -n "$security" ]; then echo "deb $security $suite-security main"; fi
} > "$tree/etc/apt/sources.list"
# The image needs neither the packages that it was installed from, nor apt's caches.
cat > "$tree/etc/apt/apt.conf.d/slim" <<'APT'
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
DPkg::Post-Invoke {"rm -f /var/cache/apt/archives/*.deb";};
APT
cat > "$tree/etc/dpkg/dpkg.cfg.d/slim" <<'SLIM'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/lintian/*
SLIM

export DEBIAN_FRONTEND=noninteractive LC_ALL=C
chroot "$tree" apt-get update -qq
chroot "$tree" apt-get upgrade -y -qq

# Remove files that the exclusions above would have left out, and files that only the build needed.
find "$tree/usr/share/doc" -type f ! -name copyright -delete
find "$tree/usr/share/doc" -type l -delete
find "$tree/usr/share/doc" -type d -empty -delete
rm -rf "$tree"/usr/share/man/* "$tree"/usr/share/info/* "$tree"/usr/share/locale/* "$tree"/usr/share/lintian \
    "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/* "$tree"/var/cache/debconf/*-old "$tree"/var/cache/ldconfig \
    "$tree"/var/log/* "$tree"/etc/machine-id "$tree"/etc/hostname "$tree"/etc/resolv.conf
mkdir -p "$tree/var/lib/apt/lists/partial" "$tree/var/cache/apt/archives/partial" "$tree/var/log/apt"
