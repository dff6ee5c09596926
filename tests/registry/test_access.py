from __future__ import annotations

import ast
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from registry.access import (
    ACTIONS,
    ALWAYS,
    GOES_ON,
    KINDS,
    AccessPolicy,
    Action,
    Grant,
    Role,
    action_of,
)
from registry.access_file import load_access
from registry.errors import UserError
from registry.guard import AccessGuard
from registry.identity import VERIFIED, Identity
from registry.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
WRITERS = (
    "canary",
    "cli",
    "drift",
    "pipelines",
    "pipelines/rollout",
    "pipelines/waves",
    "registry",
)
"""The rooms that know the journal."""

POLICY = """
[[grants]]
role = "engineer"
actors = ["eve"]

[[grants]]
role = "releaser"
models = ["speech-*", "m"]
actors = ["rita", "ci-*"]
groups = ["release-managers"]

[[grants]]
role = "approver"
actors = ["ann", "bob@*", "rita", "eve"]

[[grants]]
role = "on-call"
actors = ["oscar"]

[[grants]]
role = "admin"
actors = ["ada"]
"""
PRODUCTION = """
[production]
approvals = 1
expires_hours = 24
"""
PLAN = {"steps": [{"weight": 10}, {"weight": 100}], "ends_with": "promote"}
COPIES = {"steps": [{"shadow": 20, "weight": 0}], "ends_with": "return"}
EXPERIMENT = {"steps": [{"weight": 50}], "ends_with": "return"}


class World:
    """A real journal under a policy, in which anybody says who they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(f"sqlite:///{folder / 'journal.db'}", guard=lambda: self.guard)
        self.now = 1000.0
        self.policy(POLICY)

    def policy(self, text: str) -> None:
        path = self.folder / "access.toml"
        path.write_text(text)
        self.guard = AccessGuard(Identity("nobody"), load_access(path))

    def write(self, actor: str, kind: str, **body: Any) -> dict[str, Any]:
        """The new entry's origin."""
        entry = self.journal.append("m", kind, body, actor=actor, at=self.now)
        return dict(entry.origin)

    def refused(self, actor: str, kind: str, **body: Any) -> str:
        before = self.journal.read("m")
        with pytest.raises(UserError) as caught:
            self.journal.permit("m", kind, body, actor=actor, at=self.now)
        with pytest.raises(UserError) as later:
            self.write(actor, kind, **body)
        assert str(caught.value) == str(later.value)
        assert self.journal.read("m") == before
        assert "\n" not in str(later.value)
        return str(later.value)

    def publish(self, release: int, *, by: str = "rita", digest: str = "") -> None:
        body = {
            "release": release,
            "artifact": "a" * 64,
            "manifest_digest": digest or f"d{release}",
        }
        self.write(by, "release-published", **body)

    def promote(self, release: int, baseline: int | None, *, by: str = "rita") -> None:
        self.write(by, "rollout-started", candidate=release, baseline=baseline, plan=PLAN)
        self.write(by, "rollout-ended", outcome="settled")

    def approve(self, actor: str, release: int = 1, digest: str = "d1") -> None:
        self.write(actor, "release-approved", release=release, manifest_digest=digest)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with closing(world.journal):
        yield world


def test_every_kind_that_the_code_writes_is_somebodys_to_write() -> None:
    written = kinds_in_the_code()
    known = GOES_ON | ALWAYS | KINDS.keys()
    assert {"rollout-started", "drift-pairs", "notifications-sent", "looked"} <= written
    assert not written - known, "give them an action in registry/access.py"
    assert not known - written, "nobody writes them any more"


def kinds_in_the_code() -> set[str]:
    """All first texts of what makes an entry, and the constants that are given there by name."""
    modules = {
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts): ast.parse(path.read_text())
        for room in WRITERS
        for path in (CHECKOUT / room).glob("*.py")
    }
    own = {name: _constants(tree) for name, tree in modules.items()}
    found: set[str] = set()
    for module, tree in modules.items():
        known = dict(own[module])
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)):
            theirs = own.get(node.module or "", {})
            known |= {
                one.asname or one.name: theirs[one.name] for one in node.names if one.name in theirs
            }
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            found |= {_text(one, known) for one in _kinds_given(call)}
    return found - {""}


