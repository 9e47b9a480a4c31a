"""Development set of the extractive answer: material, questions, evaluation."""
