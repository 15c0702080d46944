"""The web server: on 127.0.0.1 only, behind a token, and with everything it serves on this machine."""

import logging
import secrets
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dash import Dash, set_props
from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, make_server

from cryodrake.errors import InputError
from cryodrake.view import page
from cryodrake.view.guard import guard
from cryodrake.view.shelf import Shelf

ADDRESS = "127.0.0.1"
TRIES = 20
UPDATE = "/_dash-update-component"


def make_app(shelf: Shelf, token: str) -> Dash:
    """The page on these jobs, for whoever has the token."""
    server = Flask(__name__, static_folder=None)
    guard(server, token)  # before dash adds its own
    app = Dash(
        "cryodrake", server=server, assets_folder=str(Path(__file__).parent / "assets"), serve_locally=True, title="cryodrake",
        update_title=None, suppress_callback_exceptions=True, on_error=_tell, add_log_handler=False,
    )  # fmt: skip
    server.register_error_handler(Exception, lambda error: _not_understood(error, app.callback_map))
    app.layout = lambda: page.layout(shelf)
    page.register(app, shelf)
    return app


def new_token() -> str:
    """32 random bytes, as text for a link."""
    return secrets.token_urlsafe(32)


def bind(app: Dash, port: int) -> BaseWSGIServer:
    """A server on this port, or on one of the next where it is taken.

    Raises:
        InputError: none of them is free.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line for each request
    for number in range(port, min(port + TRIES, 65_536)):
        try:
            listening = socket.create_server((ADDRESS, number))  # werkzeug would end the program where a port is taken
        except OSError:
            continue
        with listening:
            return make_server(ADDRESS, number, app.server, threaded=True, fd=listening.fileno())
    raise InputError(f"no free port from {port} on", where="--port", do="give another --port")


def _not_understood(error: Exception, callbacks: Mapping[str, Any]) -> ResponseReturnValue:
    """400 and a line for what the page itself never sends; anything else that goes wrong keeps its trace."""
    if isinstance(error, HTTPException):
        return error
    if request.path != UPDATE or _is_of_a_callback(request.get_json(silent=True), callbacks):
        raise error
    print(f"a request was not understood: {type(error).__name__}", file=sys.stderr)
    return Response("this is no request of the page\n", status=400, mimetype="text/plain")


def _is_of_a_callback(body: Any, callbacks: Mapping[str, Any]) -> bool:
    """Whether it names a callback and all that this takes in."""
    try:
        wanted = callbacks[body["output"]]
        given = [[(part["id"], part["property"]) for part in body.get(kind, [])] for kind in ("inputs", "state")]
        return given == [[(part["id"], part["property"]) for part in wanted[kind]] for kind in ("inputs", "state")]
    except (AttributeError, KeyError, TypeError):
        return False


def _tell(error: Exception) -> None:
    """The user's input being wrong is said on the page; a fault of ours as well, with its trace on the terminal."""
    if not isinstance(error, InputError):
        traceback.print_exception(error)
    words = str(error) if isinstance(error, InputError) else f"A fault of ours: {type(error).__name__}: {error}"
    set_props("page-notice", {"children": words})
