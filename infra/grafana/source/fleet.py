"""The fleet: what serves, how fast it answers, what waits, what it costs."""

from __future__ import annotations

from infra.grafana.source.panels import MODEL, Page, Shown

_EACH = "{{model}} r{{release}}"
_BY_MODEL = f"{{{MODEL}}}"
_NOT_READY = (
    f"count((sluice_route_weight_percent{_BY_MODEL} > 0) "
    "and on (model, release) (sluice_revision_ready == 0)) or vector(0)"
)

FLEET = Page(
    uid="sluice-fleet",
    title="Sluice: fleet",
    told="What serves, how fast, and what waits. By model and release.",
    rows=(
        (
            "Now",
            (
                Shown(
                    "Release that serves",
                    "By model; 0: none.",
                    ((f"sluice_release_live{_BY_MODEL}", "{{model}}"),),
                    kind="number",
                    width=8,
                ),
                Shown(
                    "Not ready and with traffic",
                    "Releases that get traffic while their server is not ready.",
                    ((_NOT_READY, "releases"),),
                    kind="number",
                    width=8,
                    limits=((1, "red"),),
                ),
                Shown(
                    "Alerts that fire",
                    "Each has a page below docs/runbooks that says what to do.",
                    (
                        (
                            (
                                'count by (alertname) (ALERTS{alertname=~"Sluice.*", '
                                'alertstate="firing"})'
                            ),
                            "{{alertname}}",
                        ),
                    ),
                    kind="number",
                    width=8,
                    limits=((1, "red"),),
                ),
            ),
        ),
        (
            "Requests",
            (
                Shown(
                    "Requests a second",
                    "At the front door, by the release that got them.",
                    ((f"release:requests:rate5m{_BY_MODEL}", _EACH),),
                    unit="reqps",
                ),
                Shown(
                    "Failed requests",
                    "Part of the requests; refused ones count too.",
                    ((f"release:errors:ratio5m{_BY_MODEL}", _EACH),),
                    unit="percentunit",
                    limits=((0.05, "red"),),
                ),
                Shown(
                    "Time to the answer",
                    "At the front door: median and 95th percentile, in Envoy's bins.",
                    (
                        (f"release:request_seconds:p50{_BY_MODEL}", f"{_EACH} p50"),
                        (f"release:request_seconds:p95{_BY_MODEL}", f"{_EACH} p95"),
                    ),
                    unit="s",
                    dashed=".* p95",
                ),
                Shown(
                    "Where the time goes in Triton",
                    "Means: waiting for a batch or an instance, and computing.",
                    (
                        (f"release:queue_seconds:mean5m{_BY_MODEL}", f"{_EACH} waits"),
                        (f"release:compute_seconds:mean5m{_BY_MODEL}", f"{_EACH} computes"),
                    ),
                    unit="s",
                    dashed=".* waits",
                ),
            ),
        ),
        (
            "Capacity",
            (
                Shown(
                    "Requests that wait",
                    "In Triton's queues.",
                    ((f"release:pending_requests:sum{_BY_MODEL}", _EACH),),
                ),
                Shown(
                    "Requests in a batch",
                    "Mean.",
                    ((f"release:batch_size:mean5m{_BY_MODEL}", _EACH),),
                ),
                Shown(
                    "Memory of revisions",
                    "That their processes hold.",
                    ((f"sluice_revision_memory_bytes{_BY_MODEL}", _EACH),),
                    unit="bytes",
                ),
                Shown(
                    "Restarts",
                    "Crashes of revisions in an hour.",
                    ((f"increase(sluice_revision_restarts_total{_BY_MODEL}[1h])", _EACH),),
                ),
                Shown(
                    "Answers from the cache",
                    "Part of the requests, of releases that keep answers.",
                    ((f"release:cache_hits:ratio5m{_BY_MODEL}", _EACH),),
                    unit="percentunit",
                    most=1,
                ),
                Shown(
                    "Audio answered",
                    "Seconds of sound or video a second.",
                    ((f"release:audio_seconds:rate5m{_BY_MODEL}", _EACH),),
                    unit="s",
                ),
            ),
        ),
        (
            "Cost",
            (
                Shown(
                    "Cost of 1,000 requests",
                    "From the gate's measured throughput, batches full, no hour idle.",
                    (
                        (
                            f"1000 * sluice_cost_per_request{_BY_MODEL}",
                            f"{_EACH}, {{{{currency}}}}",
                        ),
                    ),
                ),
                Shown(
                    "Cost of the traffic an hour",
                    "The least: an idle machine costs the same hour.",
                    ((f"release:cost:hourly{_BY_MODEL}", f"{_EACH}, {{{{currency}}}}"),),
                ),
            ),
        ),
    ),
)
