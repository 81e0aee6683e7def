// What rounding draws draw: for each format, the mean squared weight error of draws 1..N relative to draw 0's, and the
// largest correlation of a draw's errors with draw 0's (docs/method.md 5.6 has the table).
// usage: rounding_draws MODEL_FOLDER TEXTS.jsonl [draws (8)]     TEXTS: for calibrated formats.  Markdown to stdout.
#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "model/angles.h"
#include "support/rope.h"
#include "support/rounding_errors.h"

namespace qroar {
namespace {

constexpr const char* kFormats[] = {"{type: rtn, bits: 4, group: 64}",
                                    "{type: rtn, bits: 3, group: 64}",
                                    "{type: rtn, bits: 4, group: 0}",
                                    "{type: rtn, bits: 3, group: 0}",
                                    "{type: rtn, bits: 4, group: 0, symmetric: true}",
                                    "{type: nf4, block: 64}",
                                    "{type: mxfp4}",
                                    "{type: nvfp4}",
                                    "{type: fp8}",
                                    "{type: hqq, bits: 4, group: 64}",
                                    "{type: gptq, bits: 4, group: 64}",
                                    "{type: awq, bits: 4, group: 64, search_samples: 16}"};

int run(int argc, char** argv) {
  if (argc < 3) fail("usage: rounding_draws MODEL_FOLDER TEXTS.jsonl [draws]");
  const std::filesystem::path folder = argv[1];
  const int64_t draws = argc > 3 ? std::stoll(argv[3]) : 8;
  const Llama full = Checkpoint(folder).build(at::kFloat, at::kCPU);
  const LlamaConfig& llama = full.config;
  const CalibrationSpec spec(
      Config::parse(fmt::format("{{data: {{path: {}}}, samples: 32, length: 512}}", argv[2]), "calibration.yaml"));
  const CalibrationText text =
      draw_samples(choose_documents(load_corpus(spec.data.path, folder, llama), spec.data).documents, spec);
  const RopeTable table =
      make_scheme("{type: none}")
          ->table({llama.head_dim, llama.rope_theta, llama.trained_length, spec.length, llama.rope}, spec.length);
  const ops::RopeAngles angles = rope_angles(table, spec.length, at::kFloat, at::kCPU, false);
  fmt::print("| format | squared error / draw 0's | correlation with draw 0 |\n|:---|:---|---:|\n");
  for (const std::string format : kFormats) {
    const std::string blocks = fmt::format("quant: [{{match: \"layers.*\", weight: {}}}]", format);
    const auto errors_of = [&](int64_t draw) {
      return weight_errors(plan_with_draw(blocks, draw, llama), full, &text, angles);
    };
    const std::vector<at::Tensor> first = errors_of(0);
    double lowest = HUGE_VAL, highest = 0, largest = 0;
    for (int64_t draw = 1; draw <= draws; ++draw) {
      const std::vector<at::Tensor> drawn = errors_of(draw);
      const double ratio = mean_square(drawn) / mean_square(first);
      lowest = std::min(lowest, ratio);
      highest = std::max(highest, ratio);
      largest = std::max(largest, std::abs(correlation(in_draw(first, draw, full), drawn)));
    }
    // awq folds other scales in each draw, so that its weights have no common coordinates.
    const std::string correlated = format.starts_with("{type: awq") ? "" : fmt::format("{:.3f}", largest);
    fmt::print("| `{}` | {:.4f} to {:.4f} | {} |\n", format, lowest, highest, correlated);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace qroar

int main(int argc, char** argv) {
  try {
    return qroar::run(argc, argv);
  } catch (const qroar::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
