"""`python -m manyshot`, the same as the command `manyshot`."""

from manyshot.cli import main

main()
