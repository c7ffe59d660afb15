"""One file per controller: what `linux.resources` says, as files to write, for cgroup v1 and v2 side by
side.
"""
