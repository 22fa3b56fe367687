"""The lab: a family of tiny models, made on the user's machine, on which the whole of manyshot runs."""
