"""Checkpoints as they lie on disk: opened lazily, told apart by digests, or loaded with transformers.

A leaf that both `bench` and `merging` import, and that itself imports `results` alone:

- `checkpoint`, `adapter`, `adapted`: a model's folder, an adapter's, and the model that an adapter makes.
- `folders`: folders by path or hub name; `tokenizer_files`: what is read of a tokenizer without loading it.
- `digests`, `dtypes`, `tied`: what a checkpoint is, which of its tensors are weights, and which are one.
- `pretrained`, `peft_models`: the same folders loaded with transformers and peft.
"""
