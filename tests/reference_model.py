"""What a model says by itself, without an engine."""

import torch
from transformers import AutoModelForCausalLM


def alone(checkpoint, context, continuation):
    """Log-probabilities of a continuation, and whether it is greedy, from the model by itself."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        logits = model(torch.tensor([[*context, *continuation]])).logits[0, len(context) - 1 : -1]
    logprobs = logits.log_softmax(-1).gather(1, torch.tensor(list(continuation))[:, None])[:, 0]
    return logprobs.numpy(), logits.argmax(-1).tolist() == list(continuation)


def greedy(checkpoint, prompt, new_tokens):
    """Tokens that the model by itself goes on with."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    output = model.generate(torch.tensor([list(prompt)]), max_new_tokens=new_tokens, do_sample=False)
    return output[0, len(prompt) :].tolist()
