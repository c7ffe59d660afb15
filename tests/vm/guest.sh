#!/bin/bash
# guest.sh KIND [PYTEST OPTION]...: inside the virtual machine, install the shared build and run the tests of guest/KIND.
set -euo pipefail
cd "$(dirname "$0")/../.."
kind=$1
shift
install -d /usr/local/bin /usr/local/lib
cp build/bin/pyrun /usr/local/bin/pyrun
cp -r build/lib/pyrun /usr/local/lib/pyrun
cp -r tests/vm/guest /tmp/guest
echo "kernel $(uname -r), $(systemctl --version | head -n 1), cgroup $(stat -fc %T /sys/fs/cgroup)," \
	"$(cat /sys/kernel/security/lsm), $(podman --version)"
export PYTHONDONTWRITEBYTECODE=1 PYRUN_REPOSITORY=$PWD PYTHONPATH=$PWD/tests
exec "$PWD/build/venv/bin/python" -m pytest -v -s -rfEs --durations=5 -p no:cacheprovider \
	-W ignore::hypothesis.errors.HypothesisWarning --timeout 1500 \
	--rootdir /tmp/guest --confcutdir /tmp/guest -c /tmp/guest/pytest.ini "$@" "/tmp/guest/$kind"
