"""What the engine on vLLM is made of."""
