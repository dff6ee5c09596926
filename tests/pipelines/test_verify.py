"""The chain behind what serves: whole, and broken at each link in turn."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from typer.testing import CliRunner, Result

from canary.ports import Route, Share
from canary.standing import STANDING
from cli.main import app
from model_repository.config import Batching
from model_repository.golden import GoldenRequest, GoldenSet
from model_repository.layout import ReleaseLayout
from model_repository.publishing import publish, read_record
from pipelines.assembly import Platform
from pipelines.attesting import ATTESTATION, attest_conversion, attest_gate, attest_release
from pipelines.serving_pointer import point_to, pointer_file
from pipelines.signed_things import sign_again, signed_by, signed_things
from pipelines.verify import BROKEN, DOWN, OK, verify_models
from registry.errors import IntegrityError, UserError
from registry.files import canonical_json
from registry.journal import Journal
from registry.rotation import retire, revoke, rotate
from registry.workspace import Workspace
from tests.canary.world import Behaviour, MemoryWorld
from tests.rollout.stage import MODEL, QUICK, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOLDEN = GoldenSet((GoldenRequest("one", np.zeros(2, dtype=np.float32), "one", -0.25),))
RECIPE = {"variant": "onnx-int8", "format": "onnx", "precision": "int8", "parameters": {}}


@dataclass
class Place:
    """A workspace with a release that serves, in a world in memory."""

    root: Path
    world: MemoryWorld

    def __post_init__(self) -> None:
        self.platform = Platform(Workspace(self.root), actor="ann")
        self.stage = Stage.at(self.platform.workspace.state, self.world)
        self.platform.__dict__ |= {
            "journal": self.stage.journal,
            "fleet": self.world.fleet,
            "router": self.world.router,
        }

    def copied_to(self, root: Path) -> Place:
        """Another workspace with the same bytes; the world is the same one."""
        self.stage.journal.close()
        shutil.copytree(self.root, root)
        return Place(root, self.world)

    def make(self, release: int) -> None:
        """Register, convert, gate and publish, as the flows journal and state it."""
        platform, source = self.platform, self.root.parent / f"source-{release}"
        platform.__dict__.pop("signing_key", None)
        write(source / "weights.bin", b"weights %d" % release)
        artifact = platform.store.add(source).digest
        platform.append(
            MODEL, "artifact-registered", {"digest": artifact, "version": "1", "run_id": "r"}
        )
        folder = self.variant(release)
        record: dict[str, Any] = {
            "artifact": artifact,
            "variant": "onnx-int8",
            "digest": platform.store.add(folder).digest,
            "recipe_key": "ab" * 32,
            "recipe": RECIPE,
            "format": "onnx",
            "precision": "int8",
            "bytes": 9,
            "tool_versions": {"onnx": "1"},
        }
        stated = attest_conversion(
            platform, record, kind="whisper", environment="e" * 64, calibration="c" * 64
        )
        platform.append(MODEL, "variant-converted", record | {ATTESTATION: stated})
        gated = self.gate(record)
        self.publish(release, folder, gated)

    def variant(self, release: int) -> Path:
        folder = self.root.parent / f"variant-{release}"
        described = {"recipe": RECIPE, "longest_question": [48000]}
        write(folder / "variant.json", canonical_json(described))
        write(folder / "decoder.onnx", b"decoder %d" % release)
        np.save(folder / "mel_filters.npy", np.zeros((3, 2), np.float32))
        return folder

    def gate(self, record: dict[str, Any], verdict: str = "pass") -> dict[str, Any]:
        digests = {"artifact": record["artifact"], "variant": record["digest"]}
        provenance = {"dataset_sha256": "d" * 64, "policy": {"seed": 1}, "digests": digests}
        report = canonical_json({"verdict": verdict, "provenance": provenance})
        digest = hashlib.sha256(report).hexdigest()
        write(self.platform.workspace.reports / digest / "report.json", report)
        body = {
            "artifact": record["artifact"],
            "variant": record["variant"],
            "variant_digest": record["digest"],
            "verdict": verdict,
            "report_digest": digest,
            "reference": "",
            "metrics": {},
        }
        stated = attest_gate(self.platform, body, provenance)
        self.platform.append(MODEL, "gate-decided", body | {ATTESTATION: stated})
        return body

    def publish(self, release: int, folder: Path, gated: dict[str, Any]) -> None:
        platform = self.platform
        names = ("variant_digest", "artifact", "variant", "report_digest")
        body = {name: gated[name] for name in names} | {"serve": "s" * 64, "release": release}
        published = publish(
            platform.workspace,
            MODEL,
            release,
            kind="whisper",
            variant_folder=folder,
            golden=GOLDEN,
            batching=Batching(),
            provenance={name: str(value) for name, value in body.items()},
            signing_key=platform.signing_key,
        )
        body |= {"manifest_digest": published.manifest.digest}
        body |= {ATTESTATION: attest_release(platform, MODEL, body)}
        platform.append(MODEL, "release-published", body)

    def file(self, below: str, suffix: str = "") -> Path:
        """The one file below `.sluice/` that a pattern names, made writable."""
        found = sorted(self.platform.workspace.state.glob(below))
        assert found, below
        chosen = next(path for path in found if path.name.endswith(suffix))
        chosen.chmod(0o644)
        return chosen

    def attested(self, kind: str) -> Path:
        entry = next(e for e in reversed(self.stage.entries()) if e.kind == kind)
        path = self.platform.attestations.path(entry.body[ATTESTATION])
        path.chmod(0o644)
        return path

    def walk(self, **named: Any) -> dict[str, Any]:
        return verify_models(self.platform, [MODEL], **named).to_dict()


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Release 1 was made and serves."""
    root = tmp_path_factory.mktemp("verify") / "workspace"
    write(root / "sluice.toml", b"")
    (root / ".sluice").mkdir()
    place = Place(root, MemoryWorld())
    place.make(1)
    place.stage.controller().promote(MODEL, 1, QUICK)
    return place


