"""What the figures in README and docs come from: one file a question, each result with its command in results/."""
