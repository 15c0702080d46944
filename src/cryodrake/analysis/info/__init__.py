"""`info`: what a file is, and everything that is wrong with it. One module per kind of file; `examine` picks it."""