@pytest.fixture
def place(built: Place, tmp_path: Path) -> Iterator[Place]:
    copied = built.copied_to(tmp_path / "workspace")
    route = copied.world.route
    yield copied
    copied.world.route = route
    copied.stage.journal.close()


def test_a_whole_chain_is_walked_link_by_link(place: Place) -> None:
    value = place.walk()
    assert value["whole"], value["first_break"]
    assert value["first_break"] is None
    assert [link["link"] for link in value["links"]] == [
        "journal",
        "keys",
        "artifact",
        "variant",
        "gate",
        "release",
        "bytes",
        "revision",
        "route",
    ]
    assert {link["state"] for link in value["links"]} == {OK}
    assert value["links"][-1]["detail"] == "100 % to release 1"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def blob(place: Place, digest: str, name: str) -> Path:
    sha256 = place.platform.store.manifest(digest).by_path[name].sha256
    return place.file(f"store/blobs/{sha256[:2]}/{sha256}")


def of_artifact(place: Place) -> None:
    (record,) = place.platform.catalog(MODEL).artifacts
    flip(blob(place, record, "weights.bin"))


def of_variant(place: Place) -> None:
    flip(blob(place, place.platform.catalog(MODEL).variants[0].digest, "decoder.onnx"))


def of_lost_variant(place: Place) -> None:
    blob(place, place.platform.catalog(MODEL).variants[0].digest, "decoder.onnx").unlink()


def of_report(place: Place) -> None:
    flip(place.file("reports/*/report.json"))


def of_lost_report(place: Place) -> None:
    place.file("reports/*/report.json").unlink()


def of_record(place: Place) -> None:
    path = place.file(f"releases/{MODEL}/1.json")
    document = json.loads(path.read_bytes())
    document["record"]["kind"] = "ctc-speech"
    path.write_bytes(canonical_json(document))


def of_repository(place: Place) -> None:
    flip(place.file(f"repository/{MODEL}*/1/**/*", "model.py"))


def of_configuration(place: Place) -> None:
    path = place.file(f"repository/{MODEL}/configs/r1.pbtxt")
    path.write_text(path.read_text() + "# more\n")


def of_extra_file(place: Place) -> None:
    write(place.platform.workspace.repository / MODEL / "1" / "sitecustomize.py", b"import os")


def of_root(place: Place) -> None:
    flip(place.file("keys/root.json"))


def of_route(place: Place) -> None:
    place.world.route = Route(MODEL, (Share(7, 100),), 1)


def of_lost_route(place: Place) -> None:
    place.world.route = None


def of_lying_end(place: Place) -> None:
    """Who can write the database tells it all anew, in a chain that holds."""
    entries, url = place.platform.journal.read(MODEL), place.platform.workspace.journal_url
    place.platform.journal.close()
    for path in place.platform.workspace.state.glob("journal.db*"):
        path.unlink()
    with closing(Journal(url)) as journal:
        for entry in entries:
            body = dict(entry.body)
            if STANDING in body:
                body[STANDING] = {**body[STANDING], "served": [1, 7]}
            journal.append(MODEL, entry.kind, body, actor=entry.actor, at=entry.at)
        assert journal.verify(MODEL) == len(entries)


