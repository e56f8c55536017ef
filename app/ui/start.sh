#!/bin/sh
# Start nginx with the release in its headers. The release is inserted into a configuration file, so it must be a plain
# word.
set -eu
case ${PPM_RELEASE:-} in
    '' | *[!A-Za-z0-9._-]*)
        echo "start: PPM_RELEASE is not a release id (letters, digits, '.', '_', '-'): '${PPM_RELEASE:-}'" >&2
        exit 64
        ;;
esac
sed "s/@RELEASE@/$PPM_RELEASE/" /etc/ppm/nginx.conf > /tmp/nginx.conf
# Not fatal: this release still serves. Only pages that are open during the next upgrade may miss an asset.
keep-assets || echo "start: the assets of $PPM_RELEASE are not kept for open pages" >&2
exec nginx -e stderr -c /tmp/nginx.conf
