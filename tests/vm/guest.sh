#!/bin/bash
# Inside the virtual machine: install the shared build, run the tests of guest/ and say what was covered.
set -euo pipefail
cd "$(dirname "$0")/../.."
install -d /usr/local/bin /usr/local/lib
cp build/bin/pyrun /usr/local/bin/pyrun
cp -r build/lib/pyrun /usr/local/lib/pyrun
cp -r tests/vm/guest /tmp/guest
echo "kernel $(uname -r), $(systemctl --version | head -n 1), cgroup $(stat -fc %T /sys/fs/cgroup), $(podman --version)"
[ -d /sys/kernel/security/apparmor ] && echo "AppArmor is active"
status=0
PYTHONDONTWRITEBYTECODE=1 "$PWD/build/venv/bin/python" -m pytest -v -ra --durations=5 -p no:cacheprovider --timeout 600 \
	--rootdir /tmp/guest --confcutdir /tmp/guest -c /dev/null "$@" /tmp/guest || status=$?
exit "$status"
