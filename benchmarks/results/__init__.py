"""Tables of results: rows that are stored once they are computed, and the pages that show them.

`rows.py` stores rows, `table.py` computes what is missing, `commands.py` runs a command and finds what it has stored,
`presets.py` says what a preset decides, `origin.py` where a row comes from, `pages.py` writes tables into docs/results.
Each other module is one table, but `trainings.py`, which has two. `benchmarks/make_tables.py` is the command.
"""
