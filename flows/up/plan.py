"""What `tokensieve up` starts, and what it prints."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from flows.up import deployments, services
from flows.up.ports import check_free
from flows.up.postgres import VARIABLE, make_databases, server_address
from flows.up.service import Service
from tasks.projects import moved_project
from tokensieve import packages
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.registry.models import open_reader
from tokensieve.registry.store import tracking_uri, without_password
from tokensieve.settings import Settings


@dataclass(frozen=True)
class Plan:
    """What is started.

    Attributes:
        servers: Prefect, and MLflow unless another one is used.
        deploy: The program that makes the deployments.
        server: The inference server.
        described: A line on each deployment.
        outside: Where MLflow is, if it is not started here.
        addresses: The addresses of Prefect's API and of MLflow, for other commands of the project.
        shared: Whether a command finds the registry without MLFLOW_TRACKING_URI, because it is the
            project's SQLite file.
    """

    layout: Layout
    servers: list[Service]
    deploy: Service
    worker: Service
    server: Service
    described: list[str]
    outside: str
    addresses: dict[str, str]
    shared: bool


def make(layout: Layout, options: argparse.Namespace) -> Plan:
    """Check the ports and the databases, write the deployments, and return what is to be started.

    MLFLOW_TRACKING_URI of this process and its children is then the address of MLflow's server.

    Raises:
        InputError: If a port, a file, a database or the registry cannot be used.
    """
    settings = Settings.load(layout.params)
    deployments.load(layout)  # to refuse it before anything is made
    postgres = server_address(options.postgres)
    os.environ.pop(VARIABLE, None)
    store = tracking_uri(layout, settings)
    outside = store if store.startswith("http") else ""
    registry = outside or f"http://{services.LOOPBACK}:{options.mlflow_port}"
    at = services.Addresses(options.host, options.port, options.prefect_port, registry, options.mlflow_port)
    ports = {
        "--prefect-port": (services.LOOPBACK, at.prefect_port),
        "--mlflow-port": (services.LOOPBACK, at.mlflow_port),
        "--port": (at.host, at.port),
    }
    if outside:
        del ports["--mlflow-port"]
        open_reader(outside).models()
    check_free(ports)
    if options.log_texts:
        _make_log(options.log_texts)
    databases = make_databases(postgres) if postgres else None
    moved_project.follow(layout, store)
    os.environ["MLFLOW_TRACKING_URI"] = registry
    described = deployments.write(layout, options.data, options.test, layout.up, options.log_texts)
    mlflow = [] if outside else [services.mlflow(layout, at, databases.mlflow if databases else store)]
    servers = [services.prefect(layout, at, databases), *mlflow]
    rest = _deploy(layout, at), services.worker(layout, at), services.server(layout, at, options.log_texts)
    for service in (*servers, *rest):
        service.log.unlink(missing_ok=True)
    return Plan(
        layout,
        servers,
        *rest,
        described,
        without_password(outside),
        {"prefect_api": at.api, "mlflow": without_password(registry)},
        not databases,
    )


def _make_log(path: str) -> None:
    """Make the prediction log: `monitor` may read it before the inference server starts."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600))
    except OSError as error:
        raise InputError(
            f"--log-texts {path} cannot be written ({error.strerror}); use another file"
        ) from None


def table(plan: Plan) -> str:
    """Return the addresses, schedules and logs, and which runs Prefect's page shows."""
    rows = [(service.name, service.address) for service in [*plan.servers, plan.worker]]
    if plan.outside:
        rows.insert(1, (services.MLFLOW, f"{plan.outside} (it ran before)"))
    waits = ", starting" if plan.server.needed() else ", after the first promotion"
    rows += [(services.SERVER, plan.server.address + waits)]
    rows += [("runs" if not place else "", line) for place, line in enumerate(plan.described)]
    if not plan.shared:
        rows += [("commands", f"export MLFLOW_TRACKING_URI={plan.addresses['mlflow']}")]
    # Without the variable, a command starts a Prefect server of its own for its run.
    rows += [("pages", "Prefect's page shows the runs of these deployments. For those of the command line,")]
    rows += [("", f"first: export PREFECT_API_URL={plan.addresses['prefect_api']}")]
    rows += [("logs", str(plan.layout.up))]
    return "\n".join(f"{name:<9} {value}" for name, value in rows)


def _deploy(layout: Layout, at: services.Addresses) -> Service:
    return Service(
        "the deployment",
        tuple(packages.command("flows.up.deploy", str(Path(layout.up) / deployments.NAME))),
        Path(layout.up) / "deploy.log",
        lambda began: True,
        environment={"PREFECT_API_URL": at.api},
    )
