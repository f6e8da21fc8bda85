#!/bin/sh
# Is the unit well formed, and does it give away no more than it needs?
set -eu
cd "$(dirname "$0")"
if ! command -v systemd-analyze >/dev/null; then
    echo "systemd-analyze is not installed: install systemd" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# verify wants to find the program; any that is there will do.
sed "s|/opt/chimegw/bin/twistd|/bin/true|" "chimegw@.service" >"$work/chimegw@8080.service"
said=$(systemd-analyze verify --man=no "$work/chimegw@8080.service" 2>&1 | grep chimegw || true)
if [ -n "$said" ]; then
    echo "$said"
    exit 1
fi
# The machine of CloudFormation has the same unit.
"${PYTHON:-python3}" ../cloudformation/embed.py --check
# 0 is least exposed, 10 most; a plain unit has 9.6.
systemd-analyze security --offline=yes --threshold=15 --no-pager "$work/chimegw@8080.service" |
    tail -1
