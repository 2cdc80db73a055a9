"""The commands of the command line: parse, call one function, print."""
