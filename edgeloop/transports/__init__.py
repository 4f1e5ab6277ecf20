"""The transports: each a Channel that asyncio sees as one of its transports."""
