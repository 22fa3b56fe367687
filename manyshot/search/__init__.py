"""Searching for the best merge: a space of settings, an objective on validation data, and a budget."""
