"""Secrets on this machine: made, set, rotated, checked, and never shown."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.settings import Settings
from ppmkit.actions import rotate
from ppmkit.config.backup import Backup, Target
from ppmkit.config.environment import Environment
from ppmkit.errors import ConfigError, HostUnreachable, UsageError
from ppmkit.paths import KIT
from ppmkit.redact import redact
from ppmkit.secrets import kinds, manage, rclone
from tests.support.authority import DOMAIN, Authority
from tests.unit.conftest import environment_of

NOWHERE = {"name": "web-1", "address": "127.0.0.1", "port": 1}
LONG = "0123456789abcdef" * 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "secrets"


@pytest.fixture
def site(folder: Path) -> Environment:
    return environment_of(hosts=[NOWHERE], secrets={"directory": str(folder)})


@pytest.fixture
def oauth_site(folder: Path) -> Environment:
    return environment_of(secrets={"directory": str(folder)}, app={"oauth_client_id": "Iv1.x"})


def values(environment: Environment) -> dict[str, str]:
    return {name: secret.value.get_secret_value() for name, secret in manage.read(environment).items()}


def since(folder: Path, name: str, days: int) -> None:
    """Make a secret so many days old."""
    file = folder / ".dates.json"
    dates = json.loads(file.read_text()) | {name: (datetime.now(UTC) - timedelta(days=days)).isoformat()}
    file.write_text(json.dumps(dates))


def test_init_makes_32_random_bytes_that_only_their_owner_reads(site: Environment, folder: Path) -> None:
    manage.init(site)

    file = folder / "session_secret"
    assert len(base64.b64decode(file.read_text().strip(), validate=True)) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert manage.check(site) == []


def test_init_never_replaces_a_secret(site: Environment) -> None:
    manage.init(site)
    before = manage.read(site)

    assert manage.init(site) == []
    assert manage.read(site) == before


def test_a_secret_from_elsewhere_is_asked_for_or_named_with_its_command(oauth_site: Environment) -> None:
    assert any("ppmctl secrets set oauth_client_secret -e test" in line for line in manage.init(oauth_site))
    with pytest.raises(ConfigError, match="oauth_client_secret is missing"):
        manage.read(oauth_site)

    [said] = manage.init(oauth_site, ask={"oauth_client_secret": "0123456789abcdef"}.__getitem__)
    assert said.startswith("wrote ")
    assert values(oauth_site)["oauth_client_secret"] == "0123456789abcdef"


def test_the_version_follows_from_the_value_and_does_not_contain_it(site: Environment) -> None:
    def version(value: str) -> str:
        manage.set_secret(site, "session_secret", value)
        return manage.read(site)["session_secret"].version

    first, second = version(LONG), version(LONG[::-1])

    assert first != second
    assert version(LONG) == first
    assert len(first) == 8


@pytest.mark.parametrize("name", ["session_secret", "oauth_client_secret"])
def test_the_text_of_the_example_is_no_secret(oauth_site: Environment, name: str) -> None:
    example = (KIT / "secrets.example" / name).read_text()

    with pytest.raises(UsageError, match="is still the example"):
        manage.set_secret(oauth_site, name, example.strip())


def test_an_example_of_an_earlier_version_is_recognized_too(site: Environment) -> None:
    earlier = "Purpose: signs the cookies of logged-in users. Form: 32 random bytes as base64. Who needs it: the api."

    with pytest.raises(UsageError, match="is still the example"):
        manage.set_secret(site, "session_secret", earlier)


def test_every_secret_has_an_example_that_says_purpose_form_and_who_needs_it(oauth_site: Environment) -> None:
    examples = {path.name: path.read_text() for path in (KIT / "secrets.example").iterdir()}
    dns = {"provider": "cloudflare", "secrets": {"CF_DNS_API_TOKEN": "dns_token"}}
    acme = {"letsencrypt_email": "ops@example.org", "private_ca": True, "dns_challenge": dns}
    backup = Backup(recipients=("age1x",), targets=(Target(name="offsite", to="offsite:ppm"),), heartbeat=True)
    app = oauth_site.app.model_copy(update={"scan_known_hosts": ("x.org ssh-ed25519 AAAA",)})
    copied = oauth_site.model_copy(update={"backup": backup, "app": app})
    sites = [copied, *(environment_of(url="https://x.org", proxy=p) for p in (acme, {"certificates": "files"}))]

    assert examples.keys() == {name for site in sites for name in kinds.needed(site)}
    for text in examples.values():
        assert all(word in text for word in ("Purpose: ", "Form: ", "Who needs it: ", "/run/"))


def test_a_dns_provider_gets_each_of_its_secrets_once(site: Environment) -> None:
    secret = {"AZURE_CLIENT_ID": "dns_id", "AZURE_CLIENT_SECRET": "dns_secret", "AZURE_TENANT_ID": "dns_id"}
    proxy = {"letsencrypt_email": "ops@example.org", "dns_challenge": {"provider": "azuredns", "secrets": secret}}
    environment = environment_of(url="https://x.org", proxy=proxy, secrets=site.secrets.model_dump())

    assert kinds.needed(environment) == ["session_secret", "dns_id", "dns_secret"]
    manage.set_secret(environment, "dns_id", LONG)
    assert any("dns_secret is missing" in fault for fault in manage.check(environment))
    with pytest.raises(UsageError, match="there is no secret dns_"):
        manage.set_secret(environment, "dns_../x", LONG)


@pytest.mark.parametrize(("value", "fault"), [("short", "shorter than 32"), ("ab" * 20, "is weak")])
def test_a_weak_secret_is_refused_and_changes_nothing(site: Environment, value: str, fault: str) -> None:
    manage.init(site)
    before = manage.read(site)

    with pytest.raises(UsageError, match=fault):
        manage.set_secret(site, "session_secret", value)
    assert manage.read(site) == before


def test_what_is_no_certificate_is_refused(site: Environment) -> None:
    with pytest.raises(UsageError, match="tls_key is not PEM"):
        manage.set_secret(site, "tls_key", LONG * 4)


def test_an_rclone_conf_that_trusts_any_server_is_refused() -> None:
    sftp = "[{name}]\ntype = sftp\nhost = h\nkey_pem = -----BEGIN x-----\\n=\n"
    pinned = "[good]\ntype = sftp\nhost_keys = ssh-ed25519 AAAA\n[cloud]\ntype = s3\nsecret_access_key = a%b\n"

    assert rclone.unfit(pinned) is None
    assert rclone.unfit("no section = 1") == "is not a valid rclone.conf"
    seen = rclone.unfit(pinned + sftp.format(name="one") + sftp.format(name="two") + "host_keys =\n")
    assert seen == "lets any server receive the data for one, two: `host_keys` is missing there"


def test_an_rclone_conf_is_looked_at_before_it_is_kept(site: Environment) -> None:
    with pytest.raises(UsageError, match="rclone_conf lets any server receive"):
        manage.set_secret(site, "rclone_conf", "[offsite]\ntype = sftp\nhost = backup.example.org\n")


def test_a_key_that_is_not_the_certificates_stops_a_deploy(folder: Path) -> None:
    site = owner(folder, days=90)
    assert manage.check(site) == []
    assert values(site).keys() >= {"tls_certificate", "tls_key"}

    manage.set_secret(site, "tls_key", Authority().issue(timedelta(days=90))[1])

    said = "tls_key is not the key of the first certificate in tls_certificate"
    assert manage.check(site) == [said]
    with pytest.raises(ConfigError, match=said):
        manage.read(site)

    manage.set_secret(site, "tls_key", LONG.join(["-----BEGIN ", "-----END"]) * 3)
    assert "private key without a passphrase" in manage.check(site)[0]


def test_check_finds_an_own_certificate_that_ends_or_is_for_somebody_else(folder: Path) -> None:
    assert "tls_certificate: it expired on" in manage.check(owner(folder, days=-1))[0]
    assert "tls_certificate: it expires on" in manage.check(owner(folder, days=10))[0]
    assert f"it is for {DOMAIN}, not for x.org" in manage.check(owner(folder, days=90, url="https://x.org"))[0]


def owner(folder: Path, days: int, url: str = f"https://{DOMAIN}") -> Environment:
    """Return a site with a certificate of its own that is good for so many days."""
    site = environment_of(url=url, secrets={"directory": str(folder)}, proxy={"certificates": "files"})
    manage.init(site)
    for name, pem in zip(("tls_certificate", "tls_key"), Authority().issue(timedelta(days=days)), strict=True):
        manage.set_secret(site, name, pem)
    return site


def test_a_misspelt_secret_is_answered_with_the_nearest(site: Environment) -> None:
    with pytest.raises(UsageError, match="did you mean session_secret"):
        manage.set_secret(site, "sesion_secret", LONG)


def test_a_rotation_keeps_the_value_before_beside_the_new_one(site: Environment) -> None:
    manage.init(site)
    before = values(site)["session_secret"]

    said = manage.rotate(site, "session_secret")

    after = values(site)
    assert after["session_secret_previous"].splitlines()[0] == before
    assert after["session_secret"] != before
    assert before not in " ".join(said)
    assert manage.check(site) == []


def test_a_rotation_of_what_leaked_leaves_nothing_of_it(site: Environment, folder: Path) -> None:
    manage.init(site)
    manage.rotate(site, "session_secret")

    manage.rotate(site, "session_secret", revoke=True)

    assert values(site).keys() == {"session_secret"}
    assert not (folder / "session_secret_previous").exists()


def test_a_second_rotation_keeps_the_value_that_the_hosts_run(site: Environment) -> None:
    manage.init(site)
    live = values(site)["session_secret"]
    manage.rotate(site, "session_secret")  # and its deploy failed
    waiting = values(site)["session_secret"]

    found = manage.here(site, "session_secret")[manage.version_of("session_secret", live)]
    manage.rotate(site, "session_secret", live=found)

    after = values(site)
    assert after["session_secret_previous"].splitlines()[0] == live
    assert after["session_secret"] not in (live, waiting)


def test_a_value_that_is_set_keeps_the_one_that_the_hosts_run(site: Environment) -> None:
    manage.init(site)

    manage.replace(site, "session_secret", LONG, live=LONG[::-1])

    assert values(site)["session_secret"] == LONG
    assert values(site)["session_secret_previous"].splitlines()[0] == LONG[::-1]


def test_hosts_that_run_different_values_stop_a_rotation_and_are_named() -> None:
    assert rotate.common("test", "session_secret", {"web-1": "aaaa", "web-2": None, "web-3": "aaaa"}) == "aaaa"
    assert rotate.common("test", "session_secret", {"web-1": None}) is None
    assert rotate.common("test", "session_secret", {}) is None

    with pytest.raises(UsageError, match="different values of session_secret; nothing was changed") as raised:
        rotate.common("test", "session_secret", {"web-1": "aaaa", "web-2": "bbbb", "web-3": None})

    assert raised.value.seen == "web-1: version aaaa\nweb-2: version bbbb"
    assert "ppmctl deploy -e test" in (raised.value.next or "")


def test_a_host_that_cannot_be_asked_stops_a_rotation_before_anything_is_written(site: Environment) -> None:
    rotate.replace(site, "session_secret", LONG)  # the first value: there is nothing to keep
    before = values(site)

    for change in (rotate.rotate, partial(rotate.replace, value=LONG[::-1])):
        with pytest.raises(HostUnreachable, match="web-1") as raised:
            change(site, "session_secret")
        assert "Nothing was changed" in raised.value.message
    assert values(site) == before

    rotate.rotate(site, "session_secret", revoke=True)
    assert values(site).keys() == {"session_secret"}


def test_only_a_rotation_of_some_age_can_wait_for_its_deploy(site: Environment, folder: Path) -> None:
    manage.init(site)
    hour = timedelta(hours=1)
    assert rotate.old(site, hour) == {}
    live = values(site)["session_secret"]
    manage.rotate(site, "session_secret")
    assert rotate.old(site, hour) == {}

    since(folder, "session_secret_previous", days=8)

    assert rotate.old(site, hour) == {"session_secret": live}
    assert rotate.restart(site) == []  # no host can be asked
    assert "session_secret_previous" not in values(site)


def test_the_value_before_is_accepted_for_a_set_time_only(site: Environment, folder: Path) -> None:
    manage.init(site)
    manage.rotate(site, "session_secret")
    since(folder, "session_secret_previous", days=6)
    assert "session_secret_previous" in values(site)

    since(folder, "session_secret_previous", days=8)

    assert "session_secret_previous" not in values(site)
    assert "is no longer accepted" in " ".join(manage.check(site))


def test_the_application_is_told_when_the_value_before_ends(
    site: Environment, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manage.init(site)
    before = values(site)["session_secret"]
    manage.rotate(site, "session_secret")
    since(folder, "session_secret_previous", days=3)
    for name, value in values(site).items():
        (tmp_path / name).write_text(value)
        monkeypatch.setenv(f"{name.upper()}_FILE", str(tmp_path / name))

    settings = Settings()

    assert settings.session_secret_previous == SecretStr(before)
    left = (settings.session_secret_previous_until or datetime.now(UTC)) - datetime.now(UTC)
    assert timedelta(days=3, hours=23) < left < timedelta(days=4)


def test_a_secret_from_elsewhere_is_rotated_to_the_value_that_is_given(oauth_site: Environment) -> None:
    manage.init(oauth_site, ask=lambda _name: LONG)

    manage.rotate(oauth_site, "oauth_client_secret", LONG[::-1])

    assert values(oauth_site)["oauth_client_secret"] == LONG[::-1]
    assert "oauth_client_secret_previous" not in values(oauth_site)


def test_what_is_not_there_or_not_new_cannot_be_rotated(site: Environment) -> None:
    with pytest.raises(UsageError, match="has no session_secret to rotate"):
        manage.rotate(site, "session_secret")
    manage.init(site)
    with pytest.raises(UsageError, match="has no oauth_client_secret to rotate"):
        manage.rotate(site, "oauth_client_secret", LONG)
    with pytest.raises(UsageError, match="already has this value"):
        manage.rotate(site, "session_secret", values(site)["session_secret"])


def test_check_finds_what_others_can_read_and_what_nobody_uses(site: Environment, folder: Path) -> None:
    manage.init(site)
    (folder / "session_secret").chmod(0o644)
    (folder / "sesion_secret").write_text("x")
    (folder / "oauth_client_secret").write_text("x")
    folder.chmod(0o755)

    found = " ".join(manage.check(site))
    assert "session_secret can be read by others: chmod 600" in found
    assert f"chmod 700 {folder}" in found
    assert "sesion_secret is not a known secret" in found
    assert "oauth_client_secret is not used by test" in found


def test_check_finds_what_is_missing_weak_or_too_old(oauth_site: Environment, folder: Path) -> None:
    manage.init(oauth_site)
    since(folder, "session_secret", days=366)

    missing, old = manage.check(oauth_site)
    assert missing.startswith("oauth_client_secret is missing")
    assert old.startswith("session_secret has been the same for 366 days")
    assert "ppmctl secrets rotate session_secret -e test" in old

    (folder / "session_secret").write_text("short\n")
    assert "session_secret is shorter than 32 characters" in manage.check(oauth_site)[0]


def test_a_value_that_was_read_is_masked_and_a_model_does_not_show_it(site: Environment) -> None:
    manage.init(site)
    secret = manage.read(site)["session_secret"]
    value = secret.value.get_secret_value()

    assert redact(f"it failed: {value}!") == "it failed: •••!"
    assert value not in repr(secret)
    assert value not in secret.model_dump_json()
