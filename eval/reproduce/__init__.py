"""The papers' tables beside ours, one function a table."""
