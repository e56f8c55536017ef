"""Logging in, against a real OAuth server; what a session may do, and what other pages can make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from anyio.from_thread import BlockingPortal
from httpx import Client, Response
from pydantic import SecretStr

from app.api import create_app
from app.database import Database
from app.scope import Scope
from app.settings import Settings
from tests.unit.app.conftest import InLoop
from tests.unit.app.oauthserver import CLIENT, SECRET, oauth_server
from tests.unit.app.test_projects import URL, problem

SITE = "http://ppm.test"
OURS = {"Origin": SITE}
OLD, NEW = SecretStr("the secret of before " * 2), SecretStr("the secret of now " * 2)
Open = Callable[..., Client]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with oauth_server("Ann", {"acme": "active", "acme/ops": "active", "invites": "pending"}) as address:
        yield address


@pytest.fixture
def browser(settings: Settings, database: Database, portal: BlockingPortal, server: str) -> Iterator[Open]:
    """Open a browser on an application with these settings."""
    opened: list[Client] = []

    def open(**changes: object) -> Client:
        values = {
            "public_url": SITE,
            "session_secret": NEW,
            "oauth_base_url": server,
            "oauth_client_id": CLIENT,
            "oauth_client_secret": SecretStr(SECRET),
            "oauth_logins": {"ann": Scope.WRITE},
        }
        app = create_app(settings.model_copy(update=values | changes), database)
        opened.append(Client(transport=InLoop(app, portal), base_url=SITE))
        return opened[-1]

    yield open
    for client in opened:
        client.close()


def come_back(client: Client) -> str:
    """Begin a login, and let the server send the person back; return the address that it sends them to."""
    away = client.get("/api/login")
    assert away.status_code == 302, away.text
    return httpx.get(away.headers["Location"], trust_env=False).headers["Location"]


def log_in(client: Client) -> Response:
    return client.get(come_back(client))


def test_a_person_on_the_list_gets_a_session(browser: Open) -> None:
    client = browser()

    answer = log_in(client)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert client.get("/api/me").json() == {"name": "Ann", "scope": "write"}
    assert client.get("/api/projects").status_code == 200


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(browser: Open) -> None:
    cookies = log_in(browser()).headers.get_list("Set-Cookie")

    [session] = [cookie for cookie in cookies if cookie.startswith("ppm_session=")]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(session.split("; "))
    assert SECRET not in session


def test_with_https_the_cookie_is_of_this_host_and_of_https_alone(browser: Open) -> None:
    cookie = browser(public_url="https://ppm.test").get("/api/login").headers["Set-Cookie"]

    assert cookie.startswith("__Host-ppm_login=")
    assert "Secure" in cookie


def test_a_person_who_is_not_on_the_list_is_told_so(browser: Open) -> None:
    client = browser(oauth_logins={"bob": Scope.ADMIN})

    assert problem(log_in(client), 403)["detail"] == "Ann is not allowed to log in"
    problem(client.get("/api/projects"), 401)


def test_anybody_may_be_on_the_list(browser: Open) -> None:
    client = browser(oauth_logins={"*": Scope.READ})
    log_in(client)

    assert client.get("/api/me").json()["scope"] == "read"
    problem(client.post("/api/projects", json={"url": URL}, headers=OURS), 403)


@pytest.mark.parametrize(
    ("organizations", "scope"),
    [
        ({"ACME": Scope.READ}, "read"),
        ({"acme": Scope.READ, "acme/ops": Scope.ADMIN, "acme/other": Scope.WRITE}, "admin"),
        ({"acme/ops": Scope.READ, "acme": Scope.WRITE}, "write"),
    ],
)
def test_a_member_of_an_organisation_or_team_may_do_the_most_that_one_of_them_may(
    browser: Open, organizations: dict[str, Scope], scope: str
) -> None:
    given = Settings(app_env="test", oauth_organizations=organizations).oauth_organizations
    client = browser(oauth_logins={}, oauth_organizations=given)

    assert log_in(client).status_code == 303

    assert client.get("/api/me").json() == {"name": "Ann", "scope": scope}


def test_whoever_is_named_may_do_what_stands_there_and_no_more(browser: Open) -> None:
    client = browser(oauth_logins={"ann": Scope.READ, "*": Scope.WRITE}, oauth_organizations={"acme": Scope.ADMIN})
    log_in(client)

    assert client.get("/api/me").json()["scope"] == "read"


@pytest.mark.parametrize("group", ["others", "others/ops", "acme/none", "invites"])
def test_who_is_not_or_not_yet_a_member_does_not_get_in(browser: Open, group: str) -> None:
    client = browser(oauth_logins={}, oauth_organizations={group: Scope.ADMIN})

    problem(log_in(client), 403)


def test_an_organisation_that_is_taken_from_the_list_is_out_at_once(browser: Open) -> None:
    client = browser(oauth_logins={}, oauth_organizations={"acme": Scope.ADMIN})
    log_in(client)
    other = browser(oauth_logins={}, oauth_organizations={"acme/ops": Scope.ADMIN})
    other.cookies = client.cookies

    problem(other.get("/api/projects"), 401)


def test_nobody_is_asked_for_their_organisations_where_none_counts(browser: Open) -> None:
    asked = [
        parse_qs(urlsplit(client.get("/api/login").headers["Location"]).query)["scope"]
        for client in (browser(), browser(oauth_organizations={"acme": Scope.READ}))
    ]

    assert asked == [["read:user"], ["read:user read:org"]]


def test_a_server_that_does_not_say_who_is_a_member_lets_nobody_in(browser: Open) -> None:
    client = browser(oauth_organizations={"broken": Scope.READ})

    problem(log_in(client), 502)


def test_a_change_of_the_list_holds_for_open_sessions(browser: Open) -> None:
    client = browser()
    log_in(client)
    other = browser(oauth_logins={"bob": Scope.ADMIN})
    other.cookies = client.cookies

    problem(other.get("/api/projects"), 401)


def test_a_session_outlives_a_rotation_of_the_secret_and_not_the_next(browser: Open) -> None:
    before = browser(session_secret=OLD)
    log_in(before)

    for settings, status in (
        ({"session_secret": NEW, "session_secret_previous": OLD}, 200),
        ({"session_secret": NEW}, 401),
    ):
        after = browser(**settings)
        after.cookies = before.cookies
        assert after.get("/api/projects").status_code == status


def test_a_session_that_somebody_changed_is_none(browser: Open) -> None:
    client = browser()
    log_in(client)
    client.cookies.set("ppm_session", f"x{client.cookies['ppm_session']}", domain="ppm.test", path="/")

    problem(client.get("/api/projects"), 401)


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_another_page_cannot_write_with_the_session(browser: Open, headers: dict[str, str]) -> None:
    client = browser()
    log_in(client)

    assert "another page" in problem(client.post("/api/projects", json={"url": URL}, headers=headers), 403)["detail"]
    problem(client.post("/api/logout", headers=headers), 403)

    assert client.post("/api/projects", json={"url": URL}, headers=OURS).status_code == 201


def test_after_logging_out_the_session_is_gone(browser: Open) -> None:
    client = browser()
    log_in(client)

    assert client.post("/api/logout", headers=OURS).status_code == 204

    problem(client.get("/api/me"), 401)


def test_a_login_cannot_be_ended_twice_or_in_another_browser(browser: Open) -> None:
    client, other = browser(), browser()
    back = come_back(client)
    problem(other.get(back), 400)
    assert client.get(back).status_code == 303

    problem(client.get(back), 400)


def test_a_code_that_was_used_already_is_refused(browser: Open) -> None:
    client = browser()
    back = come_back(client)
    kept = dict(client.cookies)
    client.get(back)
    client.cookies.update(kept)

    assert problem(client.get(back), 403)["detail"].endswith("refused the login: bad_verification_code")


@pytest.mark.parametrize(
    ("code", "status"), [("made-up", 403), ("é", 400), ("a b", 400), ("", 400), ("x" * 513, 400), ("\0", 400)]
)
def test_nobody_without_a_login_causes_an_error_of_the_server(browser: Open, code: str, status: int) -> None:
    client = browser()
    state = parse_qs(urlsplit(client.get("/api/login").headers["Location"]).query)["state"][0]

    problem(client.get("/api/login/callback", params={"code": code, "state": state}), status)


def test_an_application_that_the_server_does_not_know_is_an_error_of_ours(browser: Open) -> None:
    wrong = browser(oauth_client_secret=SecretStr("another"))

    detail = problem(log_in(wrong), 502)["detail"]

    assert detail.endswith("rejects this application's settings: incorrect_client_credentials")


def test_a_state_that_was_made_up_is_refused(browser: Open) -> None:
    client = browser()
    code = parse_qs(urlsplit(come_back(client)).query)["code"][0]

    problem(client.get("/api/login/callback", params={"code": code, "state": "made up"}), 400)


def test_a_person_who_says_no_is_told_so(browser: Open) -> None:
    client = browser()
    state = parse_qs(urlsplit(come_back(client)).query)["state"][0]

    answer = client.get("/api/login/callback", params={"error": "access_denied", "state": state})

    assert problem(answer, 403)["detail"] == "the login was refused: access_denied"


def test_a_server_that_does_not_answer_is_no_crash(browser: Open) -> None:
    client = browser()
    back = come_back(client)
    broken = browser(oauth_base_url="http://127.0.0.1:9")
    broken.cookies = client.cookies

    problem(broken.get(back), 502)


def test_where_nobody_can_log_in_the_page_is_told_so(browser: Open) -> None:
    client = browser(oauth_client_id="")

    assert "use an API token" in problem(client.get("/api/login"), 404)["detail"]
    assert client.get("/api/system").json()["login"] is False
    assert browser().get("/api/system").json()["login"] is True


@pytest.mark.parametrize("state", ["%C3%A9", "%FF", "%00", "a" * 5000, "%F0%9F%98%80"])
def test_a_state_of_any_characters_is_no_crash(browser: Open, state: str) -> None:
    client = browser()
    assert client.get("/api/login").status_code == 302

    answer = client.get(f"/api/login/callback?code=x&state={state}")

    assert problem(answer, 400)["detail"].startswith("this login was not started in this browser")


def test_a_person_who_has_logged_in_reads_the_state_of_the_whole(browser: Open) -> None:
    client = browser()
    assert set(client.get("/api/system").json()) == {"release", "login"}

    log_in(client)
    assert client.get("/api/system").json()["projects"] == 0

    expired = browser().get("/api/system", headers={"Cookie": "ppm_session=expired"})
    assert set(expired.json()) == {"release", "login"}
