"""Build what is released, into dist/: wheel, sdist, bill of materials (CycloneDX), SHA256SUMS.

    make release

The same commit gives the same wheel and sdist, byte for byte: times are those of SOURCE_DATE_EPOCH, by default of the
commit.
The bill of materials lists what `pip install braintumor[cpu]` installs on the day of the release.
"""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(target: Path = ROOT / "dist") -> None:
    """Build everything anew."""
    shutil.rmtree(target, ignore_errors=True)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or _output("git", "log", "-1", "--format=%ct"))
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch)}
    os.umask(0o022)  # modes are in both archives
    build = [sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", str(target), str(ROOT)]
    subprocess.run(build, env=environment, check=True, stdout=subprocess.DEVNULL)
    (sdist,) = target.glob("*.tar.gz")
    repack(sdist, epoch)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
    subprocess.run([*build, "--wheel-dir", str(target), str(sdist)], env=environment, check=True)
    (wheel,) = target.glob("*.whl")
    write_sbom(wheel, target / f"{wheel.name.partition('-py3')[0]}.cdx.json")
    write_sums(target)


def repack(sdist: Path, epoch: int) -> None:
    """Give a .tar.gz one order, owner and time: setuptools takes them from the disk."""
    plain = io.BytesIO()
    with tarfile.open(sdist) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = epoch
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    sdist.write_bytes(gzip.compress(plain.getvalue(), mtime=epoch))


def write_sbom(wheel: Path, path: Path) -> None:
    """List what the wheel installs, in an environment of its own."""
    environment = ROOT / "build" / "sbom"
    venv.create(environment, clear=True, with_pip=True)
    python = venv.EnvBuilder().ensure_directories(environment).env_exe
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[cpu]"], check=True)
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "pip", "setuptools"], check=True)
    cyclonedx = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--of", "JSON"]
    subprocess.run([*cyclonedx, "--output-file", str(path), python], check=True)
    # Where the wheel lay when it was installed is nobody's business.
    listed = path.read_text(encoding="utf-8")
    path.write_text(listed.replace(f"{wheel.parent.as_uri()}/", ""), encoding="utf-8", newline="\n")
    subprocess.run([sys.executable, str(ROOT / ".ci" / "supply.py"), "add-models", str(path)], check=True)


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS, for `sha256sum --check`."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
