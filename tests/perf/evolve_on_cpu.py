"""mergekit's command mergekit-evolve on a machine without a GPU: what it lacks there, and then the command.

    python tests/perf/evolve_on_cpu.py --ray FOLDER ARGUMENT …

Run by the Python of an environment with mergekit[evolve] 0.1.5 and lm-eval 0.4.13. Nothing of theirs is
changed on disk; in the processes of this command four things are:

- mergekit reads `lm_eval.models.vllm_causallms.VLLM`, with vLLM or without. Since 0.4.10 lm-eval imports that
  module only for those who use it, and it needs vLLM; 0.4.9.2 does not import under the transformers that
  mergekit asks for. An empty class of that name stands in its place.
- It tells lm-eval no device, and lm-eval's class for transformers takes `cuda`; `simple_evaluate` is told
  `cpu`.
- The strategy `pool` calls `torch.cpu.empty_cache`, which torch does not have: it is a function that does
  nothing.
- Its actors ask Ray for a GPU each: Ray is told that there is one. It is a Ray of this process, in a folder
  of its own, and ends with it.
"""

import sys

ATTEMPTS = 5
AGENT_MILLISECONDS = 300_000


def prepare() -> None:
    """Give this process what mergekit-evolve reads of lm-eval and calls of torch."""
    import functools
    import sys
    from types import ModuleType

    import lm_eval
    import lm_eval.models
    import torch

    module = ModuleType("lm_eval.models.vllm_causallms")
    module.VLLM = type("VLLM", (), {})
    sys.modules[module.__name__] = lm_eval.models.vllm_causallms = module
    lm_eval.simple_evaluate = functools.partial(lm_eval.simple_evaluate, device="cpu")
    torch.cpu.empty_cache = lambda: None


def main() -> None:
    flag, folder, *arguments = sys.argv[1:]
    if flag != "--ray":
        raise SystemExit(__doc__)
    prepare()
    from mergekit.scripts.evolve import main as evolve

    start_ray(folder)
    evolve(arguments)


def start_ray(folder: str) -> None:
    """Start a Ray that believes in a GPU; again where a busy machine takes longer than Ray waits."""
    import ray

    for attempt in range(ATTEMPTS):
        try:
            ray.init(
                address="local",
                num_cpus=1,
                num_gpus=1,
                include_dashboard=False,
                runtime_env={"worker_process_setup_hook": prepare},
                _temp_dir=folder,
                _system_config={"agent_register_timeout_ms": AGENT_MILLISECONDS},
            )
            return
        except Exception:  # Ray's own, without a class
            if attempt + 1 == ATTEMPTS:
                raise
            ray.shutdown()


if __name__ == "__main__":
    main()
