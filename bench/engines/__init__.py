"""The engines, one file each; `bench.engine_registry` finds them by the file's name."""