@pytest.mark.parametrize(
    ("change", "link", "words"),
    [
        (of_artifact, "artifact", "the bytes of weights.bin were changed on disk"),
        (of_variant, "variant", "the bytes of decoder.onnx were changed on disk"),
        (of_lost_variant, "variant", "the bytes of decoder.onnx are gone"),
        (lambda place: flip(place.attested("variant-converted")), "variant", "attestation"),
        (lambda place: place.attested("variant-converted").unlink(), "variant", "is missing"),
        (of_report, "gate", "is not the report that was judged"),
        (of_lost_report, "gate", "the report is missing"),
        (lambda place: flip(place.attested("gate-decided")), "gate", "attestation"),
        (of_record, "release", "the signature is not this workspace's"),
        (lambda place: place.file("releases/*/1.json").unlink(), "release", "no signed record"),
        (lambda place: place.attested("release-published").unlink(), "release", "is missing"),
        (of_repository, "bytes", "model.py is not the file that was recorded"),
        (of_configuration, "bytes", "r1.pbtxt is not the file that was recorded"),
        (of_extra_file, "bytes", "sitecustomize.py is not in the manifest"),
        (of_root, "keys", "restore it from a copy"),
        (of_route, "route", "release 7 gets traffic and was never published"),
        (of_lying_end, "journal", "rollout-ended leaves the model elsewhere than it says"),
        (of_lost_route, "route", "it is no route, and the journal says 100 % to release 1"),
    ],
)
def test_the_first_broken_link_is_named(
    place: Place, change: Callable[[Place], Any], link: str, words: str
) -> None:
    change(place)
    value = place.walk()
    assert not value["whole"]
    assert value["first_break"]["link"] == link
    assert words in value["first_break"]["detail"]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 1_000_000), bit=st.integers(0, 7))
def test_a_changed_record_is_refused_or_says_the_same(place: Place, at: int, bit: int) -> None:
    """The line's end may be another white space; nothing else of it may change."""
    places, keys = place.platform.workspace, place.platform.signing_key.verifying_key
    layout = ReleaseLayout(places.repository, MODEL, 1)
    path = layout.record(places.releases)
    before = path.read_bytes()
    content = bytearray(before)
    content[at % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))
    try:
        read_record(layout, places.releases, keys)
    except IntegrityError:
        return
    finally:
        path.write_bytes(before)
    assert json.loads(content) == json.loads(before)


def test_an_edited_journal_ends_the_walk(place: Place) -> None:
    with place.stage.journal.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER journal_refuses_update"))
        connection.execute(text("UPDATE journal SET actor = 'eve' WHERE sequence = 2"))
    (link,) = place.walk()["links"]
    assert (link["link"], link["state"]) == ("journal", BROKEN)
    assert "entry 2 was changed after it was written" in link["detail"]


def test_a_revision_that_was_never_published_is_named(place: Place) -> None:
    place.world.fleet.start(MODEL, 9)
    try:
        broken = place.walk()["first_break"]
    finally:
        place.world.fleet.stop(MODEL, 9)
    assert (broken["link"], broken["of"]) == ("revision", f"{MODEL} 9")
    assert broken["detail"] == "it runs and was never published"


def test_a_running_revision_that_answers_otherwise_is_named(place: Place) -> None:
    place.world.behaviours[1] = Behaviour(unfit=True)
    try:
        broken = place.walk()["first_break"]
    finally:
        del place.world.behaviours[1]
    assert (broken["link"], broken["detail"]) == ("revision", "golden: 3 of 8 answers differ")


def test_the_pointer_is_the_newest_and_names_what_serves(place: Place) -> None:
    point_to(place.platform, MODEL, 1)
    link = place.walk()["links"][-1]
    assert (link["link"], link["state"]) == ("pointer", OK)
    older = pointer_file(place.platform.workspace, MODEL).read_bytes()
    place.make(2)
    point_to(place.platform, MODEL, 2)
    broken = place.walk()["first_break"]
    assert broken["detail"].endswith("it names release 2, and release 1 serves")
    point_to(place.platform, MODEL, 1)
    assert place.walk()["whole"]
    path = pointer_file(place.platform.workspace, MODEL)
    path.write_bytes(older)
    assert "is older than pointer 3" in place.walk()["first_break"]["detail"]
    point_to(place.platform, MODEL, 1)
    revoke(
        place.platform.workspace.keys, place.platform.signing_key.id, actor="a", reason="", at=2e9
    )
    place.platform.__dict__.pop("signing_key")
    assert f"pointer {MODEL} 3" in sign_again(place.platform)
    assert place.walk(every=True)["whole"]


