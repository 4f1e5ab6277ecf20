"""What a loop is doing, for others to read: its figures, and the file that other processes read them from."""
