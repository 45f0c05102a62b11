"""How a flow runs DVC stages: the graph, the task of one stage, and its artifacts."""
