"""Mutants that no black box can tell from the good runtime, each with the reason."""

from __future__ import annotations

OF_EXEC = "the exec of a test brings a document of its own, which create isn't given"
NO_SOCKET = "with a terminal and no console socket create is refused, whatever the size is"

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
    "drop:process.execCPUAffinity": OF_EXEC,
    "drop:process.execCPUAffinity.initial": OF_EXEC,
    "drop:process.execCPUAffinity.final": OF_EXEC,
    "alter:process.execCPUAffinity.initial": OF_EXEC,
    "alter:process.execCPUAffinity.final": OF_EXEC,
    "accept:values.process.consoleSize": NO_SOCKET,
    "accept:values.process.consoleSize.height": NO_SOCKET,
    "accept:values.process.consoleSize.width": NO_SOCKET,
    "mount-option:idmap": "a mount that has mappings is mapped without it, too",
    "accept:mounts.idmap-no-implied-error": "a runtime that implies the mappings has no error to give",
    "accept:mounts.ridmap-no-implied-error": "a runtime that implies the mappings has no error to give",
}
