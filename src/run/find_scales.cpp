#include "run/find_scales.h"

#include <algorithm>

#include "model/angles.h"
#include "run/environment.h"
#include "search/search.h"

namespace qroar {
namespace {

/// Increment it when a search would score differently.
constexpr int kSearchVersion = 3;

/// Returns everything that scores depend on besides the search's own block.
Json search_key(const Cell& cell, const Llama& original, const std::string& model) {
  const Job& job = *cell.job;
  Json key{kSearchVersion,
           model,
           job.model.opened.tokenizer_hash,
           at::toString(job.model.spec.dtype),
           machine_bits(original.embed_tokens_VD.device()),
           job.model.spec.bfloat16_rope,
           job.search_quantization().key,
           cell.dev->hash,
           job.resolved["rescale"]["search"]["data"],
           dev_feed(job).bos == Bos::every};
  const SearchSpec& spec = job.method.search->spec;
  std::vector<int64_t> lengths = spec.lengths;
  lengths.push_back(spec.short_length);  // of the guide's pieces, and of the guard's windows unless others are shorter
  lengths.push_back(std::ranges::min(spec.lengths));
  if (cell.dev_calibration != nullptr) {
    key.push_back(cell.dev_calibration->hash);
    const CalibrationSpec& calibration = *job.search_quantization().calibration;
    if (calibration.evaluated_rope) lengths.push_back(calibration.length);
  }
  for (const int64_t length : lengths) {
    const RopeTable table = job.search_table(length, original);
    key.push_back(Json{length, table.inv_freq, table.attention_factor});
  }
  return key;
}

}  // namespace

Feed dev_feed(const Job& job) {
  Feed feed;
  feed.bos = job.data.windows.feed.bos == Bos::none ? Bos::none : Bos::every;
  return feed;
}

FoundScales find_scales(const Cell& cell, Models& models, const Llama& original) {
  const Job& job = *cell.job;
  const BandSearch& what = *job.method.search;
  const Quantization& quantization = job.search_quantization();
  const auto none = Registry<Rescaling>::instance().build(Config::parse("{type: none}", "search"));
  const std::function<Quantized()> quantized = [&]() -> Quantized {
    const at::Device device = original.embed_tokens_VD.device();
    return {models.model({job, *none, quantization, cell.dev_calibration.get()}, device), models.found()};
  };
  const AnglesOf angles_of = cached_angles([&](int64_t length) { return job.search_table(length, original); },
                                           original.embed_tokens_VD, job.model.spec.bfloat16_rope);
  const SearchInput whole{original, quantization.plan, quantized, angles_of, cell.dev->documents, dev_feed(job), [&] {
                            models.check_unchanged(job);
                          }};
  const auto find_pressure = [&](const SearchInput& input, Journal& journal) {
    return guide_of(what, input, job.search_rope(), job.search_geometry(), journal);
  };
  SearchResult result = search(what, whole, find_pressure, search_key(cell, original, models.hash(job)).dump());
  return {rescaling_by(result.scales),
          {std::move(result.history), to_json(result.scales, models.hash(job)), std::move(result.summary)}};
}

}  // namespace qroar
