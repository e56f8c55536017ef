"""The firewall of a host, from another one and from inside containers, by programs that are none of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.site import Site
from tests.support.waiting import eventually

ADDRESS = 'ip -4 -o address show eth0 | awk \'{sub("/.*", "", $4); print $4}\''
# Of the two hosts, by IPv6.
ADDRESSES6 = ("fd00:ab::1", "fd00:ab::2")
ECHO = """import socket, sys
here = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
here.bind(("::", int(sys.argv[1])))
while True:
    here.sendto(b"heard", here.recvfrom(9)[1])
"""
KNOCK = """import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
there = socket.socket(family, socket.SOCK_DGRAM)
there.settimeout(2)
there.connect((sys.argv[1], int(sys.argv[2])))
there.send(b"?")
print(there.recv(9))
"""
CONNECT = """import pathlib, signal, socket, sys
held, error = [], ""
for _ in range(int(sys.argv[2])):
    try:
        held.append(socket.create_connection((sys.argv[1], 80), 5))
    except OSError as refused:
        error = type(refused).__name__
        break
pathlib.Path("/tmp/connected").write_text(f"{len(held)} {error}")
signal.pause()
"""
REACH = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


@pytest.fixture(scope="module")
def careless(live: Site) -> Iterator[Site]:
    """The site that serves, beside containers and programs that somebody has left open to the world, also by IPv6."""
    live.root(f"cat > /tmp/echo.py <<'END'\n{ECHO}END\ncat > /tmp/knock.py <<'END'\n{KNOCK}END")
    image = live.root("docker ps --filter label=ppm.role=api --format '{{.Image}}' | head -1")
    live.root("sysctl -qw net.ipv6.conf.lo.disable_ipv6=0")  # Docker turns it off where it gives no address
    live.root("docker network create lodge")
    lodger = "docker run -d --network lodge --entrypoint python"
    live.root(f"{lodger} --name lodger -p 9999:9999 {image} -m http.server --bind :: 9999")
    echo = "-v /tmp/echo.py:/echo.py:ro -p 80:9999/udp -p 9999:9999/udp"
    live.root(f"{lodger} --name echo {echo} {image} /echo.py 9999")
    live.root("systemd-run -q --unit=lodger python3 -m http.server --bind :: 9998")
    live.root("systemd-run -q --unit=echo python3 /tmp/echo.py 9998")
    for port in (9998, 9999):
        live.root(f"curl -s --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null http://localhost:{port}/")
    for address, port in (("127.0.0.1", 9998), ("::1", 9998), (lodgers_address(live, "echo"), 9999)):
        assert eventually(lambda: "heard" in live.root(f"python3 /tmp/knock.py {address} {port} 2>&1 || true"))  # noqa: B023
    yield live
    live.root("systemctl stop lodger echo; docker rm -f lodger echo; docker network rm lodge")


def lodgers_address(site: Site, name: str) -> str:
    return site.root(f"docker inspect -f '{{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}}{{{{end}}}}' {name}")


@pytest.fixture(scope="module")
def by_ipv6(careless: Site, bare: Site) -> Iterator[str]:
    """The address of the site by IPv6, which Docker does not give the lab's hosts; the other one has one too."""
    off, sites = "net.ipv6.conf.eth0.disable_ipv6", (careless, bare)
    for site, address in zip(sites, ADDRESSES6, strict=True):
        site.root(f"sysctl -q -w {off}=0; ip address replace {address}/64 dev eth0 nodad")
    yield ADDRESSES6[0]
    for site in sites:
        site.root(f"sysctl -q -w {off}=1")


def open_ports(stranger: Site, address: str, *how: str) -> list[str]:
    """Return the ports that answer a host by TCP, or as nmap is told."""
    stranger.root("command -v nmap || apt-get install -qq -y --no-install-recommends nmap")
    scan = stranger.root(f"nmap -Pn -n -p- -T5 --min-rate 8000 --max-retries 1 --open {' '.join(how)} {address}")
    return re.findall(r"^(\d+)/\w+ +open ", scan, re.MULTILINE)


