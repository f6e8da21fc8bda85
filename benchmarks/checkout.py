"""
Start the gateway of one checkout: all of it, and nothing of another.

    python checkout.py CHECKOUT OPTIONS...

C{python -m} looks in the folder that it is started from first, and Twisted finds the
plugin that is installed as well: in both there may be another gateway.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def main() -> None:
    root = Path(sys.argv.pop(1)).resolve()
    sys.path[0] = str(root)
    import chime_gateway

    if not Path(chime_gateway.__file__).is_relative_to(root):
        raise SystemExit(f"{chime_gateway.__file__} is not of {root}")
    from twisted import plugins
    from twisted.application.twist._twist import Twist

    # Whichever of them Twisted finds, by name it is this one.
    file = root / "twisted" / "plugins" / "chimegw_plugin.py"
    spec = spec_from_file_location("twisted.plugins.chimegw_plugin", file)
    assert spec is not None and spec.loader is not None
    plugin = module_from_spec(spec)
    spec.loader.exec_module(plugin)
    sys.modules[spec.name] = plugin
    plugins.chimegw_plugin = plugin  # type: ignore[attr-defined]
    Twist.main([sys.argv[0], "chimegw", *sys.argv[1:]])


if __name__ == "__main__":
    main()
