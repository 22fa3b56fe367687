"""Requests that only look dangerous, and their dangerous twins."""
