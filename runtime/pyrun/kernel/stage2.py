"""Stage 2 by numbers: its orders, its reports, and the system calls that it is ordered to make.

Hot module. The numbers are those of kernel/stage2_orders.h, which the compiler of both sides reads.
"""

from __future__ import annotations

from _pyrun_kernel import lib

CALL, CALL_EACH, WRITE = lib.ORDER_CALL, lib.ORDER_CALL_EACH, lib.ORDER_WRITE
ENTER, INSIDE, FIND = lib.ORDER_ENTER, lib.ORDER_INSIDE, lib.ORDER_FIND
FILTER, EARLY, LOAD = lib.ORDER_FILTER, lib.ORDER_EARLY, lib.ORDER_LOAD
BIRTH, LISTEN_PID, WAIT = lib.ORDER_BIRTH, lib.ORDER_LISTEN_PID, lib.ORDER_WAIT
STATE, HOOK = lib.ORDER_STATE, lib.ORDER_HOOK
GOING, GIVE, EXECUTE = lib.ORDER_GOING, lib.ORDER_GIVE, lib.ORDER_EXECUTE

READY, BORN, WILL_EXECUTE = lib.REPORT_READY, lib.REPORT_BORN, lib.REPORT_GOING
LISTENER, FAILED, ENDED = lib.REPORT_LISTENER, lib.REPORT_FAILED, lib.REPORT_ENDED
REPORT_HEAD: int = lib.REPORT_HEAD
LONGEST_LABEL: int = lib.LONGEST_LABEL

NR_CAPSET, NR_CLOSE, NR_IOCTL, NR_PRCTL = lib.NR_capset, lib.NR_close, lib.NR_ioctl, lib.NR_prctl
NR_PRLIMIT64, NR_SETGROUPS, NR_SETSID, NR_UMASK = (
    lib.NR_prlimit64,
    lib.NR_setgroups,
    lib.NR_setsid,
    lib.NR_umask,
)
NR_SETRESGID, NR_SETRESUID = lib.NR_setresgid, lib.NR_setresuid
NR_PERSONALITY, NR_SET_MEMPOLICY = lib.NR_personality, lib.NR_set_mempolicy
NR_SCHED_SETAFFINITY = lib.NR_sched_setaffinity
TIOCSCTTY = lib.REQUEST_TIOCSCTTY
