"""Who may see the page: whoever knows the token, on this machine or through a tunnel to it.

A machine is shared, and any web page in the user's browser can send requests to 127.0.0.1. So every request must carry the
token (first in the link, then in a cookie that scripts cannot read), must name this machine as its host (a foreign name
that was pointed at 127.0.0.1 is refused: DNS rebinding), and must not come from another site's page. The page itself is
forbidden, by its Content-Security-Policy, to reach anything but this server.
"""

import hashlib
import hmac
from urllib.parse import urlsplit

from flask import Flask, Response, redirect, request
from flask.typing import ResponseReturnValue

HOSTS = {"127.0.0.1", "localhost", "::1"}
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)  # plotly's WebGL makes functions of text, and dash starts by an inline script; neither may load anything from elsewhere
MOST_BYTES = 4 << 20


def guard(server: Flask, token: str) -> None:
    """Refuses every request to `server` that is not the user's. Must come before anything else is asked."""
    cookie = f"cryodrake_{hashlib.sha256(token.encode()).hexdigest()[:8]}"  # cookies do not tell ports apart
    server.config["MAX_CONTENT_LENGTH"] = MOST_BYTES

    def check() -> ResponseReturnValue | None:
        if _host_name(f"//{request.host}") not in HOSTS:
            return _refusal("this address is not one of this machine's")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return _refusal("the request comes from another site's page")
        if _is_same(request.cookies.get(cookie, ""), token):
            return None
        if request.method == "GET" and request.path == "/" and _is_same(request.args.get("token", ""), token):
            answer = redirect("/", code=303)  # the token leaves the address bar, and the browser's history
            answer.set_cookie(cookie, token, httponly=True, samesite="Lax")
            return answer
        return _refusal("the token is missing or wrong: open the link that `cryodrake view` printed")

    def close_off(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    server.before_request(check)
    server.after_request(close_off)


def _is_same(given: str, token: str) -> bool:
    """In constant time: how long it takes does not tell how much of it was right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _host_name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _refusal(words: str) -> Response:
    return Response(f"refused: {words}\n", status=403, mimetype="text/plain")
