"""How strongly counts speak against "the share here is at most the share there, and a bit"; pure.

A share is a number of hits among a number of predictions: errors, or slow ones. The evidence is
an e-process by universal inference: the likelihood of the counts under a mixture over all shares,
divided by the greatest likelihood that any pair of shares within the allowance gives them. While
the allowance is kept, the chance that it *ever* exceeds 1/a is at most a, however often one looks
and whenever one stops (Ville's inequality; Wasserman, Ramdas, Balakrishnan, "Universal inference",
2020). It needs the counts only, in no order, so every look may start from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, lgamma, log

_HALVINGS = 60
# Priors of the mixture, as Beta(a, b). Any choice keeps the promise above; these lose little where
# versions usually are: a stable one seldom errs, a new one may do anything.
_STABLE_PRIOR = (0.1, 1.0)
_CANDIDATE_PRIOR = (0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Count:
    """``hits`` among ``total`` predictions."""

    hits: int
    total: int

    @property
    def share(self) -> float:
        """0…1; 0 when there were none."""
        return self.hits / self.total if self.total else 0.0


def evidence(stable: Count, candidate: Count, allowance: float) -> float:
    """Natural logarithm of the evidence that the candidate's share exceeds the stable one's by
    more than ``allowance`` (0…1). Below 0 nothing speaks for it.
    """
    if candidate.share <= stable.share + allowance:
        return -inf
    seen = _mixture(stable, *_STABLE_PRIOR) + _mixture(candidate, *_CANDIDATE_PRIOR)
    return seen - _likeliest_within(stable, candidate, allowance)


def _mixture(count: Count, a: float, b: float) -> float:
    """Log-likelihood of the counts, averaged over shares from Beta(a, b)."""
    return _log_beta(a + count.hits, b + count.total - count.hits) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _likeliest_within(stable: Count, candidate: Count, allowance: float) -> float:
    """The greatest log-likelihood of shares that keep the allowance, when the counts do not.

    It lies where the candidate's share exceeds the stable one's by exactly ``allowance``, between
    the two observed shares, and there it has one maximum.
    """
    low, high = stable.share, candidate.share - allowance
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(stable, middle) + _slope(candidate, middle + allowance) > 0:
            low = middle
        else:
            high = middle
    share = (low + high) / 2
    return _log_likelihood(stable, share) + _log_likelihood(candidate, share + allowance)


def _slope(count: Count, share: float) -> float:
    misses = count.total - count.hits
    up = count.hits / share if count.hits else 0.0
    return up - (misses / (1 - share) if misses else 0.0)


def _log_likelihood(count: Count, share: float) -> float:
    misses = count.total - count.hits
    hits = count.hits * log(share) if count.hits else 0.0
    return hits + (misses * log(1 - share) if misses else 0.0)
