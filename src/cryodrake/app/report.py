"""`cryodrake report`: one HTML file about a job that can be mailed and opens anywhere, without a network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cryodrake.errors import InputError


@dataclass(frozen=True)
class ReportConfig:
    """One HTML file: what went in, what came out, how good it is, figures, settings, versions and the papers behind them."""

    job: tyro.conf.Positional[Path]
    """Job folder, finished or not."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=("-o",))] = None
    """File to write. Default: JOB/report.html, which a later report takes the place of."""

    def __post_init__(self) -> None:
        if self.out is not None and self.out.suffix not in (".html", ".htm"):
            raise InputError(f"no format {self.out.suffix!r}", where=self.out, expected=".html")


def main(config: ReportConfig) -> None:
    """Writes the file and says where.

    Raises:
        InputError: there is no such job, one of its files is damaged, or --out is there already.
    """
    from cryodrake.app.folders import refuse_taken
    from cryodrake.app.report_page import report_page
    from cryodrake.app.report_sources import read_sources
    from cryodrake.io.atomic import write_text_atomic

    if config.out is not None:
        refuse_taken(config.out)
    sources = read_sources(config.job)
    out = config.out or config.job / "report.html"
    text = report_page(sources)
    write_text_atomic(out, text)
    print(f"  {out}  {len(text.encode()) / 2**20:.1f} MiB, one file: mail it, or open it in any browser")
