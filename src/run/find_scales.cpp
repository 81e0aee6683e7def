#include "run/find_scales.h"

#include "search/search.h"

namespace qroar {
namespace {

/// Counts up when a search would score otherwise.
constexpr int kSearchVersion = 1;

/// All that scores depend on beside the search's own block.
Json search_key(const Cell& cell, const Llama& original, const std::string& model) {
  const Job& job = *cell.job;
  const at::Tensor& weights = original.embed_tokens_VD;
  Json key{kSearchVersion,
           model,
           at::toString(job.model.dtype),
           weights.is_cpu() ? "cpu" : "cuda",
           job.model.bfloat16_rope,
           job.search_quantization().key,
           cell.dev->hash,
           job.resolved["rescale"]["search"]["data"],
           dev_feed(job).bos == Bos::every};
  if (cell.dev_calibration != nullptr) key.push_back(cell.dev_calibration->hash);
  for (const int64_t length : job.rescaling->search()->spec.lengths) {
    const RopeTable table = job.table(length, original);
    key.push_back(Json{length, table.inv_freq, table.attention_factor});
  }
  return key;
}

}  // namespace

Feed dev_feed(const Job& job) {
  Feed feed;
  feed.bos = job.windows.feed.bos == Bos::none ? Bos::none : Bos::every;
  return feed;
}

std::shared_ptr<const Rescaling> find_scales(const Cell& cell, Models& models, const Llama& original,
                                             const AnglesOf& angles_of, CellOutput& output) {
  const Job& job = *cell.job;
  const BandSearch& what = *job.rescaling->search();
  const Quantization& quantization = job.search_quantization();
  const auto none = Registry<Rescaling>::instance().build(Config::parse("{type: none}", "search"));
  const std::function<Quantized()> quantized = [&]() -> Quantized {
    const at::Device device = original.embed_tokens_VD.device();
    return {models.model({job, *none, quantization, cell.dev_calibration.get()}, device), models.found()};
  };
  const SearchInput input{original, quantization.plan, quantized, angles_of, cell.dev->documents, dev_feed(job)};
  const auto guide = [&](Journal& journal) {
    return what.spec.guided ? guide_of(what, input, *job.rope, job.geometry, journal) : BandGuide();
  };
  SearchResult result = search(what, input, guide, search_key(cell, original, models.hash(job)).dump());
  output.search = {std::move(result.history), to_json(result.scales, models.hash(job)), std::move(result.summary)};
  return rescaling_by(result.scales);
}

}  // namespace qroar
