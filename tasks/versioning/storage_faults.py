"""Why a storage such as S3 refuses a request or does not respond, in one line with the remedy."""

from __future__ import annotations

import os

from tasks.versioning.dvc_repo import Repo, root_cause
from tokensieve.errors import causes

# Of botocore: no keys are set, or one of two.
WITHOUT_KEYS = {"NoCredentialsError", "PartialCredentialsError"}
KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


def reason(error: Exception, scheme: str) -> str:
    """Return the first cause of an error of a storage, for s3 with the remedy."""
    cause = root_cause(error)
    remedy = _s3_remedy(error, cause) if scheme == "s3" else ""
    return f"{cause}; {remedy}" if remedy else cause


def remote_error(repo: Repo, version: str) -> Exception | None:
    """Return the error with which DVC's remote answers a request for a data version.

    DVC itself only counts the files that it could not fetch. None: there is no remote, it answers,
    or it lacks the version.
    """
    try:
        storage = repo.cloud.get_remote_odb()
        storage.fs.info(storage.oid_to_path(version))
    except Exception as error:  # DVC's own, or one of a remote's library: they share no narrower base
        absent = isinstance(error, FileNotFoundError) and "bucket" not in str(error)
        return None if absent or type(error).__name__ == "NoRemoteError" else error
    return None


def _s3_remedy(error: Exception, cause: str) -> str:
    kinds = {type(known).__name__ for known in causes(error)}
    if kinds & WITHOUT_KEYS:
        return f"set {KEYS}"
    if "PermissionError" in kinds or "Forbidden" in cause or "Access Denied" in cause:
        return f"check {KEYS}, and what they allow"
    if "FileNotFoundError" in kinds or "NoSuchBucket" in kinds or "does not exist" in cause:
        return "check the bucket and the path"
    if any(isinstance(known, OSError) or "Connection" in type(known).__name__ for known in causes(error)):
        server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return f"start the server, or correct AWS_ENDPOINT_URL{f' ({server})' if server else ''}"
    return ""
