#include "model/angles.h"

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

}  // namespace qroar
