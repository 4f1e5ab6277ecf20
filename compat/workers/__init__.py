"""What the recipes of servers with worker processes share; each has a link to this folder."""
