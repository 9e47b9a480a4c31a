"""The extractive answer, piece by piece: units of a text, question terms, features, support, quotes."""
