"""`cryodrake view`: a local web page on a job, or on the jobs of a folder, while they run and afterwards."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from cryodrake.errors import InputError


@dataclass(frozen=True)
class ViewConfig:
    """What to look at, and where the page is served."""

    job: tyro.conf.Positional[Path]
    """Job folder, running or finished; or a folder with several jobs in it."""
    port: int = 8050
    """Port of 127.0.0.1 to serve the page at; the next free one where it is taken."""
    open: bool = False
    """Open the page in this machine's web browser."""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise InputError(f"port is {self.port}", where="--port", expected="1 to 65535")


def main(config: ViewConfig) -> None:
    """Serves the page until Ctrl-C.

    Raises:
        InputError: dash or plotly is not installed, no job is there, or no port is free.
    """
    try:
        import dash  # noqa: F401
        import plotly  # noqa: F401
    except ImportError as error:
        raise InputError(f"{error.name} is not installed", do="pip install 'cryodrake[view]'") from None
    from cryodrake.view.server import bind, make_app, new_token
    from cryodrake.view.shelf import Shelf

    token = new_token()
    server = bind(make_app(Shelf(config.job), token), config.port)
    link = f"http://127.0.0.1:{server.port}/?token={token}"
    print(f"{link}\n  From your own machine: ssh -L {server.port}:127.0.0.1:{server.port} THIS_MACHINE, then the same link there.")
    print("  Whoever has the link can read the job. Ctrl-C ends it.", flush=True)
    if config.open:
        import webbrowser

        webbrowser.open(link)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
