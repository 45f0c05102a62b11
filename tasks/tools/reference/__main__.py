"""Write the reference pages: `python -m tasks.tools.reference [--url http://127.0.0.1:8080]`.

The page of the HTTP interface is made from the document of a service that runs, and left as it is without `--url`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tasks.tools.reference.command_line import command_line_page
from tasks.tools.reference.http_api import http_api_page
from tasks.tools.reference.parameters import parameters_page
from tasks.tools.reference.series import series_page

FOLDER = Path("docs/reference")


def main() -> None:
    """Write the pages into docs/reference."""
    parser = argparse.ArgumentParser(prog="python -m tasks.tools.reference", description=main.__doc__)
    parser.add_argument("--url", help="of a service, whose /openapi.json is read")
    url = parser.parse_args().url
    FOLDER.mkdir(parents=True, exist_ok=True)
    pages = {"parameters.md": parameters_page(), "command-line.md": command_line_page(), "series.md": series_page()}
    if url:
        import httpx

        pages["http-api.md"] = http_api_page(
            httpx.get(f"{url}/openapi.json", trust_env=False).raise_for_status().json()
        )
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
