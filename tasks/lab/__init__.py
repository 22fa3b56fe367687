"""What the lab's benchmarks share: words, drawing of rows, and text that needs none of the tasks' skills.

The lab is a family of tiny models made on the user's machine. Its benchmarks are generated, so they need
no download; they are scored by the same code as the benchmarks they stand for.
"""
