"""Hardening files of a host, and the command that applies each. Pure and without pyinfra: doctor uses them too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses
from typing import TYPE_CHECKING

from ppmkit.config.proxy import open_requests

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment

_MARK = "# Written by ppmctl provision."
FIREWALL = "/etc/ppm-firewall.nft"
LOADED = "/etc/ppm-firewall.loaded"
"""The rules as the kernel listed them after loading; later checks compare with this file."""
UNIT = "ppm-firewall.service"
_CLOUD = "100.100.100.200, 168.63.129.16, 169.254.0.0/16"
"""Metadata services, from which clouds serve a server's credentials: Alibaba's, Azure's, all others'."""


@dataclass(frozen=True)
class HostFile:
    """One file of a host."""

    name: str
    path: str
    content: str
    apply: str
    """The command that applies the file; if it fails, the previous file is restored."""
    holds: str = "true"
    """The command that succeeds as long as the settings are in force, whatever other files say."""
    kernel: bool = False
    """Whether it configures the kernel, which a container shares with its machine."""


SSHD = HostFile(
    name="SSH by key only",
    path="/etc/ssh/sshd_config.d/10-ppm.conf",
    content=f"""{_MARK}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
X11Forwarding no
LoginGraceTime 20
MaxAuthTries 4
AllowAgentForwarding no
# A client that is gone ends within two minutes, and with it the lock of an operation.
ClientAliveInterval 30
ClientAliveCountMax 4
MACs -hmac-sha1*,hmac-md5*,umac-64*
# Who has not logged in yet is limited, in all and by address.
MaxStartups 20:50:60
PerSourceMaxStartups 10
""",
    # A reload keeps existing connections.
    apply="sshd -t && systemctl reload ssh",
    # If a setting occurs twice, sshd uses the first one, and other files may come earlier.
    holds="test $(sshd -T 2>/dev/null | grep -cx -e 'passwordauthentication no' -e 'kbdinteractiveauthentication no' "
    "-e 'maxauthtries 4' -e 'persourcemaxstartups 10' -e 'allowagentforwarding no' -e 'clientaliveinterval 30' "
    "-e 'clientalivecountmax 4') = 7 && ! sshd -T 2>/dev/null | grep '^macs ' | grep -q -e sha1 -e md5 -e umac-64",
)
_JOURNALD = HostFile(
    name="Limits of the journal",
    path="/etc/systemd/journald.conf.d/10-ppm.conf",
    content=f"""{_MARK}
[Journal]
SystemMaxUse=200M
MaxRetentionSec=1month
""",
    apply="systemctl restart systemd-journald",
)
_KERNEL = {
    "kernel.dmesg_restrict": 1,
    "kernel.unprivileged_bpf_disabled": 1,
    "net.ipv4.conf.all.accept_redirects": 0,
    "net.ipv4.conf.all.accept_source_route": 0,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.tcp_syncookies": 1,
    "net.ipv6.conf.all.accept_redirects": 0,
    "vm.swappiness": 10,
}
_SYSCTL = HostFile(
    name="Kernel settings",
    path="/etc/sysctl.d/60-ppm.conf",
    content="\n".join([_MARK, *(f"{key} = {value}" for key, value in _KERNEL.items()), ""]),
    apply="sysctl -q -p /etc/sysctl.d/60-ppm.conf",
    holds=f'test "$(sysctl -n {" ".join(_KERNEL)} | xargs)" = "{" ".join(map(str, _KERNEL.values()))}"',
    kernel=True,
)
UPDATES = HostFile(
    name="Security updates",
    path="/etc/apt/apt.conf.d/20auto-upgrades",
    content="""APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
""",
    apply="systemctl enable -q --now unattended-upgrades apt-daily.timer apt-daily-upgrade.timer",
    holds="systemctl is-enabled -q unattended-upgrades && systemctl is-enabled -q apt-daily-upgrade.timer",
)
# From the CIS Docker benchmark (1.1.3 to 1.1.18). Files below /var/lib/docker are excluded: each write to a database
# and each file of a shipped image would create a record.
_DOCKER = (
    "/etc/docker",
    "/etc/default/docker",
    "/etc/containerd",
    "/run/docker.sock",
    "/usr/lib/systemd/system/docker.service",
    "/usr/lib/systemd/system/docker.socket",
    "/usr/lib/systemd/system/containerd.service",
    "/usr/bin/docker",
    "/usr/bin/dockerd",
    "/usr/sbin/dockerd",
    "/usr/bin/containerd",
    "/usr/bin/containerd-shim-runc-v2",
    "/usr/bin/runc",
    "/usr/sbin/runc",
)
_AUDITED = "\n".join(f"-w {path} -p wa -k ppm-docker" for path in _DOCKER)
AUDIT = HostFile(
    name="Audit of changes",
    path="/etc/audit/rules.d/10-ppm.rules",
    content=f"""{_MARK}
