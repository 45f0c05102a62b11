"""Section `stores`: the databases and the object store of a deployment on more than one machine.

A secret is never written here: `params.yaml` is committed. Each address names a user at most, and the password comes
from the environment variable that `PASSWORDS` says.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from pydantic import Field, ValidationInfo, field_validator

from cascade.config.base import Section

# where the password of the user in an address comes from, by key of the section
PASSWORDS = {
    "prefect": "STREETVISION_PREFECT_DB_PASSWORD",
    "mlflow": "STREETVISION_MLFLOW_DB_PASSWORD",
    "mongodb": "STREETVISION_MONGODB_PASSWORD",
}
# boto's own names, so that profiles and roles of a machine work as well
S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# MLflow's own, of a server that asks for a password
MLFLOW_SERVER_PASSWORD = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105  # the name of a variable
SCHEMES = {"prefect": ("postgresql",), "mongodb": ("mongodb", "mongodb+srv"), "endpoint": ("http", "https")}


def check_address(key: str, address: str, variables: str) -> None:
    """Refuse an address with a password, or of another kind than the key takes.

    Raises:
        ValueError: says which variable to set instead; the password is not repeated.
    """
    try:
        found = urlsplit(address)
        secret = found.password is not None or "password" in parse_qs(found.query)
    except ValueError:
        raise ValueError("not an address") from None
    if secret:
        raise ValueError(f"holds a password, and this file is committed: take it out, and set {variables}")
    if (known := SCHEMES.get(key)) and (found.scheme not in known or not found.hostname):
        raise ValueError(f"expected an address that begins with {' or '.join(f'{one}://HOST' for one in known)}")


class ObjectStoreParams(Section):
    """Section `stores.s3`: DVC's remote and MLflow's artifacts in a bucket of S3 or of a server like it.

    Attributes:
        bucket: without one DVC's remote is as `.dvc/config` says, and artifacts are under var/mlartifacts.
        endpoint: of a server that is not Amazon's.
        region: that requests are signed for.
        prefix: folder in the bucket.
        wait_seconds: that a store which does not answer is waited for.
    """

    bucket: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    endpoint: str | None = None
    region: str = "us-east-1"
    prefix: str = Field(default="streetvision", pattern=r"^[\w.-]+(/[\w.-]+)*$")
    wait_seconds: float = Field(default=120, ge=0)

    @field_validator("endpoint")
    @classmethod
    def _has_no_password(cls, address: str | None) -> str | None:
        if address is not None:
            check_address("endpoint", address, " and ".join(S3_KEYS))
        return address

    def url(self, folder: str) -> str:
        """The address of a folder of the bucket."""
        return f"s3://{self.bucket}/{self.prefix}/{folder}"


class StoresParams(Section):
    """Section `stores`.

    Attributes:
        prefect: Postgres of Prefect's server, as postgresql://USER@HOST/NAME; without it SQLite under var/prefect.
        mlflow: runs and registry: a file of SQLite, whose path counts from the project's root, a Postgres, or the
            address of a server.
        mongodb: of FiftyOne, as mongodb://USER@HOST:27017/; without it one of our own under var/fiftyone.
        s3: object store.
    """

    prefect: str | None = None
    mlflow: str = "sqlite:///var/mlflow.db"
    mongodb: str | None = None
    s3: ObjectStoreParams = ObjectStoreParams()

    @field_validator("prefect", "mlflow", "mongodb")
    @classmethod
    def _has_no_password(cls, address: str | None, info: ValidationInfo) -> str | None:
        if address is not None:
            name = str(info.field_name)
            server = name == "mlflow" and address.startswith("http")
            check_address(name, address, MLFLOW_SERVER_PASSWORD if server else PASSWORDS[name])
        return address
