"""Published figures, one YAML a paper, as printed."""
