"""What the text-to-text benchmarks share."""
