"""What is told of steps and runs: why, as a graph, as events, as progress, and what the report is given."""
