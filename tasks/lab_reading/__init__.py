"""Questions about a short story, as CoQA's."""
