"""Fixed networks that look at images."""
