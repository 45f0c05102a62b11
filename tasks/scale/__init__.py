"""Work over more pictures than fit in memory or on one machine: in this process, or on Ray by `scale.engine`."""
