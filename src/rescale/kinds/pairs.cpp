// Outlier-aware interpolation per pair (docs/method.md 4.6; a reconstruction): pairs whose rows of W_Q and W_K are
// large get a large factor.  O_j = ||W[j, :]||_2 for every row j of W_Q and W_K in every head and layer; S_k is the
// `reduce` (max or mean) of O_j over the rows of pair k; s_k is S_k times the number that makes the mean of all
// `factor`, from which a common divisor, such as the softmax-weighted mean of S, cancels.  Position m of pair k becomes
// m / s_k, in addition to the scheme's own frequencies.
#include "rescale/rescaling.h"

namespace qroar {
namespace {

class Pairs : public Rescaling {
 public:
  explicit Pairs(const Config& config)
      : factor_(config), mean_(config.get_choice<bool>("reduce", false, {{"max", false}, {"mean", true}})) {}

  void bind(const LlamaConfig&) override {}

  RopeTable table(const RopeTable& scheme, const RopeGeometry& geometry, const Llama& full) const override {
    const int64_t pairs = full.config.pairs();
    std::vector<at::Tensor> norms_NP;
    for (const DecoderLayer& layer : full.layers) {
      if (!layer.heads.rope) continue;
      for (const Linear* linear : {&layer.q_proj, &layer.k_proj}) {
        norms_NP.push_back(linear->weight()
                               .to(at::kDouble)
                               .square()
                               .sum(1)
                               .sqrt()
                               .view({-1, full.config.head_dim})
                               .slice(1, 0, 2 * pairs)
                               .reshape({-1, pairs})
                               .to(at::kCPU));
      }
    }
    const at::Tensor norms = at::cat(norms_NP);
    const at::Tensor size_P = mean_ ? norms.mean(0) : norms.amax(0);
    const at::Tensor factor_P = (size_P * (factor_.of(geometry) / size_P.mean())).contiguous();
    RopeTable table = scheme;
    for (int64_t k = 0; k < pairs; ++k) {
      table.inv_freq[static_cast<std::size_t>(k)] /= factor_P.const_data_ptr<double>()[k];
    }
    return table;
  }
  bool changes_table() const override { return true; }

 private:
  Factor factor_;
  bool mean_;
};

const Register<Rescaling, Pairs> kPairs{
    "pairs",
    "outlier-aware interpolation: a factor per pair by the norms of its rows in W_Q and W_K (docs/method.md 4.6)",
    "{type: pairs, factor: 2, reduce: max}"};

}  // namespace
}  // namespace qroar
