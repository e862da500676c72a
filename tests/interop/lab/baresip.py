"""baresip as a peer that keys by SDES."""

from __future__ import annotations

import glob
from pathlib import Path

from sipmikey.testing.process import Process
from tests.interop.lab import programs

MODULE_PATHS = ("/usr/lib/baresip/modules", "/usr/lib/*/baresip/modules")
MODULES = ("g711", "aubridge", "aufile", "srtp")


def baresip(
    directory: Path, *, user: str, port: int, speech: Path, encryption: str = "srtp-mand", dial: str = ""
) -> Process:
    """A baresip at 127.0.0.1:*port* that answers every call with *encryption* (`srtp`, `srtp-mand`).

    *dial*: a command that it carries out first, such as ``/dial sip:bob@example.com``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    modules = next(path for pattern in MODULE_PATHS for path in glob.glob(pattern))
    account = f"<sip:{user}@127.0.0.1:{port};transport=udp>;regint=0;mediaenc={encryption}"
    (directory / "accounts").write_text(f"{account};audio_codecs=pcma;answermode=auto\n")
    (directory / "contacts").write_text("")
    lines = [
        f"sip_listen 127.0.0.1:{port}",
        "audio_player aubridge,loop",
        f"audio_source aufile,{speech}",
        "audio_alert aubridge,alert",
        f"rtp_ports {port + 1000}-{port + 1040}",
        "rtcp_mux no",
        "net_interface 127.0.0.1",
        f"module_path {modules}",
        *(f"module {name}.so" for name in MODULES),
        "module_tmp uuid.so",
        "module_tmp account.so",
        "module_app menu.so",
    ]
    (directory / "config").write_text("\n".join(lines) + "\n")
    command = ["-e", dial] if dial else []
    process = Process([programs.need("baresip"), "-f", directory, *command], name="baresip")
    try:
        process.wait_for("baresip is ready")
    except BaseException:
        process.stop()
        raise
    return process
