"""Matrix products that add to their result. Arrays are C-contiguous; the innermost loop runs along a row."""

from __future__ import annotations

from rnnkit_numba.compiled import fma, kernel


@kernel
def add_product(a_MK, b_KN, c_MN):
    """`c[m, n] += Σ_k a[m, k] b[k, n]`."""
    rows, inner = a_MK.shape
    columns = c_MN.shape[1]
    fours = inner - inner % 4
    for m in range(rows):
        for k in range(0, fours, 4):  # four at a time: one load and store of c for four products
            a0, a1, a2, a3 = a_MK[m, k], a_MK[m, k + 1], a_MK[m, k + 2], a_MK[m, k + 3]
            for n in range(columns):
                c = fma(a1, b_KN[k + 1, n], fma(a0, b_KN[k, n], c_MN[m, n]))
                c_MN[m, n] = fma(a3, b_KN[k + 3, n], fma(a2, b_KN[k + 2, n], c))
        for k in range(fours, inner):
            a0 = a_MK[m, k]
            for n in range(columns):
                c_MN[m, n] = fma(a0, b_KN[k, n], c_MN[m, n])


@kernel
def add_transposed_product(a_RM, b_RN, c_MN):
    """`c[m, n] += Σ_r a[r, m] b[r, n]`: the gradient of a weight, r counting rows and lanes."""
    rows, outer = a_RM.shape
    columns = c_MN.shape[1]
    fours = rows - rows % 4
    for r in range(0, fours, 4):
        for m in range(outer):
            a0, a1, a2, a3 = a_RM[r, m], a_RM[r + 1, m], a_RM[r + 2, m], a_RM[r + 3, m]
            for n in range(columns):
                c = fma(a1, b_RN[r + 1, n], fma(a0, b_RN[r, n], c_MN[m, n]))
                c_MN[m, n] = fma(a3, b_RN[r + 3, n], fma(a2, b_RN[r + 2, n], c))
    for r in range(fours, rows):
        for m in range(outer):
            a0 = a_RM[r, m]
            for n in range(columns):
                c_MN[m, n] = fma(a0, b_RN[r, n], c_MN[m, n])


@kernel
def fill_rows(row_N, c_RN):
    """`c[r, n] = row[n]`."""
    for r in range(c_RN.shape[0]):
        for n in range(c_RN.shape[1]):
            c_RN[r, n] = row_N[n]


@kernel
def add_rows(a_RN, total_N):
    """`total[n] += Σ_r a[r, n]`."""
    for r in range(a_RN.shape[0]):
        for n in range(a_RN.shape[1]):
            total_N[n] += a_RN[r, n]


@kernel
def transpose(a_MN, c_NM):
    """`c[n, m] = a[m, n]`."""
    for m in range(a_MN.shape[0]):
        for n in range(a_MN.shape[1]):
            c_NM[n, m] = a_MN[m, n]


@kernel
def add_transpose(a_MN, c_NM):
    """`c[n, m] += a[m, n]`."""
    for n in range(a_MN.shape[1]):
        for m in range(a_MN.shape[0]):
            c_NM[n, m] += a_MN[m, n]
