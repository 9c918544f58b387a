"""The student outside Python."""
