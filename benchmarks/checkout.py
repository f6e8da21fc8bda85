"""
Start the gateway of one checkout, without any code of another one.

    python checkout.py CHECKOUT OPTIONS...

C{python -m} searches the current folder first, and Twisted also finds an installed
plugin: either may belong to another gateway.
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
        raise SystemExit(f"{chime_gateway.__file__} is not in {root}")
    from twisted import plugins
    from twisted.application.twist._twist import Twist

    # Twisted uses this module, whichever plugin file it finds.
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
