"""`python -m sipmikey.cli` is the `sipmikey` command."""

import sys

from sipmikey.cli.main import main

sys.exit(main())
