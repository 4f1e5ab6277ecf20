"""The turn: what the kernel said of each descriptor, what runs next, and the timers."""
