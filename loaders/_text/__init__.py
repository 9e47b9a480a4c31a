"""Private parts of the text loader: decoding, plain text, Markdown, HTML, CSV.

Each format yields `Part`s; the loader turns them into nodes.
"""
