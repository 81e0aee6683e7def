// Gram matrices of bfloat16 rows on processors with AVX512-BF16 (gram_kernel.h), four times as fast as in float32.
#pragma once
#include "ops/ops.h"

namespace qroar::ops::cpu {

/// Returns whether add_gram() supports this tensor on this processor: bfloat16, channels contiguous.
bool can_add_gram(const at::Tensor& x_RI);

/// ops::add_gram.  The bits do not depend on the number of threads.
void add_gram(at::Tensor& sum_II, const at::Tensor& x_RI);

}  // namespace qroar::ops::cpu
