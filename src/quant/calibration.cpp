#include "quant/calibration.h"

#include <random>
#include <span>

#include "base/error.h"
#include "base/hash.h"

namespace qroar {

CalibrationSpec::CalibrationSpec(const Config& config)
    : data(read_data_spec(config.at("data"))),
      samples(config.get<int64_t>("samples", 128, {1, 1'000'000})),
      length(config.get<int64_t>("length", 512, {2, int64_t{1} << 20})),
      seed(config.get<int64_t>("seed", 0)),
      evaluated_rope(config.get_choice<bool>("rope", false, {{"trained", false}, {"evaluated", true}})) {}

CalibrationText draw_samples(const std::vector<Document>& documents, const CalibrationSpec& spec) {
  std::vector<std::span<const int32_t>> blocks;
  for (const Document& document : documents) {
    const std::span<const int32_t> tokens(document.tokens);
    for (int64_t begin = 0; begin + spec.length <= std::ssize(tokens); begin += spec.length) {
      blocks.push_back(tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(spec.length)));
    }
  }
  if (std::ssize(blocks) < spec.samples) {
    fail(
        "{}: the calibration text has {} blocks of {} tokens and calibration.samples asks for {}; give it more text, "
        "or lower calibration.samples or calibration.length",
        spec.data.path.string(), blocks.size(), spec.length, spec.samples);
  }
  // The Fisher-Yates shuffle, written out because std::shuffle may differ between standard libraries.
  std::mt19937_64 random(static_cast<uint64_t>(spec.seed));
  CalibrationText text;
  std::string bytes;
  for (std::size_t i = 0; i < static_cast<std::size_t>(spec.samples); ++i) {
    std::swap(blocks[i], blocks[i + random() % (blocks.size() - i)]);
    text.samples.emplace_back(blocks[i].begin(), blocks[i].end());
    bytes.append(reinterpret_cast<const char*>(blocks[i].data()), blocks[i].size_bytes());
  }
  text.hash = hash_bytes(bytes);
  return text;
}

}  // namespace qroar
