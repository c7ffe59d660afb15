#!/bin/bash
# test.sh [--short] [PYTEST OPTION]...: the tests of guest/, each folder in the kind of machine that it is named after.
# A line per test, then what was covered. Where no machine can be made it says why, and that is no failure.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
limit=${VM_SECONDS:-3000}
kinds=${VM_KINDS:-v2 selinux hybrid}
words=()
if [ "${1-}" = --short ]; then
	shift
	words=(-m 'not long')
fi

skip() {
	echo "SKIPPED make test-vm: $*"
	exit 0
}

# have COMMAND PACKAGE: is it installed, or can apt install it?
have() {
	command -v "$1" >/dev/null || apt-get install --simulate "$2" >/dev/null 2>&1
}

[ "$(id -u)" = 0 ] || skip "it takes root, which makes the machine's image"
compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || apt-get update -qq || true
[ "$(uname -m)" = x86_64 ] || skip "the machine's image is one for x86_64"
for each in qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs; do
	have "${each%%:*}" "${each##*:}" || skip "${each%%:*} isn't installed, and apt can't install it"
done
bash tests/vm/vm.sh build || exit

summary=() status=0
for kind in $kinds; do
	flags=()
	case $kind in
	v2) what="cgroup v2, systemd, AppArmor" ;;
	selinux) what="cgroup v2, systemd, SELinux" flags=(--selinux) ;;
	hybrid) what="cgroup v1 and v2, systemd" flags=(--hybrid) ;;
	*) echo "no such kind of machine: $kind"; exit 2 ;;
	esac
	echo "== $what"
	log=$(mktemp)
	one=0
	bash tests/vm/vm.sh run "${flags[@]}" --share "$PWD:ro" --timeout "$limit" -- \
		bash "$PWD/tests/vm/guest.sh" "$kind" "${words[@]}" "$@" | tee "$log" || one=$?
	result=$(grep -E '^=+ .* in [0-9.]+s' "$log" | tail -n 1 | tr -d =)
	rm -f "$log"
	[ "$one" = 5 ] && one=0 # no test was chosen there
	[ "$one" = 0 ] || status=$one
	summary+=("$(printf '%-32s exit status %s:%s' "$what" "$one" "${result:- no tests ended}")")
done
echo "== Kinds of host that were covered"
printf '%s\n' "${summary[@]}"
exit "$status"
