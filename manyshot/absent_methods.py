"""Methods that are known and not here, with the reason: a line each, for docs/methods.md."""

ABSENT = {
    "[AdaRank](https://arxiv.org/abs/2503.22178)": "which singular components count is learned from the "
    "entropy of answers to test inputs; without data nothing is left but `tsv_merge` and `cart`",
    "[DisTaC](https://arxiv.org/abs/2508.01148)": "conditions task vectors by distilling each expert anew on "
    "unlabelled inputs, which is training, not a merge",
    "[Hi-Merging](https://arxiv.org/abs/2506.12379)": "which layers it prunes and scales is guided by an "
    "analysis of contributions that could not be read in a public source, nor could the code",
    "[LwPTV](https://arxiv.org/abs/2506.09093)": "its saliency score could not be read in a public source",
    "[MergeLock](https://arxiv.org/abs/2509.01548)": "keeps one expert from being merged, and merges none",
    "[OSRM](https://arxiv.org/abs/2505.22934)": "begins LoRA's A in the directions that the other tasks' "
    "inputs use least, where a training here sees one task alone; how it joins several tasks' inputs could "
    "not be read in a public source",
    "[safety-aware merging](https://arxiv.org/abs/2406.14563)": "makes rows of refusals for other methods "
    "to choose coefficients by, and is no method of its own: give a task such validation rows",
    "[STF](https://arxiv.org/abs/2502.10698)": "its linear system could not be read in a public source, nor "
    "could the code that the paper names",
    "[Surgery](https://arxiv.org/abs/2402.02705)": "corrects what a classifier's head reads by "
    "another module for each task, learned from test inputs: whoever asks must name the task, and no one "
    "checkpoint holds it",
    "SWUDI": "no public source was found",
    "[Twin-Merging](https://arxiv.org/abs/2406.15479)": "joins the experts' low-rank parts anew for each "
    "input by a router, which no class of transformers computes",
    "[WEMoE](https://arxiv.org/abs/2402.00433)": "makes the weights of its MLPs anew for each input by a "
    "router, which no class of transformers computes",
    "[τJp](https://github.com/katoro8989/tau-Jp_Task_Arithmetic)": "trains image encoders that are made "
    "linear, and penalises what other tasks' images change in their features; what stands for these in a "
    "language model is not said",
}
