"""In-memory data structures and algorithms: pure, no I/O, no clock, no asyncio."""
