"""The secret `rclone_conf`: what ppmctl asks of it. Pure."""

from __future__ import annotations

from configparser import Error, RawConfigParser


def unfit(text: str) -> str | None:
    """Given an rclone.conf, return what is wrong with it, or None.

    rclone sends what it has to any SFTP server that answers, unless it is told the key which that must have
    (https://rclone.org/sftp/#sftp-host-keys).
    """
    parser = RawConfigParser(delimiters=("=",), strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except Error:  # its text has lines of the file, which are secret
        return "is no rclone.conf"
    open_ones = [
        name
        for name, remote in parser.items()
        if (remote.get("type") or "") == "sftp" and not (remote.get("host_keys") or "")
    ]
    if not open_ones:
        return None
    return f"lets any server take what is meant for {', '.join(open_ones)}: `host_keys` is missing there"
