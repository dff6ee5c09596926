"""One real MLflow on sqlite for the module, first opened by two processes at once."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from registry.errors import IntegrityError, PermanentEngineError, RetryableEngineError, UserError
from registry.manifest import Manifest
from registry.tracking import RegisteredVersion, Tracking

from .conftest import as_nobody, start_python, write_tree

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.engine,
    # MLflow's own tables use a loader that SQLAlchemy 2.1 has begun to warn of.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning"),
]

REGISTER = """
import json, sys
from pathlib import Path
from registry.manifest import Manifest
from registry.prefetch import prefetch
from registry.tracking import Tracking
prefetch("mlflow")
root, folder = Path(sys.argv[1]), Path(sys.argv[2])
tracking = Tracking(f"sqlite:///{root}/mlflow.db", root / "artifacts")
manifest = Manifest.of_folder(folder)
first = tracking.register("twice", folder, manifest, {"kind": "whisper"})
target = folder.with_name(f"downloaded-{sys.argv[3]}")
tracking.download("twice", first.version, manifest, target)
print(json.dumps([first.version, first.run_id, first.created]))
"""


@dataclass(frozen=True)
class Tracked:
    """The store, the folder registered as `twice`, and what the processes said."""

    tracking: Tracking
    root: Path
    folder: Path
    printed: list[tuple[str, str]]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    root = tmp_path_factory.mktemp("mlflow")
    files = {"config.json": b"{}", "sub/weights.bin": bytes(range(256)) * 400}
    folder = write_tree(root / "source", files)
    with (
        start_python(REGISTER, root, folder, 0) as one,
        start_python(REGISTER, root, folder, 1) as two,
    ):
        printed = [child.communicate(timeout=120) for child in (one, two)]
    tracking = Tracking(f"sqlite:///{root}/mlflow.db", root / "artifacts")
    return Tracked(tracking, root, folder, printed)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "artifact", {"a/b.bin": b"bytes", "c": tmp_path.name.encode()})


def register(tracked: Tracked, model: str, folder: Path) -> RegisteredVersion:
    return tracked.tracking.register(model, folder, Manifest.of_folder(folder), {"kind": "whisper"})


def test_two_processes_at_once_make_one_version(tracked: Tracked) -> None:
    (version, run, created), (other, other_run, other_created) = (
        json.loads(out) for out, _ in tracked.printed
    )
    assert (version, run) == (other, other_run)
    assert sorted((created, other_created)) == [False, True]
    again = register(tracked, "twice", tracked.folder)
    assert again == RegisteredVersion(version, run, created=False)


def test_nothing_is_printed_that_no_user_asked_for(tracked: Tracked) -> None:
    assert [error for _, error in tracked.printed] == ["", ""]


def test_what_was_registered_can_be_downloaded(tracked: Tracked, tmp_path: Path) -> None:
    manifest = Manifest.of_folder(tracked.folder)
    tracked.tracking.download("twice", "1", manifest, tmp_path / "deep" / "out")
    manifest.verify_folder(tmp_path / "deep" / "out")
    with pytest.raises(UserError, match="is there already"):
        tracked.tracking.download("twice", "1", manifest, tmp_path / "deep" / "out")
    tracked.tracking.download("twice", "1", manifest, tmp_path / "second")
    (tmp_path / "file").touch()
    with pytest.raises(PermanentEngineError, match="cannot write"):
        tracked.tracking.download("twice", "1", manifest, tmp_path / "file" / "out")


@pytest.mark.parametrize("damage", ["changed", "extra", "missing"])
def test_a_tampered_download_is_refused(
    tracked: Tracked, artifact: Path, tmp_path: Path, damage: str
) -> None:
    model = f"tampered-{damage}"
    registered = register(tracked, model, artifact)
    kept = tracked.root / "artifacts" / model / registered.run_id / "artifacts" / "artifact"
    match damage:
        case "changed":
            (kept / "c").write_bytes(b"other")
        case "extra":
            (kept / "d").write_bytes(b"")
        case "missing":
            (kept / "a" / "b.bin").unlink()
    with pytest.raises(IntegrityError):
        tracked.tracking.download(
            model, registered.version, Manifest.of_folder(artifact), tmp_path / "out" / "files"
        )
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("step", ["log_artifacts", "log_dict", "create_model_version"])
def test_what_a_crash_left_is_finished(
    tracked: Tracked, artifact: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    model = f"crash-{step}".replace("_", "-")
    client = tracked.tracking._client

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(client, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            register(tracked, model, artifact)
    experiment = client.get_experiment_by_name(model)
    assert experiment is not None
    begun = client.search_runs([experiment.experiment_id])
    kept = (
        tracked.root / "artifacts" / model / begun[0].info.run_id / "artifacts" / "artifact" / "c"
    )
    before = kept.stat() if kept.exists() else None
    registered = register(tracked, model, artifact)
    assert registered == RegisteredVersion("1", begun[0].info.run_id, created=True)
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]
    if step == "create_model_version":
        assert before is not None
        assert kept.stat().st_mtime_ns == before.st_mtime_ns, "uploaded again"


def test_another_digest_is_another_version(tracked: Tracked, artifact: Path) -> None:
    first = register(tracked, "grows", artifact)
    (artifact / "c").write_bytes(b"more")
    second = register(tracked, "grows", artifact)
    assert (first.version, second.version) == ("1", "2")
    assert first.run_id != second.run_id


def test_aliases_move_and_tags_stay(tracked: Tracked, artifact: Path) -> None:
    register(tracked, "aliased", artifact)
    (artifact / "c").write_bytes(b"more")
    register(tracked, "aliased", artifact)
    tracked.tracking.set_alias("aliased", "production", "1")
    tracked.tracking.set_alias("aliased", "candidate", "2")
    tracked.tracking.set_alias("aliased", "production", "2")
    assert tracked.tracking.aliases("aliased") == {"production": "2", "candidate": "2"}
    tracked.tracking.tag("aliased", "2", {"release.1": "production"})
    tags = tracked.tracking._client.get_model_version("aliased", "2").tags
    assert tags["sluice.release.1"] == "production"
    assert tags["sluice.kind"] == "whisper"
    assert tags["sluice.digest"] == Manifest.of_folder(artifact).digest


def test_reports_and_numbers_are_kept_with_the_run(
    tracked: Tracked, artifact: Path, tmp_path: Path
) -> None:
    run_id = register(tracked, "reported", artifact).run_id
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "one.json").write_text('{"verdict": "pass"}')
    tracked.tracking.log_files(run_id, tmp_path / "evidence", "gates")
    tracked.tracking.log_record(run_id, {"b": 1, "a": "é"}, "gates/two.json")
    tracked.tracking.log_metrics(run_id, {"wer": 0.25, "cer": 0.125})
    kept = tracked.root / "artifacts" / "reported" / run_id / "artifacts" / "gates"
    assert json.loads((kept / "one.json").read_text()) == {"verdict": "pass"}
    assert json.loads((kept / "two.json").read_text()) == {"b": 1, "a": "é"}
    metrics = tracked.tracking._client.get_run(run_id).data.metrics
    assert metrics == {"wer": 0.25, "cer": 0.125}


def test_an_unknown_model_is_the_users_error_in_one_line(tracked: Tracked) -> None:
    for act in (
        lambda: tracked.tracking.aliases("absent"),
        lambda: tracked.tracking.set_alias("absent", "production", "1"),
        lambda: tracked.tracking.tag("absent", "1", {"a": "b"}),
    ):
        with pytest.raises(UserError, match="absent") as caught:
            act()
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="is not a model name"):
        register(tracked, "Not a name", tracked.folder)


def test_a_database_that_cannot_be_used_is_refused_at_once(
    tracked: Tracked, open_folder: Path, tmp_path: Path
) -> None:
    assert tracked.tracking.aliases("twice") == {}  # imported by now
    closed = open_folder / "closed"
    closed.mkdir()
    sqlite3.connect(closed / "mlflow.db").close()
    (tmp_path / "file").touch()
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "text.db").write_text(
        "no database, although it is long enough to look like one" * 99
    )
    began = time.monotonic()
    for path, match in (
        (tmp_path / "file" / "mlflow.db", "cannot write"),
        (tmp_path / "folder.db", "cannot be opened"),
        (tmp_path / "text.db", "is not a sqlite database"),
        (closed / "mlflow.db", "cannot write: Permission denied"),
        (closed / "new.db", "cannot be opened"),
    ):
        with as_nobody() if path.parent == closed else nullcontext():
            tracking = Tracking(f"sqlite:///{path}", tmp_path)
            with pytest.raises(PermanentEngineError, match=match) as caught:
                tracking.aliases("m")
        assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 5


def test_a_server_that_is_down_may_be_tried_again(
    tracked: Tracked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert tracked.folder
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(RetryableEngineError) as caught:
            Tracking(uri, tmp_path).aliases("m")
    assert "\n" not in str(caught.value)
