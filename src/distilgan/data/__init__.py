"""Where pictures come from: folders, zips, the face renderer; in which order they come."""
