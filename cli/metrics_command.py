"""`sluice metrics`: the control plane's own metrics, printed once or served to Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import Output, OutputOption, emit
from cli.wave_commands import RegionOption, placed_platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from registry.workspace import Workspace


def add_to(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(metrics)


def metrics(
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Serve them until Ctrl-C.")
    ] = "",
    engines: Annotated[
        bool, typer.Option("--engines", help="Also what Triton and Envoy count, on this machine.")
    ] = False,
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Print the metrics of releases, rollouts, drift and delivery in Prometheus' text format.

    A region is asked by itself: let its scrape job add the label `region`.

    Example: sluice metrics --listen 127.0.0.1:9464 --engines
    """
    from prometheus_client import CollectorRegistry, generate_latest

    from cli.progress import progress
    from pipelines.metrics import PlatformCollector
    from pipelines.stages import announce

    registry = CollectorRegistry(auto_describe=False)
    platform = placed_platform(region)
    collector = PlatformCollector(platform)
    if listen:
        with progress():
            announce("Reading the journal")
            collector.catch_up()
    registry.register(collector)
    if engines:
        registry.register(_Engines(platform.workspace))
    if not listen:
        rows = [
            {"name": one.name, "labels": one.labels, "value": one.value}
            for family in registry.collect()
            for one in family.samples
        ]
        emit(output, {"metrics": rows}, lambda: typer.echo(generate_latest(registry), nl=False))
        return
    _serve(registry, *_address(listen))


class _Engines:
    """A collector of what the engines of one workspace tell."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def collect(self) -> Iterator[Metric]:
        """As `prometheus_client` asks for it."""
        from infra.local.engine_metrics import engine_metrics

        yield from engine_metrics(self._workspace)


def _address(listen: str) -> tuple[str, int]:
    from registry.errors import UserError

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UserError(f"{listen!r} is not an address", remedy="use HOST:PORT: 127.0.0.1:9464")
    return host.strip("[]"), int(port)


def _serve(registry: object, host: str, port: int) -> None:
    """Answer scrapes until Ctrl-C."""
    from prometheus_client import start_http_server

    from registry.errors import PermanentEngineError

    try:
        server, thread = start_http_server(port, host, registry)  # type: ignore[arg-type] # a registry
    except OSError as error:
        raise PermanentEngineError(
            f"cannot listen: {error.strerror}",
            where=f"{host}:{port}",
            remedy="stop what listens there, or name another port",
        ) from error
    _tell(f"http://{host}:{port}/metrics")
    try:
        thread.join()
    finally:
        server.shutdown()
        server.server_close()


def _tell(address: str) -> None:
    from infra.observability.watching import prints_json
    from registry.spans import event

    event("listening", address=address)
    if not prints_json():
        typer.echo(address, err=True)
