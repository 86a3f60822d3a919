"""Spark, and S3 for data, models and data versions. `make test-scale` runs these tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import (  # noqa: F401
    BIN,
    Process,
    Start,
    environment,
    free_port,
    interruptible,
    postgres,
    small,
    start,
    start_mlflow,
    start_prefect,
    tokensieve,
)

# Requests of the fixture `s3` before moto checks keys: create a user, its key, its policy.
UNCHECKED = 3
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.scale)


@dataclass(frozen=True)
class Storage:
    """A server of the S3 protocol that checks keys, and a client of it."""

    url: str
    keys: dict[str, str]
    client: Any

    def names(self, bucket: str) -> list[str]:
        """Return the keys of all objects in a bucket."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]


@pytest.fixture
def s3(start: Start, environment: dict[str, str]) -> Storage:  # noqa: F811
    """Start moto's server with the buckets data, models and dvc.

    `environment` gets its address and keys.
    """
    import boto3

    for name in [name for name in environment if name.startswith("AWS_")]:
        del environment[name]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = environment | {"INITIAL_NO_AUTH_ACTION_COUNT": str(UNCHECKED)}
    start("s3", str(BIN / "moto_server"), "-p", str(port), url=f"{url}/moto-api/", env=variables)
    first = {"aws_access_key_id": "first", "aws_secret_access_key": "first", "region_name": "us-east-1"}
    users = boto3.client("iam", endpoint_url=url, **first)
    users.create_user(UserName="user")
    key = users.create_access_key(UserName="user")["AccessKey"]
    users.put_user_policy(UserName="user", PolicyName="all", PolicyDocument=json.dumps(POLICY))
    keys = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    environment |= keys
    client = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        region_name="us-east-1",
    )
    for bucket in ("data", "models", "dvc"):
        client.create_bucket(Bucket=bucket)
    return Storage(url, keys, client)


@pytest.fixture
def start_mlflow_on_s3(
    start: Start,  # noqa: F811
    environment: dict[str, str],  # noqa: F811
    tmp_path: Path,
) -> Callable[..., Process]:
    """Start MLflow's server with its files in a bucket and its tables in `database`.

    Its address is `url` less /health.

    `variables` replace those of `environment`, for this server alone.
    """

    def begin(
        database: str = "", destination: str = "s3://models/files", port: int = 0, **variables: str
    ) -> Process:
        port = port or free_port()
        options = [
            "--backend-store-uri",
            database or f"sqlite:///{tmp_path / 'mlflow.db'}",
            "--artifacts-destination",
            destination,
            "--workers",
            "1",
        ]
        command = [str(BIN / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), *options]
        url = f"http://127.0.0.1:{port}/health"
        return start("mlflow", *command, url=url, env=environment | variables)

    return begin
