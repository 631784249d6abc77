//! Training within a privacy budget (DP-SGD, Abadi et al., 2016).
