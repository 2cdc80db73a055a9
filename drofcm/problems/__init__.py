"""One page per planning problem, equation by equation."""
