"""Commands as processes and a real KMS, for all regression tests."""

from tests.cli.commands import command as command
from tests.cli.commands import kms as kms
from tests.cli.commands import kms_server as kms_server
from tests.cli.commands import options as options
