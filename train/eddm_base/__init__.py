"""The base of the tiny EDDM: a small MiniCPM-V trained in full on generic scenes, as large ones are on the web."""
