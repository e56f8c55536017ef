"""Validation of the secret `rclone_conf`. Pure."""

from __future__ import annotations

from configparser import Error, RawConfigParser


def unfit(text: str) -> str | None:
    """Given an rclone.conf, return its problem, or None.

    rclone sends data to any SFTP server that answers, unless the config pins the server's host key
    (https://rclone.org/sftp/#sftp-host-keys).
    """
    parser = RawConfigParser(delimiters=("=",), strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except Error:  # the error quotes lines of the file, which are secret
        return "is not a valid rclone.conf"
    unpinned = [
        name
        for name, remote in parser.items()
        if (remote.get("type") or "") == "sftp" and not (remote.get("host_keys") or "")
    ]
    if not unpinned:
        return None
    return f"lets any server receive the data for {', '.join(unpinned)}: `host_keys` is missing there"
