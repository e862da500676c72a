"""The tests. A package, so that no package of that name which a dependency installs is taken for it."""
