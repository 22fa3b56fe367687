"""Methods that are known and not here, with the reason: a line each, for docs/methods.md."""

ABSENT = {
    "[AdaRank](https://arxiv.org/abs/2503.22178)": "which singular components count is learned from the "
    "entropy of answers to test inputs; without data nothing is left but `tsv_merge` and `cart`",
    "[DisTaC](https://arxiv.org/abs/2508.01148)": "conditions task vectors by distilling each expert anew on "
    "unlabelled inputs, which is training, not a merge",
    "[LwPTV](https://arxiv.org/abs/2506.09093)": "its saliency score could not be read in a public source",
    "[STF](https://arxiv.org/abs/2502.10698)": "its linear system could not be read in a public source, nor "
    "could the code that the paper names",
    "SWUDI": "no public source was found",
}
