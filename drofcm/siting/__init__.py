"""Where modules come from and go to: layers, distances and travel times."""
