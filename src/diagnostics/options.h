// The option that diagnostics per RoPE band share.
#pragma once
#include "config/config.h"
#include "model/llama_config.h"
#include "rope/bands.h"

namespace qroar {

/// `bands` (default 6): into how many bands the pairs are grouped.
class BandsOption {
 public:
  /// `config` is the diagnostic's block.
  explicit BandsOption(const Config& config);
  /// An Error when the model has fewer pairs than bands.
  void check_model(const LlamaConfig& llama) const;
  /// rope/bands.h
  std::vector<int64_t> edges(int64_t pairs) const { return band_edges(pairs, count_); }

 private:
  Config config_;
  int64_t count_;
};

}  // namespace qroar
