#include "model/angles.h"

#include <algorithm>
#include <deque>
#include <memory>

namespace qroar {

ops::RopeAngles rope_angles(const RopeTable& table, int64_t length, at::ScalarType model_dtype,
                            const at::Device& device, bool bfloat16) {
  const auto inv_freq_P = at::tensor(table.inv_freq, at::kDouble);
  const auto positions_T = at::arange(length, at::kDouble);
  const auto rounded = [&](const at::Tensor& x) { return bfloat16 ? x.to(at::kBFloat16).to(at::kDouble) : x; };
  const at::Tensor angles_TP = at::outer(rounded(positions_T), rounded(inv_freq_P));
  const auto stored = model_dtype == at::kDouble ? at::kDouble : at::kFloat;
  const auto finish = [&](const at::Tensor& x) { return x.mul(table.attention_factor).to(stored).to(device); };
  return {finish(angles_TP.cos()), finish(angles_TP.sin())};
}

AnglesOf cached_angles(const TableOf& table_of, const at::Tensor& weights, bool bfloat16) {
  constexpr std::size_t kKept = 4;
  auto last = std::make_shared<std::deque<std::pair<int64_t, ops::RopeAngles>>>();
  return [table_of, weights, bfloat16, last](int64_t length) {
    const auto known = std::ranges::find(*last, length, &std::pair<int64_t, ops::RopeAngles>::first);
    if (known != last->end()) return known->second;
    if (last->size() == kKept) last->pop_front();
    last->emplace_back(length,
                       rope_angles(table_of(length), length, weights.scalar_type(), weights.device(), bfloat16));
    return last->back().second;
  };
}

}  // namespace qroar
