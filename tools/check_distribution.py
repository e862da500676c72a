"""Build the distribution, and try it as somebody who has only that.

Builds sdist and wheel twice and compares them octet by octet, then installs the wheel into a new virtual
environment of each Python named (by default every supported one that is found) and uses it there:
`--version`, an import of every public package, a KMS that is made, and `sipmikey demo` where pjsua2 has a
wheel. Prints a line for each, and leaves with status 1 when one of them fails.

    python tools/check_distribution.py                  # all of 3.11 to 3.14 that are installed
    python tools/check_distribution.py python3.12
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
SUPPORTED = ("python3.11", "python3.12", "python3.13", "python3.14")
WITH_PJSUA2 = ("3.11", "3.12")
"""Those for which pjsua2-python has wheels."""

PACKAGES = ("mikey", "keys", "ticket", "sdp", "call", "media", "settings", "kms.client", "testing", "phone")
EPOCH = "1700000000"
LONGEST_S = 600


def run(*words: object, **options: object) -> str:
    """Run a command and return what it printed; raise `RuntimeError` with it when the command fails."""
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
        **options,
    )  # type: ignore[call-overload]
    if done.returncode:
        said = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"{' '.join(map(str, words))}: status {done.returncode}: {said}")
    return str(done.stdout)


def build(target: Path) -> dict[str, str]:
    """Build sdist and wheel of what git knows; return the digest of each by name."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "sipmikey"
        run("git", "-c", "core.autocrlf=false", "clone", "--quiet", ROOT, tree)
        environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
        run(sys.executable, "-m", "build", "--outdir", target, tree, env=environment)
    for archive in target.glob("*.tar.gz"):
        settle(archive)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(target.iterdir())}


def settle(archive: Path) -> None:
    """Write a tar.gz again without what differs from build to build: times, owners, order."""
    with tarfile.open(archive) as packed:
        members = [
            (member, packed.extractfile(member).read() if member.isfile() else b"")  # type: ignore[union-attr]
            for member in sorted(packed.getmembers(), key=lambda member: member.name)
        ]
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=int(EPOCH)) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as packed,
    ):
        for member, content in members:
            member.mtime, member.uid, member.gid, member.uname, member.gname = int(EPOCH), 0, 0, "", ""
            member.pax_headers = {}
            packed.addfile(member, io.BytesIO(content))


def uses(python: str, wheel: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Install *wheel* for *python* in *folder* and use it; yield what was done, and how it went."""
    version = run(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    whole = version in WITH_PJSUA2
    extras = "pjsua2,media,kms,phone" if whole else "media,kms,phone"
    run(python, "-m", "venv", folder / "venv")
    bin_ = folder / "venv" / "bin"
    run(bin_ / "pip", "install", "--quiet", f"{wheel}[{extras}]", "pytest>=8")
    yield f"{version} install", f"[{extras}]"
    yield f"{version} --version", run(bin_ / "sipmikey", "--version", cwd=folder).strip().splitlines()[0]
    names = PACKAGES if whole else tuple(name for name in PACKAGES if name != "testing")
    run(bin_ / "python", "-c", "\n".join(f"import sipmikey.{name}" for name in names), cwd=folder)
    yield f"{version} import", ", ".join(names)
    kms = folder / "kms"
    run(bin_ / "sipmikey", "kms", "init", "--dir", kms, "--identity", "sip:kms@example.com", cwd=folder)
    run(bin_ / "sipmikey", "kms", "user", "add", "--dir", kms, "sip:alice@example.com", cwd=folder)
    yield f"{version} kms", "made, with a user"
    if whole:
        run(bin_ / "sipmikey", "demo", cwd=folder)
        yield f"{version} demo", "a secured call, and the speech arrived"
    else:
        yield f"{version} demo", "left out: pjsua2-python has no wheel for it"


def main(arguments: list[str]) -> int:
    """Build, compare, install, use; return the exit status."""
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        first, second = build(DIST), build(Path(scratch) / "again")
    same = first == second
    for name, digest in first.items():
        print(f"{name}  sha256 {digest}")
    print(
        f"{'ok' if same else 'FAILED'}  built twice: {'the same octets' if same else 'different octets'}",
        flush=True,
    )
    failed = not same
    wheel = next(DIST.glob("*.whl"))
    for python in arguments or [name for name in SUPPORTED if shutil.which(name)]:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                for what, how in uses(python, wheel, Path(scratch)):
                    print(f"ok  {what}: {how}", flush=True)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"FAILED  {python}: {error}", flush=True)
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
