"""The systemd unit of a KMS and the account it runs under, as text."""

from __future__ import annotations

import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sipmikey.cli.exit_codes import ExitCode

NAME: Final = "sipmikey-kms"
ACCOUNT: Final = "sipmikey-kms"
UNIT: Final = Path(f"etc/systemd/system/{NAME}.service")
SYSUSERS: Final = Path(f"etc/sysusers.d/{NAME}.conf")
DIRECTORY: Final = Path(f"/etc/{NAME}")

_HARDENING: Final = """\
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
UMask=0077
LimitCORE=0
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome={home}
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
ReadWritePaths={directory}
"""


def unit_text(directory: Path, listen: Sequence[str], *, program: Path | None = None) -> str:
    """Return the unit of the KMS in *directory* that serves the addresses of *listen*.

    *program*: the Python that has sipmikey, by default the present one.
    """
    python = Path(sys.executable) if program is None else program
    # A port below 1024 is the one thing that takes a capability.
    low = any(0 < int(address.rpartition(":")[2]) < 1024 for address in listen)
    # An environment below /home or /root has to be seen, and not be written.
    home = "read-only" if str(python).startswith(("/home/", "/root/")) else "yes"
    hardening = _HARDENING.format(
        capabilities="CAP_NET_BIND_SERVICE" if low else "", home=home, directory=_quoted(directory)
    )
    return f"""\
# systemd unit of a KMS, written by `sipmikey kms init --system`.
[Unit]
Description=sipmikey key management service
After=network-online.target time-sync.target
Wants=network-online.target

[Service]
# Started once it serves, so that `systemctl start` fails where it cannot.
Type=notify
User={ACCOUNT}
Group={ACCOUNT}
ExecStart={_quoted(python)} -m sipmikey.cli kms serve --dir {_quoted(directory)}
# The shell's own kill: a small system has no other.
ExecReload=/bin/sh -c 'kill -HUP $MAINPID'
Restart=on-failure
RestartSec=1
# A fault in the configuration stays until somebody mends it.
RestartPreventExitStatus={ExitCode.USAGE:d}
TimeoutStopSec=30
LimitNOFILE=65536
{hardening}
[Install]
WantedBy=multi-user.target
"""


def closed_to_others(*files: Path) -> Path | None:
    """Return the first step to any of *files*, or to what it points to, that other accounts cannot take."""
    for file in files:
        target = file.resolve()
        for step in (*reversed(file.absolute().parents), *reversed(target.parents), target):
            needed = stat.S_IXOTH if step.is_dir() else stat.S_IROTH
            if not step.stat().st_mode & needed:
                return step
    return None


def account_text(directory: Path) -> str:
    """Return the account of the service, in the form of sysusers.d(5)."""
    return f'u {ACCOUNT} - "sipmikey key management service" {directory}\n'


def _quoted(path: Path) -> str:
    """Return *path* as a word of a unit: `%` and blanks mean something there."""
    text = str(path).replace("%", "%%")
    return f'"{text}"' if any(symbol.isspace() for symbol in text) else text
