"""The harness: benchmarks, suites, their rows, the engines that run checkpoints, and scoring."""
