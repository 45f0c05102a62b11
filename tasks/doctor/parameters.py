"""Whether params.yaml can be read, and what of it does not go together with this machine."""

from __future__ import annotations

from collections.abc import Iterator

from cascade.api.auth import ServiceError, check_host
from cascade.config import ConfigError
from tasks.config import load_params
from tasks.doctor.finding import Finding, error, ok, warning
from tasks.doctor.registry import Context, check


@check("params.yaml")
def params_file(context: Context) -> Iterator[Finding]:
    """It is read anew, for the words of its error."""
    try:
        params = load_params()
    except ConfigError as failure:
        words = " ".join(str(failure).split())
        yield error(words, "correct the keys that are named; the comments of params.yaml say what each may be")
        return
    yield ok(f"params.yaml is valid, profile {params.profile}")


@check("service key", needs_params=True)
def service_key(context: Context) -> Iterator[Finding]:
    """A service that others reach needs a key."""
    serve = context.needed.serve
    try:
        check_host(serve.host, serve.key_file)
    except (ServiceError, ConfigError) as failure:
        yield error(" ".join(str(failure).split()), "set STREETVISION_API_KEY or serve.key_file, see docs/service.md")
        return
    yield ok(f"the service listens on {serve.host}")
    file = serve.key_file
    if file is not None and file.stat().st_mode & 0o077:
        yield warning(f"{file}: others on this machine can read it", f"chmod 600 {file}")