def _constants(tree: ast.Module) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in (node for node in tree.body if isinstance(node, ast.Assign)):
        for name, value in zip(_parts(node.targets[0]), _parts(node.value), strict=False):
            if isinstance(name, ast.Name) and isinstance(value, ast.Constant):
                found[name.id] = str(value.value)
    return found


def _parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _kinds_given(call: ast.Call) -> list[ast.expr]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in {"record", "Record", "RecordWave", "Draft"} and len(call.args) > 1:
        return call.args[:1]
    # `append(model, kind, body)`, and not a list's `append(value)`.
    takes_a_model = name in {"append", "_append"} and len(call.args) == 3
    return call.args[1:2] if takes_a_model or name in {"_wish", "_write_down"} else []


def _text(node: ast.expr, known: dict[str, str]) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name) and node.id != "kind":
        return known[node.id]
    # Handed on from a call that was looked at too.
    assert isinstance(node, ast.Name | ast.Attribute), ast.dump(node)
    return ""


def test_going_back_is_for_more_people_than_going_forward() -> None:
    may = {action: {role for role in Role if action in ACTIONS[role]} for action in Action}
    assert may[Action.PROMOTE] == {Role.RELEASER}
    assert may[Action.ROLL_BACK] == {Role.RELEASER, Role.ON_CALL}
    assert may[Action.APPROVE] == {Role.APPROVER}
    assert ACTIONS[Role.VIEWER] == frozenset()
    assert all(may.values()), "an action that nobody has"


@pytest.mark.parametrize("role", Role)
def test_a_role_may_do_what_it_holds_and_nothing_else(role: Role) -> None:
    policy = AccessPolicy(grants=(Grant(role=role, models=("speech-*",), actors=("ann",)),))
    for action in Action:
        if action in ACTIONS[role]:
            policy.require(Identity("ann"), action, "speech-de")
        else:
            with pytest.raises(UserError, match=rf"^speech-de: ann may not .* ann has {role} "):
                policy.require(Identity("ann"), action, "speech-de")
        for who, model in (("ann", "lips"), ("anna", "speech-de"), ("an", "speech-de")):
            with pytest.raises(UserError, match="has no role"):
                policy.require(Identity(who), action, model)


def test_groups_count_in_a_verified_token_only() -> None:
    policy = AccessPolicy(grants=(Grant(role=Role.RELEASER, groups=("sre",)),))
    policy.require(Identity("ann", VERIFIED, "https://id", frozenset({"sre"})), Action.PROMOTE, "m")
    with pytest.raises(UserError, match="no role"):
        policy.require(Identity("sre"), Action.PROMOTE, "m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[[grants]]\nrole = "boss"\n',
            (
                "access.toml:2: grants.1.role should be 'viewer', 'engineer', 'releaser', "
                "'approver', 'on-call' or 'admin', not 'boss'; allowed: 'viewer', "
                "'engineer', 'releaser', 'approver', 'on-call', 'admin'"
            ),
        ),
        (
            '[[grants]]\nrole = "viewer"\nactor = ["ann"]\n',
            (
                "access.toml:3: unknown key grants.1.actor; did you mean actors? "
                "allowed here: actors, groups, models, role"
            ),
        ),
        (
            "[[production]]\napprovals = 1\n[[production]]\napprovals = -1\n",
            (
                "access.toml:4: production.2.approvals should be greater than or equal to 0, not -1"
                "; allowed: integer, at least 0, at most 9"
            ),
        ),
    ],
)
def test_a_mistake_in_the_policy_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "access.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_access(path)
    assert str(caught.value) == f"{tmp_path}/{expected}"


