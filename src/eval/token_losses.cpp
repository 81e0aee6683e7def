#include "eval/token_losses.h"

#include <algorithm>

namespace qroar {

std::vector<double> token_losses(const Llama& model, const at::Tensor& tokens_T, const ops::RopeAngles& angles,
                                 int64_t first) {
  const at::Tensor hidden_TD = forward(model, tokens_T, angles);
  std::vector<double> losses;
  const int64_t last = tokens_T.size(0) - 1;
  for (int64_t begin = first; begin < last; begin += kLogitRows) {
    const int64_t end = std::min(begin + kLogitRows, last);
    const at::Tensor nll_R =
        ops::token_nll(logits(model, hidden_TD.slice(0, begin, end)), tokens_T.slice(0, begin + 1, end + 1))
            .to(at::kCPU);
    losses.insert(losses.end(), nll_R.const_data_ptr<double>(), nll_R.const_data_ptr<double>() + nll_R.numel());
  }
  return losses;
}

}  // namespace qroar
