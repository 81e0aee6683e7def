#include "diagnostics/options.h"

#include <fmt/format.h>

namespace qroar {

BandsOption::BandsOption(const Config& config)
    : config_(config), count_(config.get<int64_t>("bands", 6, {1, 1'000'000})) {}

void BandsOption::check_model(const LlamaConfig& llama) const {
  const int64_t pairs = llama.head_dim / 2;
  if (count_ <= pairs) return;
  config_.fail(fmt::format("{} bands need as many RoPE pairs and head_dim {} has {}; take `bands: {}` or fewer", count_,
                           llama.head_dim, pairs, pairs));
}

}  // namespace qroar
