#!/bin/sh
# Check that the unit is well formed and has no more privileges than it needs.
set -eu
cd "$(dirname "$0")"
if ! command -v systemd-analyze >/dev/null; then
    echo "systemd-analyze is not installed: install systemd" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# verify requires that the program exists; any existing program will do.
sed "s|/opt/chimegw/bin/twistd|/bin/true|" "chimegw@.service" >"$work/chimegw@8080.service"
said=$(systemd-analyze verify --man=no "$work/chimegw@8080.service" 2>&1 | grep chimegw || true)
if [ -n "$said" ]; then
    echo "$said"
    exit 1
fi
# The CloudFormation template has to contain the same unit.
"${PYTHON:-python3}" ../cloudformation/embed.py --check
# 0 is the least exposed, 10 the most; a unit without restrictions has 9.6.
systemd-analyze security --offline=yes --threshold=15 --no-pager "$work/chimegw@8080.service" |
    tail -1