def test_who_may_not_writes_nothing(world: World) -> None:
    line = world.refused("eve", "rollout-started", candidate=1, baseline=None, plan=PLAN)
    assert line == (
        "m: eve may not promote: that takes releaser, and eve has engineer, approver (asserted); "
        "`sluice access m` shows who may"
    )
    world.refused("rita", "artifact-registered", digest="a")
    world.refused("oscar", "resume-requested")
    world.refused("oscar", "rollout-started", candidate=1, baseline=None, plan=EXPERIMENT)
    world.refused("ada", "rollback-requested", to=None, reason="x")
    world.refused("stranger", "window-judged")
    world.refused("rita", "made-up")
    assert world.write("eve", "artifact-registered", digest="a" * 64)["policy"]
    world.write("ci-7", "rollout-started", candidate=1, baseline=None, plan=PLAN)


def test_an_empty_policy_lets_nobody_do_anything(world: World) -> None:
    world.policy("")
    assert "rita has no role" in world.refused("rita", "pause-requested", reason="x")


def test_a_controller_goes_on_with_what_somebody_began_and_says_for_whom(world: World) -> None:
    world.refused("controller", "looked")
    world.write("rita", "rollout-started", candidate=1, baseline=None, plan=PLAN)
    assert world.write("controller", "looked")["for"] == "rita"
    assert "for" not in world.write("rita", "effect-started")
    world.write("oscar", "rollback-requested", to=None, reason="x")
    assert world.write("controller", "effect-started")["for"] == "oscar"
    world.write("stranger", "notifications-sent", failed=[])


def test_going_back_leads_only_to_what_has_served(world: World) -> None:
    world.promote(1, None)
    world.promote(2, 1)
    assert "promote" in world.refused("oscar", "rollback-requested", to=3, reason="x")
    world.write("oscar", "rollback-requested", to=1, reason="x")
    world.write("rita", "rollback-requested", to=3, reason="x")
    # Turned back before it had all the traffic.
    world.write("rita", "rollout-started", candidate=4, baseline=1, plan=PLAN)
    world.write("rita", "rollout-ended", outcome="rolled-back")
    world.refused("oscar", "rollback-requested", to=4, reason="x")


def test_the_drift_watch_compares_and_goes_back_by_its_case(world: World) -> None:
    world.policy(POLICY + PRODUCTION + "require_reason = true\n")
    copies = {"candidate": 1, "baseline": 2, "plan": COPIES}
    world.refused("oscar", "rollout-started", **copies)
    world.write("oscar", "attribution-begun", case=3, current=2, previous=1)
    assert world.write("oscar", "rollout-started", **copies)["for"] == "drift case 3"
    world.refused("oscar", "rollout-started", candidate=1, baseline=2, plan=EXPERIMENT)
    world.refused("oscar", "rollout-started", candidate=4, baseline=2, plan=COPIES)
    assert world.write("oscar", "skip-requested", step=0)["for"] == "drift case 3"
    world.refused("eve", "skip-requested", step=0)
    world.write("oscar", "rollout-ended", outcome="compared")
    world.refused("oscar", "skip-requested", step=0)
    world.write("oscar", "drift-rollback-requested", case=3, to=1)
    assert world.write("oscar", "rollback-requested", to=1, reason="")["for"] == "drift case 3"
    assert world.write("oscar", "looked")["for"] == "drift case 3"
    world.refused("oscar", "rollback-requested", to=7, reason="because")
    world.write("oscar", "alarm-cleared", case=3)
    world.refused("oscar", "rollout-started", **copies)


