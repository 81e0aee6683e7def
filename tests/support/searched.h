// A search on a small random model, with a cache of its own.
#pragma once
#include <cstdlib>

#include "rope/bands.h"
#include "search/search.h"
#include "support/diagnostic.h"
#include "support/scratch.h"

namespace qroar {

inline SearchSpec spec_of(const std::string& more, const Scratch& scratch) {
  const auto text = scratch.write("dev.jsonl", "{}");
  const Config config =
      Config::parse("{data: {path: " + text.string() + "}, lengths: [36], short_length: 12" + more + "}", "s.yaml");
  SearchSpec spec(config);
  check_all_read(config);
  return spec;
}

/// A search on DiagnosedCell's model and documents; each has a cache of its own.
struct Searched {
  explicit Searched(const std::string& more, BandVariant variant = BandVariant::shared, int64_t layers = 1,
                    at::ScalarType dtype = at::kFloat, const LlamaConfig& config = small_llama_config())
      : cell("[{match: 'layers.*', weight: {type: rtn, bits: 2, group: 16}}]", dtype, config),
        what{spec_of(more, scratch), {variant, band_edges(config.pairs(), 3), layers}},
        quantized([this]() -> Quantized {
          ++asked;
          return {cell.model, nothing_found};
        }),
        input{cell.full, cell.quant, quantized, cell.angles_of, cell.documents, {Bos::none, false}} {
    setenv("QROAR_CACHE", scratch.folder().c_str(), 1);
  }
  ~Searched() { unsetenv("QROAR_CACHE"); }

  SearchResult run() const {
    return search(
        what, input, [](const SearchInput&, Journal&) { return BandGuide(); }, "key");
  }
  std::filesystem::path journal() const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch.folder() / "search")) {
      if (entry.path().filename() == "journal.jsonl") return entry.path();
    }
    return {};
  }

  Scratch scratch;
  TensorMap nothing_found;
  DiagnosedCell cell;
  BandSearch what;
  int64_t asked = 0;  ///< how often for the quantized model
  std::function<Quantized()> quantized;
  SearchInput input;
};

}  // namespace qroar
