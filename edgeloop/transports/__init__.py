"""The transports: each a Channel with the face of an asyncio transport."""
