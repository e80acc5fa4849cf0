"""Sign-in: what an identity provider's claims allow, and that nothing is shown or written beyond it.

Invariant: a visitor reads only with a role that may read (or where the settings let everyone read), and acts only with
a role that may act, while the sign-in lasts. Whatever the claims are, nobody else does.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity import CLIENT, SECRET, Provider
from reverse_proxy import ReverseProxy
from test_accessibility import findings
from test_browser import Desk, browser, free_port  # noqa: F401  # a fixture
from test_dashboard_gate import Behind, ask

from foreshock.cli import main
from foreshock.dashboard import access, desk, serve, server
from foreshock.dashboard.gate import SIGN_IN, Gate
from foreshock.dashboard.settings import VARIABLE, ServeSettings
from foreshock.dashboard.sign_in import SignInSettings, Visitor, judged, named
from foreshock.dashboard.start import COOKIE, Start
from foreshock.settings.load import SettingsError, load

NOW = 1_790_000_000
METADATA = "https://login.example/.well-known/openid-configuration"
RULES = SignInSettings(metadata_url=METADATA, client_id="x", viewers=("read",), operators=("desk",))
ADA = {"is_logged_in": True, "sub": "1", "iat": NOW - 60, "name": "Ada", "email": "ada@desk.example"}
PEOPLE: dict[str, dict[str, Any]] = {
    "ada": {"name": "Ada Byron", "email": "ada@desk.example", "email_verified": True, "groups": ["desk"]},
    "bob": {"name": "Bob", "groups": ["read"]},
    "eve": {"name": "Eve", "email": "ada@desk.example", "email_verified": False, "groups": ["*", "other"]},
}


def settings_for(metadata_url: str, port: int, public: int, store: Path, **more: Any) -> ServeSettings:
    rules = {"viewers": ("read",), "operators": ("desk",), "roles_claim": "groups", **more}
    return ServeSettings(
        store=f"sqlite:///{store}",
        port=port,
        external_url=f"http://localhost:{public}/desk",
        sign_in=SignInSettings(metadata_url=metadata_url, client_id=CLIENT, **rules),
        sign_in_secret=SECRET,
    )


@pytest.mark.parametrize(
    ("claims", "reads", "acts"),
    [
        ({"roles": ["desk"]}, True, True),
        ({"roles": "desk"}, True, True),
        ({"roles": ["read", "x"]}, True, False),
        ({"roles": ["other"]}, False, False),
        ({}, False, False),
        ({"roles": ["*"]}, False, False),  # a provider cannot give the role "everyone"
        ({"roles": {"desk": True}}, False, False),
        ({"roles": ["desk"], "is_logged_in": False}, False, False),
        ({"roles": ["desk"], "sub": None}, False, False),
        ({"roles": ["desk"], "iat": NOW - 13 * 3600}, False, False),  # it has lasted its 12 hours
        ({"roles": ["desk"], "iat": NOW + 100}, True, True),  # the provider's clock is ahead
        ({"roles": ["desk"], "iat": NOW + 3600}, False, False),
        ({"roles": ["desk"], "iat": "now"}, False, False),
    ],
)
def test_roles_decide_who_reads_and_who_acts(claims: dict[str, Any], reads: bool, acts: bool) -> None:
    found = judged(RULES, ADA | claims, now=NOW)
    assert (found.may_read, found.may_act) == (reads, acts)
    open_to_all = judged(RULES.model_copy(update={"read_without_sign_in": True}), ADA | claims, now=NOW)
    assert (open_to_all.may_read, open_to_all.may_act) == (True, acts)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["desk", "read", "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["is_logged_in", "sub", "iat", "roles", "name", "email", "email_verified"]), json_values
    ),
    st.integers(0, 4_000_000_000),
)
def test_no_claims_act_without_a_name_a_role_and_a_sign_in_that_lasts(claims: dict[str, Any], now: int) -> None:
    found = judged(RULES, claims, now=now)
    if found.may_act:
        assert found.name
        assert claims["is_logged_in"]
        assert "desk" in ([claims["roles"]] if isinstance(claims["roles"], str) else claims["roles"])
        assert abs(now - claims["iat"]) <= 12 * 3600
    assert found.may_act <= found.may_read


def test_a_role_may_lie_within_a_claim_or_be_an_address_that_is_verified() -> None:
    nested = RULES.model_copy(update={"roles_claim": "realm_access.roles"})
    assert judged(nested, ADA | {"realm_access": {"roles": ["desk"]}}, now=NOW).may_act
    dotted = RULES.model_copy(update={"roles_claim": "https://desk.example/roles"})
    assert judged(dotted, ADA | {"https://desk.example/roles": ["desk"]}, now=NOW).may_act
    by_address = RULES.model_copy(update={"roles_claim": "email", "operators": ("ada@desk.example",)})
    assert judged(by_address, ADA, now=NOW).may_act
    assert not judged(by_address, ADA | {"email_verified": False}, now=NOW).may_act


def test_a_person_is_written_down_so_that_nobody_else_has_the_same_name() -> None:
    assert named(RULES, ADA) == "Ada (ada@desk.example)"
    assert named(RULES, ADA | {"email_verified": False}) == "Ada (1)", "an address that anyone can claim names nobody"
    assert named(RULES, {"sub": "1"}) == "1"
    assert len(named(RULES, ADA | {"name": "A" * 5_000, "sub": "s" * 5_000, "email": None}) or "") < 200


def test_a_sign_in_that_cannot_work_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "foreshock.toml"
    section = f'[sign_in]\nmetadata_url = "{METADATA}"\nclient_id = "x"\n'
    whole = f'[dashboard]\nexternal_url = "https://desk.example"\n{section}'
    secret = 'client_secret = "abc-def-123"\n'
    for text, said in (
        (whole, "one of client_secret and client_secret_file"),
        (whole.replace(METADATA, "http://login.example/x") + secret, "expected https://"),
        (section + secret, "needs .dashboard. external_url"),
        (whole.replace("[sign_in]", "allow_anonymous_actions = true\n[sign_in]") + secret, "exclude each other"),
        (whole + secret + 'scope = "email"\n', "needs openid"),
        ('[sign_in]\nclient_id = "x"\n', "needs metadata_url"),
    ):
        file.write_text(text)
        with pytest.raises(SettingsError, match=said) as refused:
            load(file, environ={})
        assert "abc-def-123" not in str(refused.value)
    file.write_text(whole + 'client_secret = "${NO_SUCH_VARIABLE}"\n')
    assert main(["dashboard", "--config", str(file), "--store", f"sqlite:///{tmp_path}/none.db"]) == 2
    assert "the environment variable NO_SUCH_VARIABLE is not set" in capsys.readouterr().err
    file.write_text(whole + 'client_secret_file = "oidc.txt"\n')
    (tmp_path / "oidc.txt").write_text("abc-def-123\n")
    assert load(file, environ={}).settings.sign_in.secret() == "abc-def-123"
    assert main(["config", "show", "--config", str(file)]) == 0
    assert "abc-def-123" not in capsys.readouterr().out


@pytest.mark.parametrize("path", ["/a?b", "/a#b", "/a/../b", "//evil", "/a'b", "/a</script>", "/a b", "/ä"])
def test_a_path_that_could_be_markup_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        ServeSettings(store="sqlite:///none.db", external_url=f"https://desk.example{path}")


def test_the_paths_of_the_sign_in_are_open_only_with_a_sign_in(tmp_path: Path) -> None:
    with_it = settings_for(METADATA, 1, 2, tmp_path / "none.db")
    for path in SIGN_IN:
        assert ask(f"/{path}", "localhost")[0] is False
        for place in (f"/desk/{path}", f"/{path}"):
            assert ask(place, "localhost", settings=with_it)[0] is True
            assert ask(place, "evil.example", settings=with_it)[1][0]["status"] == 403
            assert ask(place, "localhost", settings=with_it, method="POST")[1][0]["status"] == 405


def test_a_request_reaches_streamlit_below_the_path_whether_a_proxy_removed_it_or_not(tmp_path: Path) -> None:
    settings = settings_for(METADATA, 1, 2, tmp_path / "none.db")
    for path in ("/desk/_stcore/health", "/_stcore/health"):
        behind = Behind()

        async def nothing(*_: Any) -> Any:
            return {"type": "websocket.connect"}

        scope = {"type": "http", "path": path, "method": "GET", "headers": [(b"host", b"localhost")]}
        asyncio.run(Gate(behind, settings)(scope, nothing, nothing))
        assert behind.scopes[0]["path"] == "/desk/_stcore/health"
    _, answer = ask("/desk", "localhost", settings=settings)
    assert (answer[0]["status"], dict(answer[0]["headers"])[b"location"]) == (308, b"/desk/")
    for path in ("/desk/Alerts/", "/Alerts//"):
        _, answer = ask(path, "localhost", settings=settings)
        assert dict(answer[0]["headers"])[b"location"] == b"/desk/Alerts", "links are relative to the page's folder"
    page = ask("/desk/Alerts", "localhost", settings=settings)[1][1]["body"]
    assert b"BACKEND_BASE_URL:location.origin+'/desk/'" in page
    assert b'"./' not in page
    for path in ("/deskAlerts", "/desk/desk/Alerts", "/other/Alerts"):
        assert ask(path, "localhost", settings=settings)[1][0]["status"] == 404


def test_cookies_of_a_dashboard_with_https_are_sent_over_https_alone(tmp_path: Path) -> None:
    settings = settings_for(METADATA, 1, 2, tmp_path / "none.db")
    secure = settings.model_copy(update={"external_url": "https://desk.example/desk"})
    assert Gate(None, settings)._cookies([(b"Set-Cookie", b"a=b")]) == [(b"Set-Cookie", b"a=b")]
    assert Gate(None, secure)._cookies([(b"Set-Cookie", b"a=b")]) == [(b"Set-Cookie", b"a=b; Secure")]


LEADING_AWAY = [
    *("//evil.example", "https://evil.example", "Alerts\r\nSet-Cookie: a=b", "/Alerts", "\\\\evil", "auth/logout"),
    *("Alerts;x", "Alerts?a=b#c", "javascript:x"),
]


@given(st.text(max_size=60) | st.sampled_from(LEADING_AWAY))
def test_a_sign_in_ends_on_a_page_of_this_dashboard_whatever_was_asked(page: str) -> None:
    start = Start("/desk", ("", "Alerts"))
    cookie = f"{COOKIE}={page}".encode("utf-8", "ignore")
    led = start.led_on({"headers": [(b"cookie", cookie)]}, [(b"location", b"/desk/")])
    location = dict(led)[b"location"].decode("ascii")
    assert location.startswith(("/desk/?", "/desk/Alerts")) or location == "/desk/"
    assert not set("\r\n\"'<> ;") & set(location.partition("?")[2])


def test_the_key_of_the_cookies_follows_from_the_clients_secret_and_is_not_it(tmp_path: Path) -> None:
    settings = settings_for(METADATA, 1, 2, tmp_path / "none.db")
    made = server.secrets(settings)["auth"]
    assert made == server.secrets(settings)["auth"], "a sign-in outlives a restart"
    assert SECRET not in made["cookie_secret"]
    other = server.secrets(settings.model_copy(update={"sign_in_secret": "another"}))["auth"]
    assert other["cookie_secret"] != made["cookie_secret"]
    assert server.secrets(ServeSettings(store="sqlite:///none.db")) == {}
    assert SECRET not in repr(settings)


def test_nothing_is_written_for_a_person_who_may_not_act_or_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(METADATA, 1, 2, tmp_path / "none.db")
    monkeypatch.setenv(VARIABLE, settings.handed_on())
    assert not settings.may_act
    said: list[str] = []
    monkeypatch.setattr(desk.st, "error", said.append)  # type: ignore[attr-defined]
    for person, by in (
        (Visitor(None, True, False), "Mallory"),
        (Visitor("Bob (2)", True, False), "Bob (2)"),
        (Visitor("Ada (1)", True, True), "Mallory"),
    ):
        monkeypatch.setattr(access, "visitor", lambda person=person: person)
        desk.write(by, lambda *_: pytest.fail("it was written"), "done")
    assert len(said) == 3
    assert ["Read-only" in text for text in said] == [True, True, False]


def test_every_page_asks_who_may_act_and_takes_the_name_from_the_sign_in() -> None:
    """The settings alone know nobody who has signed in, and a text input would let anyone be anyone."""
    for file in Path(desk.__file__).parent.glob("*.py"):
        source = file.read_text(encoding="utf-8")
        assert file.name == "access.py" or "served().may_act" not in source, f"{file.name}: ask access.visitor()"
        assert file.name == "desk.py" or '"Your name"' not in source, f"{file.name}: ask desk.name()"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(PEOPLE) as made:
        yield made


@pytest.mark.browser
def test_a_team_signs_in_through_a_proxy_and_each_action_has_its_name(
    browser: Any,  # noqa: F811
    provider: Provider,
    crisis_store: Path,
    tmp_path: Path,
) -> None:
    store, port = Path(shutil.copy(crisis_store, tmp_path / "own.db")), free_port()
    with sqlite3.connect(store) as connection:
        (alert,) = connection.execute("SELECT id FROM alerts WHERE state = 'firing' LIMIT 1").fetchone()
    with ReverseProxy(port, "/desk") as proxy:
        settings = settings_for(provider.metadata_url, port, proxy.port, store)
        with serve.started(settings):
            seen = Desk(browser, settings.external_url or "")
            page = seen.page
            # The link of a message, without a sign-in: no word of the store.
            page.goto(f"{seen.base}/Alerts?alert={alert}")
            page.get_by_text("Sign in to read").wait_for()
            assert "Weftware" not in page.content()
            assert findings(page) == []
            # Signed in without a role.
            page.get_by_role("link", name="Sign in").click()
            page.get_by_role("link", name="eve").click()
            page.get_by_text("none of your roles may read here").wait_for()
            assert "Weftware" not in page.content()
            page.get_by_role("link", name="Sign out").click()
            # A viewer reads and does not act; the sign-in led back to the alert.
            page.get_by_text("Sign in to read").wait_for()
            page.goto(f"{seen.base}/Alerts?alert={alert}")
            page.get_by_role("link", name="Sign in").click()
            page.get_by_role("link", name="bob").click()
            page.get_by_text("Evidence", exact=True).wait_for()
            assert page.url == f"{seen.base}/Alerts?alert={alert}"
            page.get_by_text("Read-only: to acknowledge").wait_for()
            assert page.get_by_role("button", name="Acknowledge").count() == 0
            page.get_by_role("link", name="Sign out").click()
            page.get_by_text("Sign in to read").wait_for()
            # An operator acts under the name of the provider, and is asked for none.
            page.goto(f"{seen.base}/Alerts?alert={alert}")
            page.get_by_role("link", name="Sign in").click()
            page.get_by_role("link", name="ada").click()
            page.get_by_role("button", name="Acknowledge").first.click()
            assert page.get_by_label("Your name").count() == 0
            page.get_by_role("button", name="Acknowledge this alert").click()
            page.get_by_text("This does not change detection").wait_for()
            with sqlite3.connect(store) as connection:
                rows = connection.execute("SELECT action, by FROM desk_actions").fetchall()
            assert rows == [("acknowledge", "Ada Byron (ada@desk.example)")]
            # Links stay below the path, also from the address without its slash; every cookie does too.
            page.goto(seen.base)
            page.locator(".fs-say a").first.click()
            page.wait_for_url("**/desk/Alerts?*")
            assert page.url.startswith(seen.base)
            cookies = {cookie["name"]: cookie for cookie in seen.context.cookies()}
            assert cookies["_streamlit_user"]["path"] == "/desk"
            assert cookies["_streamlit_user"]["httpOnly"]
            assert SECRET not in json.dumps(cookies) + page.content()
            # A forged cookie signs nobody in.
            forged = cookies["_streamlit_user"] | {"value": cookies["_streamlit_user"]["value"][:-4] + "AAAA"}
            seen.context.add_cookies([forged])
            page.reload()
            page.get_by_text("Sign in to read").wait_for()
            assert seen.console == []
            assert seen.hosts == {"localhost", "127.0.0.1"}
            assert provider.refused == []
            seen.close()


@pytest.mark.browser
def test_everyone_reads_behind_a_proxy_that_removes_the_path_where_the_settings_say_so(
    browser: Any,  # noqa: F811
    provider: Provider,
    crisis_store: Path,
    tmp_path: Path,
) -> None:
    port = free_port()
    with ReverseProxy(port, "/desk", removes=True) as proxy:
        settings = settings_for(provider.metadata_url, port, proxy.port, crisis_store, read_without_sign_in=True)
        with serve.started(settings):
            seen = Desk(browser, settings.external_url or "")
            page = seen.page
            page.goto(seen.base)  # without the last slash
            page.locator(".fs-say").first.wait_for()
            page.get_by_text("Read-only. Sign in to act.").wait_for()
            with page.expect_download() as download:
                page.get_by_text("Download as CSV").first.click()
            assert "Weftware" in Path(download.value.path()).read_text()
            page.get_by_role("link", name="Sign in").click()
            page.get_by_role("link", name="eve").click()  # without a role, she reads as everyone does
            page.get_by_text("Eve (eve), read-only").wait_for()
            # Straight to the server, without the path: the page leads below it.
            page.goto(f"http://localhost:{port}/Health")
            page.wait_for_url("**/desk/Health")
            page.locator(".fs-asof").wait_for()
            assert seen.console == []
            seen.close()
