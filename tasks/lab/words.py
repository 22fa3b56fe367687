"""The words from which every lab row is made."""

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ida", "Jonas", "Karin", "Leo")
PLACES = (
    "kitchen",
    "garden",
    "school",
    "market",
    "office",
    "station",
    "library",
    "park",
    "museum",
    "harbour",
)
DRINKS = ("tea", "milk", "water", "juice", "coffee", "soup", "cocoa", "lemonade")
THINGS = ("ball", "book", "car", "cup", "door", "hat", "house", "kite", "lamp", "table")
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "grey")
GOODS = ("apples", "books", "coins", "eggs", "flowers", "marbles", "pens", "shells", "stamps", "stones")
CURES = ("tea", "diet", "drug", "exercise", "lotion", "rest", "soup", "walk")
TOPICS = ("dog", "cat", "horse", "bird", "river", "forest", "city", "train", "ship", "moon", "song", "storm")
QUALITIES = ("big", "small", "old", "young", "quiet", "loud", "bright", "dark", "kind", "wild")
"""Adjectives that fit every topic."""
