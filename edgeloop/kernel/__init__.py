"""The only code that makes system calls or touches the interpreter's C, in two editions of one interface."""
