// A small cell for a diagnostic to look at: a random model, its quantized view and two documents of random tokens.
#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "diagnostics/diagnostic.h"
#include "model/angles.h"
#include "support/llama.h"
#include "support/rope.h"

namespace qroar {

struct DiagnosedCell {
  Llama full, model;
  QuantPlan quant;
  std::vector<Document> documents;
  std::vector<Window> windows{{0, 0, 39, 39}, {1, 0, 30, 30}};
  std::unique_ptr<RopeScheme> scheme = make_scheme("{type: yarn, factor: 2}");
  RopeGeometry geometry;
  Feed feed;
  AnglesOf angles_of;

  /// `quant` is the YAML list of rules.
  explicit DiagnosedCell(const std::string& rules, at::ScalarType dtype = at::kFloat,
                         const LlamaConfig& config = small_llama_config())
      : full(random_llama(config, dtype, 11)),
        quant(Config::parse("quant: " + rules, "test.yaml"), config),
        geometry(config.rope_geometry(40)),
        angles_of([this, dtype](int64_t length) {
          return rope_angles(scheme->table(geometry, length), length, dtype, at::kCPU, false);
        }) {
    model = apply(quant, full, {});
    std::mt19937 random(5);
    for (const char* id : {"a", "b"}) {
      documents.push_back({id, std::vector<int32_t>(40)});
      for (int32_t& token : documents.back().tokens) {
        token = static_cast<int32_t>(random() % static_cast<uint64_t>(config.vocab_size));
      }
    }
  }
  DiagnosedCell(const DiagnosedCell&) = delete;
  DiagnosedCell& operator=(const DiagnosedCell&) = delete;

  DiagnosticInput input() const {
    static const std::function<void()> nothing = [] {};
    return input(nothing);
  }
  DiagnosticInput input(const std::function<void()>& on_window) const {
    return {full, model, quant, documents, windows, feed, angles_of, *scheme, geometry, on_window};
  }
};

/// The table of a diagnostic given in YAML, with every key of it read.
inline CsvTable diagnose(const DiagnosedCell& cell, const std::string& yaml) {
  const Config config = Config::parse(yaml, "test.yaml");
  const auto diagnostic = Registry<Diagnostic>::instance().build(config);
  check_all_read(config);
  WindowRule windows;
  windows.length = cell.geometry.target_length;
  diagnostic->check_cell(cell.full.config, windows);
  return diagnostic->run(cell.input());
}

}  // namespace qroar
