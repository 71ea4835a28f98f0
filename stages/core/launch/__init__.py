"""The frame of a command: settings and their parsing, errors, atomic files, lock, processes."""
