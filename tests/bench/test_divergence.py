"""Divergences against independent calculations in float64; what holds of them whatever the distributions."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from bench.divergence import LARGEST_JS, Distributions, between, divergences, entropies, likeliest
from results.errors import InputError

ROWS, VOCABULARY = 40, 300


def drawn(seed, scale=3.0):
    """Logarithms of random distributions, from flat to sharp."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.linspace(0.1, scale, ROWS)[:, None]
    return (torch.randn(ROWS, VOCABULARY, generator=generator) * scales).log_softmax(-1)


P, Q = drawn(0), drawn(1)


def exact(kind, p, q):
    """By scipy, in float64."""
    p, q = p.double().exp().numpy(), q.double().exp().numpy()
    if kind == "kl":
        return entropy(p, q, axis=1)
    return jensenshannon(p, q, axis=1) ** 2


@pytest.mark.parametrize("kind", ["kl", "js"])
def test_exact_values(kind):
    found = divergences(kind, Distributions(P), Distributions(Q))
    np.testing.assert_allclose(found.numpy(), exact(kind, P, Q), rtol=0, atol=1e-6)
    np.testing.assert_allclose(between(kind, P, Q).numpy(), exact(kind, P, Q), rtol=1e-4, atol=1e-6)


def test_entropy():
    np.testing.assert_allclose(
        entropies(Q).numpy(), entropy(Q.double().exp().numpy(), axis=1), rtol=1e-5, atol=1e-6
    )


def test_bounds_symmetry_and_zero():
    apart = torch.full((1, 4), -torch.inf), torch.full((1, 4), -torch.inf)
    apart[0][0, 0] = apart[1][0, 1] = 0.0
    assert between("js", *apart).item() == pytest.approx(LARGEST_JS)
    assert between("kl", *apart).item() == float("inf")
    p, q = Distributions(P), Distributions(Q)
    js = divergences("js", p, q)
    assert ((js >= 0) & (js <= LARGEST_JS)).all()
    torch.testing.assert_close(js, divergences("js", q, p))
    assert (divergences("kl", p, q) >= 0).all()
    for kind in ("kl", "js"):
        assert divergences(kind, p, p).max() < 1e-12


@pytest.mark.parametrize("kind", ["kl", "js"])
@pytest.mark.parametrize("k", [1, 5, 60, VOCABULARY])
def test_of_the_likeliest_tokens_a_bound_from_below(kind, k):
    whole = torch.from_numpy(exact(kind, P, Q))
    bounds = []
    for p, q in ((k, None), (None, k), (k, k)):
        bound = divergences(kind, likeliest(P, p), likeliest(Q, q))
        assert (bound <= whole + 1e-6).all() and (bound >= 0).all()
        bounds.append(bound)
    if k == VOCABULARY:
        assert all(torch.allclose(bound, whole, atol=1e-6) for bound in bounds)


@pytest.mark.parametrize("kind", ["kl", "js"])
def test_a_bound_for_models_so_sure_that_rounding_hides_the_rest(kind):
    """Log-probabilities are float32: what is left of 1 may round to nothing."""
    for seed in range(20):
        p, q = drawn(seed), drawn(seed + 100, scale=9.0)
        bound = divergences(kind, likeliest(p, 20), likeliest(q, 20))
        assert (bound <= torch.from_numpy(exact(kind, p, q)) + 1e-6).all()


def test_the_bound_is_that_of_the_merged_outcomes():
    p, q = torch.tensor([[0.6, 0.2, 0.1, 0.1]]), torch.tensor([[0.3, 0.4, 0.25, 0.05]])
    found = divergences("kl", likeliest(p.log(), 2), Distributions(q.log()))
    expected = 0.6 * np.log(0.6 / 0.3) + 0.2 * np.log(0.2 / 0.4) + 0.2 * np.log(0.2 / 0.3)
    assert found.item() == pytest.approx(expected, abs=1e-6)
    # Of two lists the tokens in both are kept apart: here 0 and 1 of {0, 1} and {0, 1, 2}.
    assert divergences("kl", likeliest(p.log(), 2), likeliest(q.log(), 3)).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["kl", "js", "entropy"])
def test_gradients(kind):
    def value(logits):
        log_q = logits.log_softmax(-1)
        return entropies(log_q) if kind == "entropy" else between(kind, P[:6, :20].double(), log_q)

    logits = torch.randn(6, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(value, (logits,))


def test_gradients_through_what_the_expert_stored_of_the_likeliest():
    p = likeliest(P[:6].double(), 5)
    logits = torch.randn(6, VOCABULARY, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda given: divergences("js", p, Distributions(given.log_softmax(-1))), (logits,)
    )


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="One model has 300 tokens and the other 299"):
        divergences("kl", Distributions(P), Distributions(Q[:, :-1]))
    with pytest.raises(InputError, match="no divergence 'tv'; there are kl, js"):
        between("tv", P, Q)
