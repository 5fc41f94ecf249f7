r"""How near is near: the error a right implementation may make, computed for this very example.

Standard running analysis (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 3).
Let u be the unit roundoff of the format and gamma(n) = n u / (1 - n u). A sum of n products, in any
order, fused or not, is off by at most gamma(n) times the sum of the magnitudes; gamma also covers
further multiplications, one each; products that are zero count for nothing. eta is the format's
spacing at zero: what one underflow may add. Every quantity carries a value a and a bound on its error
Ea; for a product of matrices

    E(ab) = |a| Eb + Ea |b| + Ea Eb + gamma(n + 4) (|a| + Ea)(|b| + Eb) + (n + 4) eta          (*)

where four roundings are left for storing, casting and scaling either factor. Forward:

1. Queries, keys, values: (*), the bias one more term.
1a. Rotary positions: a' = a cos t - b sin t, likewise b'. The frequency base**-e is off by at most
   gamma(3 e ln(base) + 9) of itself (e ln(base) is a product of two rounded numbers, and moves the
   power by itself; 8 for the function, 1 for a reciprocal), the angle by one rounding more; cosine
   and sine move by no more than the angle, by 8 u of their own, and by the cast to the format. Let Et
   be all of that, then
       Ea' = |cos t| Ea + |sin t| Eb + (Et + gamma(4)) (|a| + Ea + |b| + Eb) + 4 eta.
   It is assumed that positions are exact (in float32: below 2**24) and that angles, cosines and sines
   are computed in a format of at least `angles`, float32 unless given, whatever the format of the
   rest. Position zero is exact. A frequency that is scaled for longer contexts has 24 roundings more
   (quotients, a wavelength, a ramp between two of them and its blend); one that was measured is known
   to within the spread of its measurements, which the position multiplies. Where cosines and sines are
   multiplied by a gain, Et has 3 roundings more in the format of angles, Ea' is multiplied by the gain,
   and position zero is as inexact as any other.
2. Scores z = scale q.k: (*). The scale may be applied to q, to k, to both by its root, or afterwards,
   as a product or a quotient: gamma(D + 8) covers them all.
2a. A cap y = c tanh(z / c) is monotonous and never steeper than 1: Ez moves it by what it is moved at
   the ends z - Ez and z + Ez. A relative error d of z / c moves y by (z sech(z/c)**2) d, no more than
   |y| d; one of c by no more than |y| d either. So with two roundings of z / c (or of scale / c), one
   of c, eight of a tanh that is right to four units in the last place, and one of the last product,
   gamma(12) |y|. A kernel may have it from exponentials, 1 - 2 / (1 + exp(2 z / c)) or
   (exp(2 z / c) - 1) / (exp(2 z / c) + 1), which is right near zero in the absolute only: half the
   error 8 u of the exponential, 2 |x| sech(x)**2 u < u of its argument, 2 u each of 1 + exp, of the
   quotient, which is below 2, and u of the difference: 10 u c. It is assumed that such a kernel
   computes it in float32 at least, so that is the u of this term.
       Ey = max(y(z + Ez) - y, y - y(z - Ez)) + gamma(12) |y| + 10 u c
2b. A bias: given exactly, cast to the format, taken to base two as y is (a rounded constant, a
   product), and added: gamma(4) (|y| + |b|).
3. Exponents z_j - m, whatever the subtracted m: the row's largest exponent (or the sink, if that is
   larger), its log-sum-exp, or a running maximum raised block by block as online softmax does, which
   lies between z_j and the largest from the block of j on, so that the raises add up to no more than
   |z_j| + |m|; in base e or 2:  Ea_j = Ez_j + 6 u (|z_j| + max(|z_j|, |m|) + 1). The same of a sink.
4. Softmax is conditioned by the exponents alone. If each is off by at most Ea_j, then
       exp(-Ea_j) / sum_k w_k exp(Ea_k) <= w'_j / w_j <= exp(Ea_j) / sum_k w_k exp(-Ea_k)
   where the sums run over what is seen, n keys, and the sink, one term more. Exponentials, the sum,
   block rescalings and the division cost at most 4 n + 16 roundings, g = gamma(4 n + 16): an unseen
   key adds zero, and a block of such keys rescales by one. With the two bounds called low and high:
       Ew_j = min(1, w_j max(high (1 + g) - 1, 1 - low (1 - g))) + smallest normal number
   (an exponential below the normal range may be flushed to zero). A hidden key has Ew = 0. A mean of
   weights over H heads is off by the mean of Ew and gamma(H + 4). A row that sees nothing has zeros
   exactly, or 1 / S each, off by g of that.
4a. The logarithm of the denominator, m + log(sum exp(z_j - m)), moves by no more than its exponents
   make the sum move and by -log(1 - g); log(sum) is between 0 and log(n + 1), right to four units in
   the last place, and either part may be taken from base two (a rounded constant, a product) and
   added: Else = max(log sum_k w_k exp(Ea_k), -log sum_k w_k exp(-Ea_k)) - log(1 - g)
       + gamma(12) (|m| + log(n + 1)).
5. Context: (*) of weights and values. 6. Output: (*) of context and Wo, the bias one more term.

Backward, for sum(G * output) with G given: the chain rule is products again, each (*), except for
the softmax: dz = w (dw - delta), where delta is sum_j w_j dw_j or, as flash attention has it,
sum_d dc_d c_d; the worse of the two is allowed, and the product rule gives Edz. A cap multiplies it by
1 - t**2 with t = y / c off by Et = Ey / c: 2 |t| Et + Et**2 + gamma(4). A group sums over its heads:
one more sum. A sink gets minus the sum of its weight times delta.

The oracle itself computes in float64, so its own budget (the same formula at u = 2**-53) is added.
Where a magnitude leaves the range of the format, a plain implementation may overflow and nothing is
claimed: the budget is infinite and the example does not count.

Legend: B batch, T queries, S keys, H heads, G groups, D head_dim, Dv columns of a value, W = H * Dv.
"""

from properties.truth.bounds.arithmetic import SPARE, Near, exactly, gamma, product_error
from properties.truth.bounds.attend import AttendBudget, attend_budget
from properties.truth.bounds.attend_gradients import AttendGradientBudget, attend_gradient_budget
from properties.truth.bounds.modules import (
    ANGLES,
    Budget,
    GradientBudget,
    budget,
    budget_inside,
    gradient_budget,
    merge_heads,
    row_sum,
    survivors,
)

__all__ = [
    "ANGLES",
    "SPARE",
    "AttendBudget",
    "AttendGradientBudget",
    "Budget",
    "GradientBudget",
    "Near",
    "attend_budget",
    "attend_gradient_budget",
    "budget",
    "budget_inside",
    "exactly",
    "gamma",
    "gradient_budget",
    "merge_heads",
    "product_error",
    "row_sum",
    "survivors",
]
