"""Build the distribution, and try it as somebody who has only that.

Builds sdist and wheel twice and compares them octet by octet, then installs the wheel into a new virtual
environment of each Python named that is found (by default of every supported one) and uses it there:
`--version`, an import of every public package, a KMS that is made, and `sipmikey demo` on each SIP stack that
there is: pjsua2 where it has a wheel, and the one in Python. A second environment has the extra `testing`
alone and runs the example tests. Prints a line for each, and leaves with status 1 when one of them fails.

    python tools/check_distribution.py                  # all of 3.11 to 3.14 that are installed
    python tools/check_distribution.py python3.12
    python tools/check_distribution.py --dist DIR python3.14    # what was built before
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

PACKAGES = (
    "mikey", "keys", "ticket", "sdp", "call", "media", "settings", "deferred", "kms.client", "mailbox",
    "testing", "phone",
)  # fmt: skip
IN_SDIST = (
    "CHANGELOG.md", "Makefile", "contrib/wireshark/mikey_ticket/message.lua", "docs/index.md",
    "examples/deployment/sipmikey-kms.service", "native/Cargo.lock", "tests/README.md",
    "tools/check_layers.py",
)  # fmt: skip
"""Of each folder that a packager needs, one file."""

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
    stacks = ("pjsua2", "python") if version in WITH_PJSUA2 else ("python",)
    extras = "pjsua2,kms,phone" if "pjsua2" in stacks else "kms,phone"
    bin_ = installed(python, wheel, extras, folder / "venv")
    yield f"{version} install", f"[{extras}]"
    yield f"{version} --version", run(bin_ / "sipmikey", "--version", cwd=folder).strip().splitlines()[0]
    run(bin_ / "python", "-c", "\n".join(f"import sipmikey.{name}" for name in PACKAGES), cwd=folder)
    yield f"{version} import", ", ".join(PACKAGES)
    kms = folder / "kms"
    run(bin_ / "sipmikey", "kms", "init", "--dir", kms, "--identity", "sip:kms@example.com", cwd=folder)
    run(bin_ / "sipmikey", "kms", "user", "add", "--dir", kms, "sip:alice@example.com", cwd=folder)
    yield f"{version} kms", "made, with a user"
    for stack in stacks:
        run(bin_ / "sipmikey", "demo", "--stack", stack, cwd=folder)
        yield f"{version} demo --stack {stack}", "a secured call, and the speech arrived"
    bin_ = installed(python, wheel, "testing", folder / "testing")
    suite = shutil.copytree(ROOT / "examples" / "call_tests", folder / "suite")
    printed = run(bin_ / "pytest", "-q", "-n", "2", "--no-call-capture", suite, cwd=folder)
    yield f"{version} [testing] alone, call_tests -n 2", printed.strip().splitlines()[-1]


def installed(python: str, wheel: Path, extras: str, folder: Path) -> Path:
    """Make a virtual environment in *folder* with the wheel and its *extras* alone; return its commands."""
    run(python, "-m", "venv", folder)
    run(folder / "bin" / "pip", "install", "--quiet", f"{wheel}[{extras}]")
    return folder / "bin"


def found(pythons: list[str]) -> list[str]:
    """Return those that run, and tell which do not."""
    there = []
    for python in pythons:
        try:
            run(python, "-c", "import venv")
            there.append(python)
        except (OSError, RuntimeError):
            print(f"--  {python}: not installed here", flush=True)
    return there


def build_twice() -> bool:
    """Build into DIST and once more, print the digests, and return whether they are the same."""
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        first, second = build(DIST), build(Path(scratch) / "again")
    for name, digest in first.items():
        print(f"{name}  sha256 {digest}")
    with tarfile.open(next(DIST.glob("*.tar.gz"))) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    absent = [name for name in IN_SDIST if name not in names]
    print(f"{'FAILED' if absent else 'ok'}  sdist: {', '.join(absent) or 'whole'}", flush=True)
    same = first == second
    told = "the same octets" if same else "different octets"
    print(f"{'ok' if same else 'FAILED'}  built twice: {told}", flush=True)
    return same and not absent


def main(arguments: list[str]) -> int:
    """Build and compare (unless built before), install, use; return the exit status."""
    folder, failed = DIST, False
    if arguments[:1] == ["--dist"]:
        folder, arguments = Path(arguments[1]).resolve(), arguments[2:]
    else:
        failed = not build_twice()
    wheel = next(folder.glob("*.whl"))
    for python in found(arguments or list(SUPPORTED)):
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