-w /etc/passwd -p wa -k ppm-logins
-w /etc/group -p wa -k ppm-logins
-w /etc/sudoers -p wa -k ppm-logins
-w /etc/sudoers.d -p wa -k ppm-logins
-w /etc/ssh -p wa -k ppm-logins
{_AUDITED}
-a always,exit -F path=/var/lib/docker -F perm=wa -k ppm-docker
-w /srv/ppm -p a -k ppm-rights
""",
    apply="systemctl enable -q --now auditd && augenrules --load",
    holds="systemctl is-active -q auditd && auditctl -l | grep -q ppm-rights",
    kernel=True,
)


def sudoers(user: str) -> HostFile:
    """Return the file that lets the deploy user provision. In the docker group, it has root's power anyway."""
    path = "/etc/sudoers.d/ppm"
    return HostFile(
        name=f"Sudo for {user}",
        path=path,
        content=f"{_MARK}\n{user} ALL=(ALL:ALL) NOPASSWD: ALL\n",
        apply=f"chmod 440 {path} && visudo -c -q",
    )


def host_files(environment: Environment) -> list[HostFile]:
    """Return the hardening files for the environment's hosts."""
    login = environment.ssh
    takes_over = not environment.root_login and login.provision_user == "root" != login.user
    return [
        *([sudoers(login.user)] if takes_over else []),
        SSHD,
        _JOURNALD,
        _SYSCTL,
        *([AUDIT] if environment.provision.audit else []),
        *([UPDATES] if environment.provision.security_updates else []),
    ]


def firewall(environment: Environment, ssh_ports: Sequence[int]) -> str:
    """Return the nftables rules: from outside only SSH, http and https, which also covers published container ports.

    They form a separate table, independent of Docker's rules, which Docker may rewrite when it restarts. A packet must
    pass both.
    """
    proxy = environment.proxy
    public = ", ".join(map(str, [proxy.http_port, *([proxy.https_port] if environment.tls else [])]))
    ssh = ", ".join(map(str, ssh_ports))
    networks = collapse_addresses(each for each in proxy.trusted_proxies if isinstance(each, IPv4Network))
    proxies = ", ".join(map(str, networks))  # nft rejects a set with overlapping networks
    trusted = f"        ip saddr {{ {proxies} }} accept\n" if proxies else ""
    return f"""{_MARK}
table inet ppm
delete table inet ppm
table inet ppm {{
    chain input {{
        type filter hook input priority filter; policy drop;
        iif lo accept
        ct state established,related accept
        ct state invalid drop
        # Containers need nothing of the host itself, and a broken one shall get nothing.
        iifname "docker0" drop
        iifname "br-*" drop
        meta l4proto {{ icmp, ipv6-icmp }} accept
        # Addresses by DHCP, from its servers.
        udp sport 67 udp dport 68 accept
        udp sport 547 udp dport 546 accept
        # Who knocks more often than that is no person, and no ppmctl.
        tcp dport {{ {ssh} }} ct state new meter ssh4 {{ ip saddr limit rate over 20/second burst 200 packets }} drop
        tcp dport {{ {ssh} }} accept
        tcp dport {{ {public} }} accept
    }}
    # What Docker publishes comes by here, with its port already changed. Containers may go out.
    chain forward {{
        type filter hook forward priority filter - 1; policy accept;
        ct state established,related accept
        # Where clouds hand out a server's own credentials. Some answer for names there too, which containers need.
        ip daddr {{ {_CLOUD} }} meta l4proto {{ tcp, udp }} th dport 53 accept
        ip daddr {{ {_CLOUD} }} drop
        ip6 daddr fd00:ec2::254 drop
        iifname "docker0" accept
        iifname "br-*" accept
        meta l4proto tcp ct status dnat ct original proto-dst {{ {public} }} jump clients
        ct status dnat drop
        # By a container's own address: a neighbour needs nothing but a route.
        oifname "docker0" drop
        oifname "br-*" drop
    }}
    # Each connection costs the proxy memory, whether or not it ever asks for anything.
    set connected {{
        type ipv4_addr
        size 65535
        flags dynamic
    }}
    chain clients {{
{trusted}        add @connected {{ ip saddr ct count over {2 * proxy.max_requests_per_address} }} reject with tcp reset
        ct count over {2 * open_requests(environment.services.reverse_proxy.memory)} reject with tcp reset
        accept
    }}
}}
"""


UNIT_FILE = f"""{_MARK}
[Unit]
Description=Only SSH, http and https from outside
DefaultDependencies=no
Before=network-pre.target docker.service
Wants=network-pre.target
After=local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {FIREWALL}
ExecStop=/usr/sbin/nft delete table inet ppm

[Install]
WantedBy=multi-user.target
"""
