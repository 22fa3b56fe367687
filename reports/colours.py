"""Colours that colour-blind readers can tell apart, in figures and on the leaderboard's page."""

# Okabe and Ito, "Color Universal Design", 2008, without yellow (too pale on white) and black (the text's);
# then an indigo and a brown that stay apart from them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#332288", "#8C4A1F")
BASE_COLOUR = "#7F7F7F"
