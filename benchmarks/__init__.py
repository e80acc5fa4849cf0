"""Measure the figures of README and docs: one file a question, each result with its command in results/."""
