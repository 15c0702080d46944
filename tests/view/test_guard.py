"""Who is let in, and who is not."""

import socket

import pytest

pytest.importorskip("dash")

from cryodrake.errors import InputError
from cryodrake.view.guard import MOST_BYTES
from cryodrake.view.server import bind, make_app, new_token
from cryodrake.view.shelf import Shelf

TOKEN = "a-very-secret-token"
HOST = "http://127.0.0.1:8050"
PATHS = ("/", "/_dash-layout", "/_dash-dependencies", "/assets/view.js", "/_dash-update-component", "/_favicon.ico")


@pytest.fixture
def app(finished_job):
    return make_app(Shelf(finished_job), TOKEN)


@pytest.fixture
def stranger(app):
    return app.server.test_client()


@pytest.fixture
def user(app):
    """Has followed the link."""
    client = app.server.test_client()
    client.get(f"/?token={TOKEN}", base_url=HOST)
    return client


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_there_is_nothing(stranger, path):
    assert stranger.get(path, base_url=HOST).status_code == 403
    assert stranger.post(path, base_url=HOST, json={}).status_code == 403


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "é", "a\x00"])
def test_a_wrong_token_is_refused_in_the_link_and_in_the_cookie(app, user, token):
    stranger = app.server.test_client()
    assert stranger.get("/", query_string={"token": token}, base_url=HOST).status_code == 403
    name = next(cookie.key for cookie in user._cookies.values())
    stranger.set_cookie(name, token, domain="127.0.0.1")
    assert stranger.get("/_dash-layout", base_url=HOST).status_code == 403


def test_the_token_lets_in_and_leaves_the_address(app):
    client = app.server.test_client()
    answer = client.get(f"/?token={TOKEN}", base_url=HOST)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/"
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert "SameSite=Lax" in answer.headers["Set-Cookie"]
    assert client.get("/", base_url=HOST).status_code == 200
    assert client.get("/_dash-layout", base_url=HOST).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.7:8050", "localhost.evil.example", "[::2]:80", "[bad"]
)
def test_a_foreign_host_name_is_refused_whatever_the_cookie(user, host):
    assert user.get("/_dash-layout", base_url=HOST, headers={"Host": host}).status_code == 403


def test_a_tunnel_may_have_another_port_and_name_of_this_machine(app):
    client = app.server.test_client()
    assert client.get(f"/?token={TOKEN}", base_url="http://localhost:9999").status_code == 303
    assert client.get("/_dash-layout", base_url="http://localhost:9999").status_code == 200


def test_another_sites_page_is_refused_with_the_users_own_cookie(user):
    for origin in ("http://evil.example", "http://127.0.0.1:9000", "null"):
        assert user.post("/_dash-update-component", base_url=HOST, headers={"Origin": origin}, json={}).status_code == 403


def test_the_page_may_load_nothing_from_elsewhere(user):
    answer = user.get("/", base_url=HOST)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "*" not in policy
    page = answer.get_data(as_text=True)
    assert "http://" not in page
    assert "https://" not in page


def test_a_huge_request_is_refused(user):
    assert user.post("/_dash-update-component", base_url=HOST, json="x" * MOST_BYTES).status_code == 413


@pytest.mark.parametrize(
    "body",
    [{}, [], "x", 3, {"output": "no.such"}, {"output": []}, {"output": "page-state.children"},
     {"output": "save-words.children", "inputs": [3]}],
)  # fmt: skip
def test_a_request_that_the_page_never_sends_is_refused_in_a_line(user, body, capfd):
    assert user.post("/_dash-update-component", base_url=HOST, json=body).status_code == 400
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert said.count("\n") <= 1


def test_only_this_machine_can_connect_and_a_taken_port_is_passed_over(app, capfd):
    first = bind(app, 8170)
    second = bind(app, first.port)
    try:
        assert first.host == second.host == "127.0.0.1"
        assert second.port > first.port
        assert first.socket.getsockname()[0] == "127.0.0.1"
        assert capfd.readouterr().err == ""  # no alarm about a port that does not matter
    finally:
        first.server_close()
        second.server_close()


def test_no_free_port_is_said(app):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 65_535))
        taken.listen()
        with pytest.raises(InputError, match="no free port"):
            bind(app, 65_535)


def test_tokens_are_long_and_never_the_same():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 40


@pytest.mark.parametrize("path", ["/assets/../server.py", "/assets/%2e%2e/server.py", "/assets//etc/passwd", "/../../etc/passwd"])
def test_files_outside_the_assets_are_not_served(user, path):
    answer = user.get(path, base_url=HOST)
    assert "import" not in answer.get_data(as_text=True)[:2000] or answer.status_code == 404
    assert b"root:" not in answer.data