def test_statements_of_another_conversion_gate_or_release_do_not_pass(place: Place) -> None:
    """Each is whole and signed by the workspace, and in the place of another one."""
    place.make(2)
    entries = {(e.kind, e.body.get("release", 0)): e for e in place.stage.entries()}
    first, second = (entries["release-published", number].body for number in (1, 2))
    for name in ("artifact", "variant_digest", "report_digest"):
        mixed = {**first, "release": 3, name: second[name]}
        place.platform.append(MODEL, "release-published", mixed)
        assert place.walk(release=3)["first_break"]["link"] in {"variant", "gate", "release"}
    assert place.walk(every=True)["first_break"]["of"] == f"{MODEL} 3"
    assert place.walk(release=2)["whole"]


def test_a_verdict_that_is_no_pass_gets_no_release_past_it(place: Place) -> None:
    variant = place.platform.catalog(MODEL).variants[0]
    gated = place.gate(dict(variant.body), verdict="fail")
    place.publish(2, place.variant(1), gated)
    broken = place.walk(release=2)["first_break"]
    assert broken["link"] == "gate"
    assert broken["detail"] == "the verdict is not a pass but fail"


def test_what_a_retired_key_signed_stays_whole(place: Place) -> None:
    keys, old = place.platform.workspace.keys, place.platform.signing_key.id
    rotate(keys, actor="ann", reason="", at=2e9)
    assert place.walk()["whole"]
    contents = [thing.content for thing in signed_by(place.platform, old)]
    assert len(contents) == 4
    retire(keys, old, signed=contents, actor="ann", reason="", at=2e9)
    assert place.walk()["whole"]
    place.make(2)
    assert place.walk(release=2)["whole"]


def test_what_a_revoked_key_signed_is_broken_until_it_is_signed_again(place: Place) -> None:
    keys, old = place.platform.workspace.keys, place.platform.signing_key.id
    named = [thing.name for thing in signed_by(place.platform, old)]
    assert f"release {MODEL}/1" in named
    revoke(keys, old, actor="ann", reason="laptop lost", at=2e9)
    broken = place.walk()["first_break"]
    assert broken["link"] == "variant"
    assert "which was revoked" in broken["detail"]
    place.platform.__dict__.pop("signing_key")
    assert sorted(sign_again(place.platform)) == sorted(named)
    assert place.walk()["whole"]
    assert not sign_again(place.platform)


def test_what_an_old_key_signed_after_it_was_listed_is_signed_again(place: Place) -> None:
    """A process that began before the rotation may still hold the old key."""
    keys, old = place.platform.workspace.keys, place.platform.signing_key
    rotate(keys, actor="ann", reason="", at=2e9)
    retire(keys, old.id, signed=[], actor="ann", reason="", at=2e9)
    assert "was not known when that key was retired" in place.walk()["first_break"]["detail"]
    place.platform.__dict__.pop("signing_key")
    assert len(sign_again(place.platform)) == 4
    assert place.walk()["whole"]


def test_what_the_journal_does_not_know_is_not_signed_again(place: Place) -> None:
    of_record(place)
    place.attested("gate-decided").write_bytes(b"{}")
    names = {thing.name.split(" ")[0] for thing in signed_things(place.platform)}
    assert "gate-decided" not in names
    old = place.platform.signing_key.id
    revoke(place.platform.workspace.keys, old, actor="ann", reason="", at=2e9)
    place.platform.__dict__.pop("signing_key")
    again = sign_again(place.platform)
    assert not [name for name in again if name.startswith(("release ", "gate-decided"))]


def test_an_older_chain_of_keys_in_its_place_is_noticed(place: Place) -> None:
    """The old chain is whole and trusts a key that was retired since; a release names the later."""
    keys, old = place.platform.workspace.keys, place.platform.signing_key.id
    rotate(keys, actor="ann", reason="", at=2e9)
    older = (keys / "root.json").read_bytes()
    contents = [thing.content for thing in signed_by(place.platform, old)]
    retire(keys, old, signed=contents, actor="ann", reason="", at=2e9)
    place.make(2)
    assert place.walk(release=2)["whole"]
    (keys / "root.json").write_bytes(older)
    broken = place.walk(release=2)["first_break"]
    assert broken["link"] == "release"
    assert "version 3 of the keys is not the one it was signed under" in broken["detail"]


