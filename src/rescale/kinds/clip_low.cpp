// CoPE's clipping of low frequencies (docs/method.md 4.6): slows down the last `pairs` pairs, or stops them, so that no
// angle exceeds those seen in training.  Soft: multiplies frequencies by (1 + cos theta) / 2, where theta rises
// linearly from 0 at the first of these pairs to pi at the last.  Hard: multiplies them by 0.
#include <cmath>
#include <numbers>

#include "rescale/rescaling.h"

namespace qroar {
namespace {

class ClipLow : public Rescaling {
 public:
  explicit ClipLow(const Config& config)
      : config_(config),
        pairs_(config.get<int64_t>("clip_low_n", 20, {1, 1'000'000})),
        hard_(config.get_choice<bool>("form", false, {{"soft", false}, {"hard", true}})) {}

  void bind(const LlamaConfig& llama) override {
    const int64_t pairs = llama.pairs();
    if (pairs_ > pairs) {
      config_.fail(fmt::format("clip_low_n is {} and a head has {} pairs; take at most {}", pairs_, pairs, pairs));
    }
  }

  RopeTable table(const RopeTable& scheme, const RopeGeometry&, const Llama&) const override {
    RopeTable table = scheme;
    const auto first = static_cast<int64_t>(table.inv_freq.size()) - pairs_;
    for (int64_t k = 0; k < pairs_; ++k) {
      const double theta =
          pairs_ == 1 ? std::numbers::pi : std::numbers::pi * static_cast<double>(k) / static_cast<double>(pairs_ - 1);
      table.inv_freq[static_cast<std::size_t>(first + k)] *= hard_ ? 0 : 0.5 * (1 + std::cos(theta));
    }
    return table;
  }
  bool changes_table() const override { return true; }

 private:
  Config config_;
  int64_t pairs_;
  bool hard_;
};

const Register<Rescaling, ClipLow> kClipLow{
    "clip_low", "CoPE: the lowest frequencies are lowered to 0, softly by a cosine or hard (docs/method.md 4.6)",
    "{type: clip_low, clip_low_n: 4, form: soft}"};

}  // namespace
}  // namespace qroar
