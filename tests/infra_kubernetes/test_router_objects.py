"""Routes as objects: valid by the CRDs' schemas, read back as they are, and told when changed."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.ports import Mirror, Route, Share
from infra.kubernetes import route_gateway_api, route_istio
from infra.kubernetes.route_leaks import gateway_leaks, istio_leaks
from infra.kubernetes.route_objects import SPEC, object_name, rules_of, spec_hash, token_of
from registry.errors import PermanentEngineError, RetryableEngineError, UserError

from .router_world import DOOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.kubernetes.route_objects import Protocol

SCHEMAS = json.loads((Path(__file__).parent / "schemas" / "routes.json").read_text())
HOSTED = replace(DOOR, hosts=("speech.example.com",))
HALF = Route("speech", (Share(3, 50), Share(4, 50)), 7)
ENGINES = ("http", "grpc", "istio")


def validate(manifest: dict[str, Any]) -> None:
    schema = {"$defs": SCHEMAS["$defs"], "$ref": f"#/$defs/{manifest['kind']}"}
    jsonschema.Draft202012Validator(schema).validate(manifest["spec"])


def made(engine: str, route: Route) -> dict[str, Any]:
    if engine == "istio":
        return route_istio.virtual_service(route, HOSTED)
    return route_gateway_api.manifest_of(route, HOSTED, "http" if engine == "http" else "grpc")


def read(engine: str, found: dict[str, Any]) -> Route:
    if engine == "istio":
        return route_istio.route_of(found, HOSTED)
    return route_gateway_api.route_of(found, HOSTED, "http" if engine == "http" else "grpc")


@st.composite
def routes(draw: st.DrawFn) -> Route:
    weight = draw(st.integers(0, 100))
    shares = draw(
        st.sampled_from(
            [
                (Share(3, 100),),
                (Share(3, 100 - weight), Share(14, weight)),
                (Share(3, 50 - weight // 2), Share(14, weight // 2), Share(15, 50)),
            ]
        )
    )
    mirror = draw(st.none() | st.builds(Mirror, st.sampled_from([3, 14, 99]), st.integers(1, 100)))
    model = draw(st.sampled_from(["speech", "a" * 63, "9-", "lip-reader"]))
    return Route(model, shares, draw(st.integers(0, 10**9)), mirror)


@settings(max_examples=40)
@given(routes(), st.sampled_from(ENGINES))
def test_every_route_is_valid_and_read_back_as_it_was_written(route: Route, engine: str) -> None:
    manifest = made(engine, route)
    validate(manifest)
    assert read(engine, manifest) == route
    assert token_of(manifest) == route.token


@settings(max_examples=20)
@given(routes())
def test_destinations_are_valid_and_there_for_every_release_that_is_named(route: Route) -> None:
    rules = route_istio.destination_rules(route, DOOR)
    for manifest in rules:
        validate(manifest)
    text = json.dumps(route_istio.virtual_service(route, DOOR))
    hosts = {one["spec"]["host"] for one in rules}
    named = {part for part in text.split('"') if part.endswith(".svc.cluster.local")}
    assert named <= hosts


def test_the_schemas_refuse_what_an_api_server_would() -> None:
    breaks: list[Callable[[dict[str, Any]], object]] = [
        lambda spec: spec["rules"][0]["matches"][0]["headers"][0].pop("value"),
        lambda spec: spec["rules"][0].update(retries=2),
        lambda spec: spec["rules"].extend(spec["rules"] * 2),
        lambda spec: spec["rules"][0]["backendRefs"][0].update(weight=-1),
    ]
    for break_it in breaks:
        manifest = made("http", HALF)
        break_it(manifest["spec"])
        with pytest.raises(jsonschema.ValidationError):
            validate(manifest)


@pytest.mark.parametrize("engine", ENGINES)
def test_only_inference_is_copied_and_never_to_who_answers(engine: str) -> None:
    route = replace(HALF, mirror=Mirror(4, 20))
    text = json.dumps(made(engine, route)["spec"])
    # Of six or nine rules: the one for release 3's sessions, and in Istio that of each protocol.
    assert text.count("RequestMirror") + text.count('"mirrors"') == (2 if engine == "istio" else 1)
    shadow = Route("speech", (Share(3, 100),), 7, Mirror(4, 20))
    assert json.dumps(made(engine, shadow)["spec"]).count('"to-3"') == (
        6 if engine == "istio" else 3
    )


def test_nothing_is_offered_but_what_is_listed() -> None:
    asked = {request for rule in rules_of(HALF, "http") for request in rule.requests}
    assert all(path.startswith("/v2/models/speech") for path in asked)
    assert not any("versions" in path or "load" in path or "trace" in path for path in asked)
    methods = {request for rule in rules_of(HALF, "grpc") for request in rule.requests}
    expected = {"ModelInfer", "ModelStreamInfer", "ModelReady", "ModelMetadata", "ModelConfig"}
    assert methods == expected


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a weight of one rule": lambda spec: next(
        one for one in spec["rules"] if one["name"] == "generate-any"
    )["backendRefs"][0].update(weight=99),
    "another backend": lambda spec: spec["rules"][0]["backendRefs"][0].update(name="theirs"),
    "one more rule": lambda spec: spec["rules"].append({"name": "theirs"}),
    "a field of theirs": lambda spec: spec["rules"][0].update(retry={"attempts": 3}),
    "no rules": lambda spec: spec.pop("rules"),
    "weights that are no route's": lambda spec: next(
        one for one in spec["rules"] if one["name"] == "infer-any"
    )["backendRefs"][0].update(weight=80),
}


@pytest.mark.parametrize("what", CHANGES)
def test_somebody_elses_change_is_told_as_such(what: str) -> None:
    found = made("http", HALF)
    found["metadata"]["managedFields"] = [{"manager": "sluice"}, {"manager": "kubectl-edit"}]
    CHANGES[what](found["spec"])
    with pytest.raises(RetryableEngineError, match=r"HTTPRoute .*\(kubectl-edit\) changed"):
        read("http", found)


def test_what_a_gateway_carries_out_counts_and_not_what_the_annotation_says() -> None:
    other = replace(HALF, shares=(Share(3, 80), Share(4, 20)))
    found = made("http", other)
    found["metadata"]["annotations"] = made("http", HALF)["metadata"]["annotations"]
    assert read("http", found) == other
    # Somebody's hand on one rule alone is no route at all, whatever the annotation tells.
    found["spec"]["rules"][0]["backendRefs"][0]["name"] += "0"
    with pytest.raises(RetryableEngineError, match="changed"):
        read("http", found)
    found["metadata"]["annotations"] = {}
    with pytest.raises(RetryableEngineError, match="took away"):
        read("http", found)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_another_version_or_other_settings_wrote_is_still_the_route(engine: str) -> None:
    found = made(engine, HALF)
    rules = found["spec"].get("rules") or found["spec"]["http"]
    rules[-1]["name"] += "-as-it-was-called-before"
    with pytest.raises(RetryableEngineError, match="changed"):
        read(engine, found)
    found["metadata"]["annotations"][SPEC] = spec_hash(found["spec"])
    assert read(engine, found) == HALF


def test_what_does_not_fit_is_refused_before_it_is_written() -> None:
    five = Route("speech", tuple(Share(number, 20) for number in range(5)), 1)
    with pytest.raises(PermanentEngineError, match="18 rules"):
        made("http", five)
    with pytest.raises(UserError, match="share the listener"):
        route_gateway_api.refuse_shared_listener(replace(DOOR, grpc_listener="http"))


def foreign(**spec: Any) -> dict[str, Any]:
    parent = {"name": DOOR.gateway, "namespace": DOOR.gateway_namespace}
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": "theirs"},
        "spec": {"parentRefs": [parent], **spec},
    }


def path(kind: str, value: str) -> dict[str, Any]:
    return {"rules": [{"matches": [{"path": {"type": kind, "value": value}}]}]}


EXACT = path("Exact", "/v2/models/speech/infer")
LEAKS = [
    (True, foreign(**EXACT)),
    (True, foreign(hostnames=["*.example.com"], **EXACT)),
    (True, foreign(**path("RegularExpression", "/v2/.*"))),
    (True, foreign(**path("RegularExpression", "("))),
    (False, foreign(**path("PathPrefix", "/"))),
    (False, foreign(**path("PathPrefix", "/v2/models/speech"))),
    (False, foreign(**path("Exact", "/v2/models/speech2/infer"))),
    (False, foreign(hostnames=["other.example.org"], **EXACT)),
    (False, foreign(**EXACT) | {"metadata": {"name": object_name("speech")}}),
]


@pytest.mark.parametrize(("leaks", "other"), LEAKS)
def test_who_else_takes_requests_of_a_model(leaks: bool, other: dict[str, Any]) -> None:
    assert bool([*gateway_leaks(HALF, HOSTED, "http", [other])]) == leaks
    other["spec"]["parentRefs"][0]["sectionName"] = "another"
    assert not [*gateway_leaks(HALF, HOSTED, "http", [other])]


def test_a_prefix_on_a_closer_host_takes_all() -> None:
    other = foreign(hostnames=["speech.example.com"], **path("PathPrefix", "/v2"))
    assert [*gateway_leaks(HALF, DOOR, "http", [other])] == ["HTTPRoute theirs"]


@pytest.mark.parametrize(
    ("leaks", "match"),
    [
        (True, {"method": {"service": "inference.GRPCInferenceService", "method": "ModelInfer"}}),
        (False, {"method": {"service": "inference.GRPCInferenceService"}}),
        (False, {}),
        (
            False,
            {
                "method": {
                    "service": "inference.GRPCInferenceService",
                    "method": "ModelInfer",
                },
                "headers": [{"name": "x-model", "value": "another"}],
            },
        ),
    ],
)
def test_who_else_takes_calls_of_a_model(leaks: bool, match: dict[str, Any]) -> None:
    protocol: Protocol = "grpc"
    other = foreign(rules=[{"matches": [match]}])
    assert bool([*gateway_leaks(HALF, HOSTED, protocol, [other])]) == leaks


@pytest.mark.parametrize(
    ("leaks", "match"),
    [
        (True, {"uri": {"exact": "/v2/models/speech/infer"}}),
        (True, {"uri": {"prefix": "/v2/models/"}}),
        (True, {"uri": {"regex": "/v2/models/[a-z]+/infer"}}),
        (False, {"uri": {"prefix": "/"}}),
        (False, {"uri": {"exact": "/v2/models/other/infer"}}),
        (False, {"headers": {"x-model": {"exact": "other"}}}),
    ],
)
def test_which_virtual_services_take_requests(leaks: bool, match: dict[str, Any]) -> None:
    spec = {"hosts": ["*"], "gateways": ["gateways/edge"], "http": [{"match": [match]}]}
    other = {"kind": "VirtualService", "metadata": {"name": "theirs"}, "spec": spec}
    assert bool([*istio_leaks(HALF, HOSTED, [other])]) == leaks
    elsewhere = copy.deepcopy(other)
    elsewhere["spec"]["gateways"] = ["edge"]  # type: ignore[index]  # an object's spec
    assert not [*istio_leaks(HALF, HOSTED, [elsewhere])]
