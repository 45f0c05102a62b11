"""The object store of `stores.s3`: what clients are told of it, and one line where it cannot be used."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from cascade.extras import require
from tasks.config.stores import S3_KEYS, ObjectStoreParams
from tasks.stores.errors import StoreError

if TYPE_CHECKING:
    from botocore.client import BaseClient

KEYS = " and ".join(S3_KEYS)
REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken", "InvalidToken", "403")
# of Amazon's and MinIO's servers, and the status of WebDAV that others send
FULL = ("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "507")
LOOK_SECONDS = 1.0
CONNECT_SECONDS = 5.0
# MLflow's calls, one after the other, are tried again by boto itself for about this many times
ATTEMPTS = 12


class StoreAwayError(StoreError):
    """It does not answer, and may do so later."""


def settle(params: ObjectStoreParams, environ: MutableMapping[str, str] = os.environ) -> None:
    """Tell MLflow and boto, in this process and its children, of the store; without a bucket nothing changes."""
    if params.bucket is None:
        return
    environ["AWS_DEFAULT_REGION"] = params.region
    environ.setdefault("AWS_RETRY_MODE", "standard")
    environ.setdefault("AWS_MAX_ATTEMPTS", str(ATTEMPTS))
    if params.endpoint:
        environ["MLFLOW_S3_ENDPOINT_URL"] = params.endpoint


def place(params: ObjectStoreParams) -> str:
    """Bucket and server, for messages."""
    return f"s3://{params.bucket}" + (f" at {params.endpoint}" if params.endpoint else "")


def check(params: ObjectStoreParams) -> None:
    """Ask the store for one name of the bucket.

    Raises:
        StoreAwayError: it does not answer.
        StoreError: it refuses, there is no bucket, or no key; names the variables.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client(params).list_objects_v2(Bucket=params.bucket, Prefix=params.prefix, MaxKeys=1)
    except (BotoCoreError, ClientError) as error:
        raise explained(params, error) from None


def client(params: ObjectStoreParams) -> BaseClient:
    """A client that gives up soon."""
    require("stores.s3", "boto3")
    import boto3
    from botocore.config import Config

    quick = Config(connect_timeout=CONNECT_SECONDS, read_timeout=4 * CONNECT_SECONDS, retries={"total_max_attempts": 1})
    # the session that boto3.client shares would keep the keys of its first call
    session = boto3.session.Session(region_name=params.region)
    return session.client("s3", endpoint_url=params.endpoint, config=quick)


def of_boto(params: ObjectStoreParams, error: Exception) -> StoreError | None:
    """The line for an error of boto, also where its transfer wraps it; None for another library's."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    cause = error.__context__ if isinstance(error, Boto3Error) and error.__context__ else error
    return explained(params, cause) if isinstance(cause, BotoCoreError | ClientError | Boto3Error) else None


def explained(params: ObjectStoreParams, error: Exception) -> StoreError:
    """Turn what boto raises into the line for a person."""
    from botocore.exceptions import BotoCoreError, NoCredentialsError, PartialCredentialsError

    where = place(params)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        unset = [name for name in S3_KEYS if not os.environ.get(name)] or list(S3_KEYS)
        return StoreError(f"{where}: no credentials; set {' and '.join(unset)}")
    if isinstance(error, BotoCoreError):
        return StoreAwayError(f"{where} does not answer ({error}); stores.s3 in params.yaml")
    answer: dict[str, Any] = getattr(error, "response", {})
    said = answer.get("Error", {})
    code = str(said.get("Code", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    words = f"{where}: {code}: {said.get('Message') or error}"
    if code in REFUSED or status == 403:
        return StoreError(f"{words}; correct {KEYS}, or what they may do there")
    if code == "NoSuchBucket":
        return StoreError(f"{words}; make the bucket, or correct stores.s3.bucket in params.yaml")
    if code in FULL or status == 507:
        return StoreError(f"{words}; it is full")
    if status >= 500:
        return StoreAwayError(f"{words}; stores.s3 in params.yaml")
    return StoreError(f"{words}; stores.s3 in params.yaml")


def await_store(params: ObjectStoreParams, say: Callable[[str], object], until: float) -> None:
    """Wait until the store answers.

    Args:
        params: section `stores.s3`.
        say: gets one line where there is something to wait for.
        until: of `time.monotonic`.

    Raises:
        StoreError: it refuses, or does not answer in time.
    """
    waits = False
    while True:
        try:
            check(params)
        except StoreAwayError as away:
            if time.monotonic() >= until:
                raise StoreAwayError(f"{away}; waited {params.wait_seconds:.0f} s, run it again then") from None
            if not waits:
                say(f"{away}; waiting up to {params.wait_seconds:.0f} s (stores.s3.wait_seconds)")
            waits = True
            time.sleep(LOOK_SECONDS)
        else:
            return
