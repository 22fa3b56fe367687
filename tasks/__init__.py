"""Benchmark definitions, one folder each, and the suites that combine them."""