def test_another_person_approves_the_exact_bytes_for_a_while(world: World) -> None:
    world.policy(POLICY + PRODUCTION)
    started = {"candidate": 1, "baseline": None, "plan": PLAN}
    world.write("eve", "artifact-registered", digest="a" * 64)
    world.publish(1)
    line = world.refused("rita", "rollout-started", **started)
    assert line == (
        "m: release 1 needs 1 more approval; ask somebody else for `sluice approve m 1`"
    )
    world.refused("oscar", "release-approved", release=1, manifest_digest="d1")
    world.approve("rita")
    assert "(rita's is of the one who promotes)" in world.refused(
        "rita", "rollout-started", **started
    )
    world.approve("eve")
    assert "eve's is of the one who registered it" in world.refused(
        "rita", "rollout-started", **started
    )
    world.approve("ann", digest="d0")
    assert "ann's is of other bytes" in world.refused("rita", "rollout-started", **started)
    world.approve("ann", release=2)
    world.refused("rita", "rollout-started", **started)
    world.approve("ann")
    world.now += 24 * 3600
    assert "ann's is older than 24 h" in world.refused("rita", "rollout-started", **started)
    world.approve("ann")
    world.write("ann", "approval-withdrawn", release=1, manifest_digest="d1")
    world.refused("rita", "rollout-started", **started)
    # Only what gives users answers needs them.
    world.write("rita", "rollout-started", candidate=1, baseline=None, plan=COPIES)
    world.refused("rita", "rollout-started", candidate=1, baseline=None, plan=EXPERIMENT)
    world.refused("rita", "rollback-requested", to=1, reason="x")
    world.approve("ann")
    world.write("rita", "rollout-started", **started)


def test_one_person_at_two_machines_is_not_two(world: World) -> None:
    world.policy(POLICY + PRODUCTION.replace("= 1", "= 2"))
    started = {"candidate": 1, "baseline": None, "plan": PLAN}
    world.publish(1)
    world.approve("bob@laptop")
    world.approve("bob@desk")
    assert "needs 1 more approval" in world.refused("rita", "rollout-started", **started)
    world.approve("ann")
    world.write("rita", "rollout-started", **started)


def test_who_registered_may_approve_where_the_policy_says_so(world: World) -> None:
    world.policy(POLICY + PRODUCTION + "distinct = false\n")
    world.write("eve", "artifact-registered", digest="a" * 64)
    world.publish(1)
    world.approve("eve")
    world.write("rita", "rollout-started", candidate=1, baseline=None, plan=PLAN)


def test_rules_are_those_of_the_first_entry_that_names_the_model(world: World) -> None:
    world.policy(
        POLICY
        + '[[production]]\nmodels = ["speech-*"]\napprovals = 2\n[[production]]\nmodels = ["m"]\n'
    )
    policy = world.guard.policy
    assert policy is not None
    assert [policy.production_of(name).approvals for name in ("speech-de", "m", "lips")] == [
        2,
        0,
        0,
    ]
    world.promote(1, None)


def test_a_reason_is_asked_for_where_the_policy_says_so(world: World) -> None:
    world.promote(1, None)
    world.promote(2, 1)
    world.policy(POLICY + "[production]\nrequire_reason = true\n")
    asks: Callable[..., str] = world.refused
    for reason in ("", "  ", "asked for by a person"):
        assert "--reason" in asks("oscar", "rollback-requested", to=1, reason=reason)
    asks("rita", "rollout-started", candidate=3, baseline=2, plan=PLAN)
    asks("ann", "release-approved", release=1, manifest_digest="d1", reason="")
    world.write("oscar", "rollback-requested", to=1, reason="names are wrong")
    world.write("rita", "rollout-started", candidate=3, baseline=2, plan=EXPERIMENT)


def test_without_a_policy_everybody_may(tmp_path: Path) -> None:
    guard = AccessGuard(Identity("ann"))
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    with closing(Journal(url, guard=lambda: guard)) as journal:
        entry = journal.append("m", "whatever", {}, actor="x", at=1.0)
    assert entry.origin["known_by"] == "asserted"
    assert action_of("looked", {}) is None


def test_a_mere_name_is_refused_where_a_token_is_required(tmp_path: Path) -> None:
    guard = AccessGuard(Identity("ann", VERIFIED, "https://id"), required=True)
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    with closing(Journal(url, guard=lambda: guard)) as journal:
        with pytest.raises(UserError, match="'bob' is only a name"):
            journal.append("m", "looked", {}, actor="bob", at=1.0)
        entry = journal.append("m", "looked", {}, actor="ann", at=1.0)
    assert (entry.origin["known_by"], entry.origin["issuer"]) == ("oidc", "https://id")
