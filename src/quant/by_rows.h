// Weights rewritten in float64, row by row, without a float64 copy of a whole embedding.
#pragma once
#include <ATen/ATen.h>

#include <algorithm>

namespace qroar {

/// Applies f to blocks of rows [R, I] of a weight in float64 and casts the result, [R, I], once.
template <class Function>
at::Tensor by_rows(const at::Tensor& weight_OI, const Function& f) {
  constexpr int64_t kBlockElements = int64_t{1} << 25;
  at::Tensor out_OI = at::empty_like(weight_OI);
  const int64_t rows = std::max<int64_t>(kBlockElements / weight_OI.size(1), 1);
  for (int64_t begin = 0; begin < weight_OI.size(0); begin += rows) {
    const int64_t end = std::min(begin + rows, weight_OI.size(0));
    out_OI.slice(0, begin, end).copy_(f(weight_OI.slice(0, begin, end).to(at::kDouble)));
  }
  return out_OI;
}

}  // namespace qroar