def test_from_another_host_only_ssh_and_the_proxy_answer(careless: Site, bare: Site) -> None:
    assert open_ports(bare, careless.root(ADDRESS)) == ["22", "80"]


def test_by_ipv6_only_ssh_answers_and_who_asks_for_a_page_is_sent_away_at_once(bare: Site, by_ipv6: str) -> None:
    assert open_ports(bare, by_ipv6, "-6") == ["22"]
    assert "refused" in bare.root(f"curl -6 -sS -v -m 5 'http://[{by_ipv6}]/' 2>&1 || true")


def test_a_client_that_has_both_addresses_comes_by_ipv4(careless: Site, bare: Site, by_ipv6: str) -> None:
    both = f"--resolve ppm.test:80:[{by_ipv6}],{careless.root(ADDRESS)}"

    said = bare.root(f"curl -sS -m 5 -o /dev/null -w '%{{remote_ip}} %{{http_code}}' {both} http://ppm.test/")

    assert said == f"{careless.root(ADDRESS)} 200"


def test_nothing_answers_by_udp_not_even_at_the_ports_of_the_proxy(careless: Site, bare: Site, by_ipv6: str) -> None:
    assert open_ports(bare, careless.root(ADDRESS), "-sU") == []
    assert open_ports(bare, by_ipv6, "-sU", "-6") == []


def test_one_address_gets_so_many_connections_and_others_are_served(careless: Site, bare: Site) -> None:
    bound = 2 * careless.environment.proxy.max_requests_per_address
    bare.root(f"cat > /tmp/connect.py <<'END'\n{CONNECT}END")
    ask = f"curl -sS -m 5 -o /dev/null -w '%{{http_code}}' http://{careless.root(ADDRESS)}/ 2>&1 || true"

    bare.root(f"systemd-run -q --unit=connect python3 /tmp/connect.py {careless.root(ADDRESS)} {bound + 20}")
    try:
        assert eventually(lambda: bare.root("cat /tmp/connected 2> /dev/null || true"))
        assert bare.root("cat /tmp/connected") == f"{bound} ConnectionRefusedError"
        assert "curl: (7)" in bare.root(ask)  # it could not connect; the words differ by version
        assert careless.serving()
    finally:
        bare.root("systemctl stop connect")
    assert eventually(lambda: bare.root(ask) == "200")


def test_a_neighbour_that_has_a_route_reaches_no_container(careless: Site, bare: Site) -> None:
    container = lodgers_address(careless, "lodger")
    ask = f"curl -sS -m 3 -o /dev/null 'http://{container}:9999/' 2>&1"
    bare.root(f"ip route replace {container} via {careless.root(ADDRESS)}")
    try:
        assert careless.root(ask) == ""
        assert "timed out" in bare.root(f"{ask} || true")
    finally:
        bare.root(f"ip route del {container}")


def test_a_container_reaches_neither_the_host_nor_the_metadata_of_a_cloud(careless: Site) -> None:
    for role, network in (("api", "inner"), ("worker", "outbound")):
        gateway = careless.root(
            f"docker network inspect -f '{{{{(index .IPAM.Config 0).Gateway}}}}' ppm-{careless.name}_{network}"
        )
        inside = f"docker exec $(docker ps -qf label=ppm.role={role} | head -1) python -c"
        for address, port in ((gateway, 22), (gateway, 9998), (careless.root(ADDRESS), 22), ("169.254.169.254", 80)):
            said = careless.root(f"{inside} '{REACH}' {address} {port} 2>&1 || true")
            assert "TimeoutError" in said or "unreachable" in said, (role, address, port, said)


def test_a_reload_of_docker_opens_nothing(careless: Site, bare: Site) -> None:
    careless.root("systemctl restart docker")
    address = careless.root(ADDRESS)

    for port in (9998, 9999):
        assert "timed out" in bare.root(f"curl -sS -m 2 http://{address}:{port}/ 2>&1 || true")
    assert careless.healthy()
