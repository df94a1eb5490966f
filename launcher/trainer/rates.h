#pragma once

#include <cstdint>

#include "launcher/config/config.h"

namespace timepipe {

// Learning rate of step s (0-based) of n = steps, with w = warmup_steps:
//   s < w                init_lr + (lr - init_lr) s / w
// and from there, with r the share of [w, n) that is done, by `schedule`:
//   cosine               (lr - end_lr) (1 + cos(pi r)) / 2 + end_lr
//                        (goldens README, opt_*)
//   linear               (1 - r) lr + r end_lr
//   constant             lr
//   warmup_stable_decay  (1 - r) lr + r end_lr, r that of the last decay_steps:
//                        0 before them (WSD: Hu et al. 2024, arXiv:2404.06395;
//                        its decay linear as in Haegele et al. 2024,
//                        arXiv:2405.18392, and Megatron-LM's
//                        --lr-wsd-decay-style linear)
// So a decay begins at lr and would reach end_lr at step n, where it stays.
double learning_rate(const OptimizerConfig& config, int64_t step);

// Multiplier of the inner base rate: from inner_lr_init / base_lr to 1 over
// inner_lr_warmup_steps; 1 without warm-up.
double inner_rate_multiplier(const OptimizerConfig& config, double base_lr,
                             int64_t step);

}  // namespace timepipe