def test_a_model_without_a_journal_and_a_release_without_a_number_are_wrong_use(
    place: Place,
) -> None:
    with pytest.raises(UserError, match="has nothing to verify yet; run `sluice register other`"):
        verify_models(place.platform, ["other"])
    with pytest.raises(UserError, match="no release 5; there are 1"):
        place.walk(release=5)


# The command line.


def run(place: Place | None, *arguments: str) -> Result:
    environment = {"SLUICE_WORKSPACE": str(place.root) if place else ""}
    return CliRunner().invoke(app, list(arguments), env=environment)


def test_the_command_tells_people_and_machines(place: Place) -> None:
    place.stage.journal.close()
    ran = run(place, "verify", MODEL)
    assert ran.exit_code == 0, ran.output
    assert ran.output.splitlines()[-1] == "the chain is whole"
    assert max(map(len, ran.output.splitlines())) <= 80
    value = json.loads(run(place, "verify", "all", "--output", "json").stdout)
    assert value["whole"]
    assert {link["state"] for link in value["links"][-2:]} == {DOWN}
    of_configuration(place)
    ran = run(place, "verify", MODEL)
    assert ran.exit_code == 1
    assert ran.output.splitlines()[-1] == f"breaks first at bytes of {MODEL} 1"
    folder = place.platform.workspace.repository / MODEL / "1"
    assert run(place, "verify", str(folder)).exit_code == 1


def test_a_folder_is_signed_and_verified_without_a_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "whisper" / "weights.bin", b"weights")
    assert run(None, "keys", "new", "alice.pem").exit_code == 0
    assert isinstance(run(None, "keys", "new", "alice.pem").exception, UserError)
    assert run(None, "sign", "whisper", "--key", "alice.pem").exit_code == 0
    key = ("--key", "alice.pem.pub.pem")
    ran = run(None, "verify", "whisper", *key)
    assert ran.exit_code == 0, ran.output
    assert "signed by key" in ran.output
    assert isinstance(run(None, "verify", "whisper").exception, UserError)
    write(tmp_path / "whisper" / "weights.bin", b"others")
    assert run(None, "verify", "whisper", *key).exit_code == 1
    assert isinstance(run(None, "verify", "nowhere", *key).exception, UserError)


def test_keys_are_listed_rotated_retired_revoked_and_exported(place: Place, tmp_path: Path) -> None:
    place.stage.journal.close()

    def keys(*arguments: str) -> Any:
        ran = run(place, "keys", *arguments, "--output", "json")
        assert ran.exit_code == 0, ran.output
        return json.loads(ran.stdout)

    (first,) = (row["id"] for row in keys("list")["keys"])
    assert keys("rotate", "--reason", "yearly")["version"] == 2
    assert len(keys("retire", first[:12])["stays valid"]) == 4
    assert len(keys("revoke", first[:12])["to be signed again"]) == 4
    assert len(keys("resign")["signed again"]) == 4
    states = {row["id"]: row["state"] for row in keys("list")["keys"]}
    assert states[first] == "revoked"
    assert run(place, "verify", MODEL).exit_code == 0
    written = keys("export", str(tmp_path / "trust"))["written"]
    assert [Path(path).name for path in written] == ["root.json", "release-signing-key.pub.pem"]
    assert run(place, "keys", "list").output.splitlines()[-1].startswith("version 4; signs until")


def test_a_signed_folder_is_verified_by_the_workspaces_own_key(place: Place) -> None:
    folder = place.root.parent / "whisper"
    write(folder / "weights.bin", b"weights")
    assert run(place, "sign", str(folder), "--model", MODEL).exit_code == 0
    assert run(place, "verify", str(folder)).exit_code == 0
    flip(place.file("keys/root.json"))
    ran = run(place, "verify", str(folder))
    assert ran.exit_code == 1
    assert ran.output.splitlines()[-1] == "breaks first at keys of whisper"


@pytest.mark.parametrize("command", ["verify", "sign", "keys rotate"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    ran = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "80"})
    assert "Example: sluice " in ran.output
    assert max(map(len, ran.output.splitlines())) <= 80


def test_a_broken_journal_signs_nothing_again(place: Place) -> None:
    with place.stage.journal.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER journal_refuses_delete"))
        connection.execute(text("DELETE FROM journal WHERE sequence = 2"))
    with pytest.raises(IntegrityError):
        sign_again(place.platform)


def test_shares_are_compared_whatever_their_order(place: Place) -> None:
    assert place.world.route is not None
    shares = (Share(1, 100), Share(9, 0))
    place.world.route = replace(place.world.route, shares=shares)
    broken = place.walk()["first_break"]
    assert "release 9 gets traffic and was never published" in broken["detail"]
