"""The starter bundle: the models that come with the package, exported once into the user's cache.

Where no bundle is named and the working directory has none, `bt-infer` and `Ensemble.load` answer with it. Exporting
is a layer above the runtime, which therefore does not import it: `EXPORTER` names the function, as the registry names
the engines.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from braintumor import __version__
from braintumor.cache import Cache, content_key
from braintumor.errors import IntegrityError, OutputError, UnavailableError
from braintumor.files import sha256_of
from braintumor.models.catalog import shipped_weights
from braintumor.models.vote_calibration import VOTE_FILE
from braintumor.optional import import_without_telemetry
from braintumor.progress import ProgressCallback, Step, silent
from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.cascade import CASCADES_FILE
from braintumor.runtime.engines.registry import ENGINES
from braintumor.runtime.inputs import find_bundle, no_bundle
from braintumor.system.fingerprint import machine_fingerprint

__all__ = ["EXPORTER", "STARTER_VARIABLE", "default_bundle", "exported_starter", "is_starter", "starter_bundle"]

EXPORTER: Final = "braintumor.export.starter:export_starter"

STARTER_VARIABLE: Final = "BRAINTUMOR_STARTER"
"""Set to 0, it forbids the starter bundle."""

_CACHE_KIND: Final = "starter"
# Moves when the same models would be exported to something else.
_RECIPE: Final = 1
_FOLDER: Final = "starter"
_OFF: Final = frozenset({"0", "false", "no", "off"})
_WAITING: Final = Step("Another process is exporting the models that come with the package", "waiting", 1, 1)
_TOOLS: Final = ("h5py", "ml_dtypes", "numpy", "onnx", "onnx-ir")


def default_bundle(progress: ProgressCallback = silent, public_key: str | Path | None = None) -> Bundle:
    """The bundle where none is named: $BRAINTUMOR_BUNDLE, the default of ./bundles, or the starter bundle.

    Args:
        progress: Gets the steps of an export, where there has to be one.
        public_key: The PEM file of a public key that must have signed it; None for any bundle.

    Raises:
        IntegrityError: The bundle is damaged, or not signed with that key.
        UsageError, UnavailableError, OutputError: As `starter_bundle`.
    """
    folder = find_bundle(None)
    if folder is not None:
        return load_bundle(folder, public_key=public_key)
    if public_key is not None:
        raise IntegrityError(
            "no bundle was named, and the models that come with the package are not signed", "name a signed `bundle`"
        )
    return starter_bundle(progress)


def starter_bundle(progress: ProgressCallback = silent) -> Bundle:
    """The models that come with the package, exported at the first call and read from the user's cache later.

    Another version of the package, its models or the libraries that export or run them, or another CPU, makes another
    bundle. Processes that start at the same time wait for one export.

    Args:
        progress: Gets the steps of the export.

    Raises:
        UsageError: $BRAINTUMOR_STARTER forbids it, or this installation has no models.
        UnavailableError: A package that exports is not installed.
        OutputError: The cache cannot be written.
    """
    models = _models()
    loader = _Loader()
    entry = Cache(_CACHE_KIND, is_whole=loader.is_whole).build(
        _key(models),
        lambda folder: _export(folder / _FOLDER, models, progress),
        on_wait=lambda: progress(_WAITING),
    )
    return loader.bundle or load_bundle(entry / _FOLDER)


def exported_starter() -> Bundle | None:
    """The starter bundle, if it was exported earlier; None where the next `starter_bundle` will export it.

    Raises:
        UsageError: $BRAINTUMOR_STARTER forbids it, or this installation has no models.
        OutputError: The cache belongs to another user.
    """
    loader = _Loader()
    Cache(_CACHE_KIND, is_whole=loader.is_whole).get(_key(_models()))
    return loader.bundle


def is_starter(bundle: Bundle) -> bool:
    """Whether a bundle is the starter bundle in the user's cache."""
    try:
        return bundle.folder.name == _FOLDER and bundle.folder.is_relative_to(Cache(_CACHE_KIND).folder.absolute())
    except OutputError:
        # A user without a home folder has no cache.
        return False


class _Loader:
    """Checks an entry of the cache by loading its bundle, and keeps that."""

    def __init__(self) -> None:
        self.bundle: Bundle | None = None

    def is_whole(self, entry: Path) -> bool:
        try:
            self.bundle = load_bundle(entry / _FOLDER)
        except IntegrityError:
            return False
        return True


def _models() -> Sequence[Path]:
    models = shipped_weights()
    if os.environ.get(STARTER_VARIABLE, "").lower() in _OFF or not models:
        raise no_bundle()
    return models


def _export(folder: Path, models: Sequence[Path], progress: ProgressCallback) -> None:
    module, _, function = EXPORTER.partition(":")
    try:
        export = getattr(import_without_telemetry(module), function)
    except ImportError as error:
        raise UnavailableError(
            f"there is no bundle, and this installation cannot export the models that come with it ({error})",
            "install what the export needs with: pip install 'braintumor[cpu]', or give another `bundle`",
        ) from error
    export(folder, models, progress)


def _key(models: Sequence[Path]) -> str:
    # Their quantisation plans, the answers that they are verified by, and the temperature and the cascades of their
    # vote decide the result, too.
    files = sorted(path for model in models for path in model.parent.glob(f"{model.stem}.*") if path.suffix != ".md")
    files += [path for name in (VOTE_FILE, CASCADES_FILE) for path in models[0].parent.glob(name)]
    libraries = {library for engine in ENGINES.values() for library in engine.libraries}
    machine = machine_fingerprint({*_TOOLS, *libraries})
    # The number of CPUs that this process may use differs from start to start.
    del machine["cpus"]
    return content_key(
        {
            "recipe": _RECIPE,
            "version": __version__,
            "files": {path.name: sha256_of(path) for path in files},
            "machine": machine,
        }
    )
