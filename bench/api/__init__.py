"""Servers with OpenAI's protocol: how they are asked, what they say of themselves, and what is kept."""
