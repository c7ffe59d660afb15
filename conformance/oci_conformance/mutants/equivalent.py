"""Mutants that no black box can tell from the good runtime, each with the reason."""

from __future__ import annotations

EQUIVALENT = {
    "alter:ociVersion": "another patch release of the same version asks for the same",
    "accept:cgroup.unfit-error": "a runtime may check whether a cgroup is fit, and needn't",
    'claim:linux.capabilities="CAP_INVENTED"': "a capability that isn't known is passed over with a warning",
    'claim:linux.seccomp.knownFlags="SECCOMP_FILTER_FLAG_WISH"': "a flag that is known needn't be supported",
    "mount-option:defaults": "it asks for what is so anyway",
    "mount-option:loud": "it asks for what is so anyway",
    "mount-option:silent": "it only keeps messages out of the kernel's log",
    "mount-option:iversion": "file systems that a suite can make do without it",
    "mount-option:noiversion": "file systems that a suite can make do without it",
    "mount-option:mand": "Linux has no mandatory locks since 5.15",
    "mount-option:nomand": "Linux has no mandatory locks since 5.15",
    "mount-option:norelatime": "the kernel takes it for what is so anyway",
    "mount-option:rnorelatime": "the kernel takes it for what is so anyway",
    "drop:linux.resources.memory.checkBeforeUpdate": "a runtime may check, and needn't",
    "alter:linux.resources.memory.checkBeforeUpdate": "a runtime may check, and needn't",
}
