"""Solution methods: what turns a declared program into a certified Result."""
