"""`sipmikey kms serve`: its options. What it does is in `run`, which loads the HTTP server."""

from __future__ import annotations

import argparse

from sipmikey.cli.kms.common import Actions, action, add_serving_options
from sipmikey.cli.kms.configuration import PLAIN_HTTP_WORDS

EXAMPLES = f"""\
  sipmikey kms serve
  sipmikey kms serve --dir /etc/sipmikey-kms --workers 2 --metrics 127.0.0.1:9464
  sipmikey kms serve --listen 0.0.0.0:8443 --tls-cert kms.pem --tls-key kms.key
  sipmikey kms serve --listen 10.0.0.5:8043 --plain-http "{PLAIN_HTTP_WORDS}"

signals:
  SIGTERM, SIGINT   finish the requests in flight and end
  SIGHUP            read certificate and policy again
"""


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `serve`."""
    parser = action(
        actions,
        "serve",
        help="serve Ticket Requests and Resolves over HTTP",
        description="Serve Ticket Requests and Resolves over HTTP. Options override kms.toml. "
        "Logs are JSON lines on standard error.",
        examples=EXAMPLES,
        run=_serve,
    )
    parser.add_argument(
        "--listen", action="append", metavar="HOST:PORT", help="address, repeatable; port 0: any"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="server certificate with its chain, PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    parser.add_argument("--workers", type=int, metavar="N", help="processes")
    parser.add_argument(
        "--metrics", metavar="HOST:PORT", help="serve Prometheus metrics there, on a loopback address"
    )
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    add_serving_options(parser)
    # What a worker inherits from the process that started it.
    parser.add_argument("--inherited", help=argparse.SUPPRESS)
    parser.add_argument("--inherited-metrics", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--inherited-console", type=int, help=argparse.SUPPRESS)


def _serve(args: argparse.Namespace) -> int:
    # Loaded late: the server and its libraries would make every other command slow to start.
    from sipmikey.cli.kms.run import serve

    return serve(args)
