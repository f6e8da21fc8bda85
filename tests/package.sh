#!/bin/sh
# Build the wheel, install it into an empty environment, and use it from a folder
# that is not the checkout.
set -eu
python=$1
case $python in /*) ;; *) python=$PWD/$python ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What an earlier build left there would be in the wheel again.
rm -rf build
"$python" -m build --wheel --outdir "$work/dist" . >"$work/build.log" 2>&1 ||
    { cat "$work/build.log"; exit 1; }
"$python" -m zipfile --list "$work"/dist/*.whl | awk '{print $1}' >"$work/files"
grep -q '^twisted/plugins/chimegw_plugin.py$' "$work/files"
# Everything that the rooms ship, and no room of an older version.
find chime_gateway -type f ! -name '*.pyc' ! -name '.*' | sort >"$work/shipped"
grep '^chime_gateway/' "$work/files" | sort | diff "$work/shipped" -
if grep -E '^(tests|benchmarks|twisted/__init__|twisted/plugins/__init__|.*dropin|.*\.pyc$)' "$work/files"
then
    echo "the wheel holds what it should not"
    exit 1
fi

"$python" -m venv "$work/env"
"$work/env/bin/pip" install --quiet "$work"/dist/*.whl
cd /
"$work/env/bin/twistd" --help | grep '^ *chimegw ' >/dev/null
"$work/env/bin/chimegw" --version
"$work/env/bin/twistd" -n chimegw --simulate --port 0 --check >/dev/null
# Its migrations are found from there as well.
CHIMEGW_STATE="$work/state" "$work/env/bin/python" -c "
from pathlib import Path
from chime_gateway.store.database import Database
from chime_gateway.store.queries import CallQuery
database = Database('sqlite:///$work/state/calls.sqlite', Path('$work/state'))
database.migrate()
assert database.calls(CallQuery()) == []
"
echo "the wheel works from another folder"
