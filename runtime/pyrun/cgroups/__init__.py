"""Control groups: where a container's groups are, their limits, and how they end."""
