"""What there is to scrub: the store, the releases and MLflow's own copies, and what they must be.

Others go on adding and publishing. So what says that something must be there is read before it is
looked for: a manifest before its blobs, the journal before the repository. What says that a folder
is nobody's is read after it. It changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_repository.layout import ReleaseLayout
from model_repository.publishing import read_record
from pipelines.quarantine import inode_of
from pipelines.scrub_findings import CHANGED, EXTRA, MISSING, Expected, Finding
from registry.errors import IntegrityError, PermanentEngineError, SluiceError, UserError
from registry.manifest import is_digest, size_of
from registry.signature import VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipelines.assembly import Platform
    from registry.catalog import Catalog
    from registry.manifest import Manifest
    from registry.workspace import Workspace

STORE = "store"
RELEASES = "releases"
COPIES = "MLflow's copies"

_NUMBER = re.compile(r"[1-9][0-9]{0,9}")


@dataclass
class Place:
    """Files to be hashed, and what is wrong already without."""

    name: str
    files: list[Expected] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    remark: str = ""
    cut_off: bool = False
    records: list[Path] = field(default_factory=list)
    """Signed records that hold."""

    @property
    def looked_at(self) -> tuple[Path, ...]:
        """All that is judged, but what `findings` is about."""
        return (*self.records, *(one.path for one in self.files))

    @property
    def bytes(self) -> int:
        """Of all files as they are listed."""
        return sum(size_of(one.path) for one in self.files)


def store_place(platform: Platform, catalogs: Mapping[str, Catalog], *, everything: bool) -> Place:
    """Every manifest and blob; without `everything`, those of the models in `catalogs`."""
    place, store, root = Place(STORE), platform.store, platform.workspace.store
    known = {digest for catalog in catalogs.values() for digest in _digests(catalog)}
    digests = known | set(store.digests()) if everything else known
    holders: dict[str, set[str]] = defaultdict(set)
    for digest in sorted(digests):
        if not is_digest(digest):
            path = root / "manifests" / digest[:2] / f"{digest}.json"
            place.findings.append(_stray(path))
            continue
        # Manifests are small: they are hashed here, to know their blobs.
        wanted = Expected(store.manifest_path(digest), digest, frozenset({digest}))
        manifest = _read_manifest(platform, digest)
        if manifest is None:
            place.findings += _damaged_manifest(wanted)
            continue
        place.files.append(wanted)
        for file in manifest.files:
            holders[file.sha256].add(digest)
    wanted_blobs = {store.blob_path(sha256): sha256 for sha256 in holders}
    if everything:
        for path in _visible(root / "blobs"):
            wanted_blobs.setdefault(path, path.name if path == store.blob_path(path.name) else "")
    for path, sha256 in sorted(wanted_blobs.items()):
        place.files.append(Expected(path, sha256, frozenset(holders.get(sha256, ()))))
    return place


def releases_place(
    platform: Platform, catalogs: Mapping[str, Catalog], *, home: Platform | None = None
) -> Place:
    """Every file of every published release, against its signed record.

    With `home`, every file of the copies that were brought to this region from there.
    """
    name = f"{RELEASES} in {platform.name}" if platform.name else RELEASES
    place, workspace = Place(name), platform.workspace
    try:
        key = VerifyingKey.load(workspace.keys)
    except PermanentEngineError:
        place.remark = "nothing was ever signed here"
        return place
    for model, catalog in catalogs.items():
        published = {number: record.body for number, record in catalog.releases.items()}
        found = _numbers(workspace, model)
        # Read last: who reserved a number may be at work on it, or on its copy.
        later = (home or platform).catalog(model)
        for release in sorted(found | set(published)):
            layout = ReleaseLayout(workspace.repository, model, release)
            _add_release(place, workspace, layout, key, published.get(release), later)
    return place


def copies_place(platform: Platform, catalogs: Mapping[str, Catalog]) -> Place:
    """The copies of registered folders that MLflow keeps in the workspace."""
    place, workspace = Place(COPIES), platform.workspace
    if not workspace.tracking_uri.startswith("sqlite:"):
        place.remark = "not here: on the MLflow server, hashed at each download"
        return place
    for model, catalog in catalogs.items():
        for digest, artifact in catalog.artifacts.items():
            folder = copy_folder(workspace, model, artifact.run_id) / "artifact"
            manifest = _read_manifest(platform, digest)
            if manifest is None or not folder.is_dir():
                continue
            sha256 = {folder / file.path: file.sha256 for file in manifest.files}
            for path in sorted(sha256.keys() | set(_visible(folder))):
                wanted = Expected(path, sha256.get(path, ""), artifact=(model, digest))
                place.files.append(wanted)
    return place


def copy_folder(workspace: Workspace, model: str, run_id: str) -> Path:
    """Where the embedded MLflow keeps the files of a run."""
    return workspace.mlflow / "artifacts" / model / run_id / "artifacts"


def _digests(catalog: Catalog) -> Iterator[str]:
    yield from catalog.artifacts
    yield from (variant.digest for variant in catalog.variants)


def _read_manifest(platform: Platform, digest: str) -> Manifest | None:
    try:
        return platform.store.manifest(digest)
    except (IntegrityError, UserError):
        return None


def _damaged_manifest(wanted: Expected) -> Iterator[Finding]:
    inode = inode_of(wanted.path)
    if inode is None:
        yield Finding(STORE, MISSING, wanted)
        return
    found = hashlib.sha256(wanted.path.read_bytes()).hexdigest() if wanted.path.is_file() else ""
    if found != wanted.sha256:  # else it was replaced by a good one just now
        changed = wanted.path.lstat().st_ctime
        yield Finding(STORE, CHANGED, wanted, found=found, inode=inode, changed_at=changed)


def _stray(path: Path) -> Finding:
    return Finding(STORE, EXTRA, Expected(path), inode=inode_of(path))


def _visible(folder: Path) -> Iterator[Path]:
    """Everything below `folder` but folders and what is being written (a dot before its name)."""
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        for name in [*names, *links]:
            if not name.startswith("."):
                yield Path(root) / name


def _numbers(workspace: Workspace, model: str) -> set[int]:
    """Releases of which anything lies in the repository, or a record."""
    names = [path.name for path in (workspace.repository / model).glob("*") if path.is_dir()]
    names += [path.stem for path in (workspace.releases / model).glob("*.json")]
    return {int(name) for name in names if _NUMBER.fullmatch(name)}


def _add_release(
    place: Place,
    workspace: Workspace,
    layout: ReleaseLayout,
    key: VerifyingKey,
    published: Mapping[str, Any] | None,
    later: Catalog,
) -> None:
    release = (layout.model, layout.release)
    record = Expected(layout.record(workspace.releases), release=release)
    try:
        manifest = read_record(layout, workspace.releases, key)
    except SluiceError as error:
        if published is None and layout.release in {*later.reserved, *later.releases}:
            return  # being published or brought, or cut short: doing so again completes it
        place.findings.append(_bad_record(place, record, error, known=published is not None))
        return
    if published is not None and published["manifest_digest"] != manifest.digest:
        what = "is signed, and is not the record that the journal knows"
        place.findings.append(Finding(place.name, what, record, inode=inode_of(record.path)))
        return
    place.records.append(record.path)
    place.files += _release_files(layout, manifest)


def _bad_record(place: Place, record: Expected, error: SluiceError, *, known: bool) -> Finding:
    inode = inode_of(record.path)
    if inode is None:
        what = "the signed record is missing" if known else "nobody signed or reserved this release"
        return Finding(place.name, what, record)
    # Trust that was withdrawn is no damage: the record stays where it can be signed anew.
    withdrawn = "revoked" in error.what or "retired" in error.what
    changed = record.path.lstat().st_ctime
    return Finding(place.name, error.what, record, inode=inode, changed_at=changed, stays=withdrawn)


def _release_files(layout: ReleaseLayout, manifest: Manifest) -> Iterable[Expected]:
    release = (layout.model, layout.release)
    sha256 = {layout.repository / file.path: file.sha256 for file in manifest.files}
    found = {
        path
        for one in layout.whole
        for path in [*_all_files(one.folder), *([one.config] if one.config.exists() else [])]
    }
    for path in sorted(sha256.keys() | found):
        yield Expected(path, sha256.get(path, ""), release=release)


def _all_files(folder: Path) -> Iterator[Path]:
    """Hidden ones too: a version folder is renamed into place whole, so nothing is ever written."""
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        yield from (Path(root) / name for name in [*names, *links] if name)
