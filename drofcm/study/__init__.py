"""One study from its file to its run folder."""
