"""Make the test vectors in tests/vectors from fixed seeds.

    python tools/make_vectors.py            write the files
    python tools/make_vectors.py --check    compare with the files, exit 1 if one differs

Every random value is drawn from a seed that is the vector's name, so that a second run gives the same octets.
The keys in ``expect`` are recomputed from the finished messages by the receiving sides.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import vector_exchanges
import vector_prf
import vector_rejects
from vector_source import write

DIRECTORY = Path(__file__).parent.parent / "tests" / "vectors"


def make_all() -> dict[str, list[dict[str, object]]]:
    """Return the vectors of every file."""
    files = {"prf": vector_prf.make()}
    files |= {name: maker() for name, maker in vector_exchanges.MAKERS.items()}
    exchanges = {str(item["name"]): item for name, items in files.items() if name != "prf" for item in items}
    files["reject"] = vector_rejects.make(exchanges)
    return files


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("--to", type=Path, default=DIRECTORY, help="directory of the files")
    args = parser.parse_args()
    different = []
    for name, vectors in make_all().items():
        path = args.to / f"{name}.json"
        if not args.check:
            write(path, vectors)
        elif not path.is_file() or json.loads(path.read_text(encoding="utf-8"))["vectors"] != vectors:
            different.append(path.name)
        print(f"{name}: {len(vectors)} vectors")
    if different:
        print(f"different: {', '.join(different)}", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
