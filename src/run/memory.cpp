#include "run/memory.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "eval/gradient.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "search/scoring.h"
#include "search/strategy.h"

namespace qroar {
namespace {

int64_t size_of(at::ScalarType dtype) { return static_cast<int64_t>(c10::elementSize(dtype)); }

int64_t free_at_first(const at::Device& device) {
  static std::map<std::string, int64_t> free;
  const auto [known, fresh] = free.try_emplace(device.str());
  if (fresh) known->second = ops::available_bytes(device);
  return known->second;
}

/// Returns the tokens of the longest window of a cell's search; 0 where there is none.
int64_t longest_of_search(const Job& job) {
  return job.method.search ? std::ranges::max(job.method.search->spec.lengths) : 0;
}

int64_t longest(const Cell& cell) { return std::max(cell.longest(), longest_of_search(*cell.job)); }

/// Returns the tokens of the longest window that scale_gradient() sees; 0 where it is not called.
int64_t longest_differentiated(const Cell& cell) {
  const Job& job = *cell.job;
  const int64_t shown = job.output.diagnostics.contains("sensitivity") ? cell.longest() : 0;
  if (!job.method.search) return shown;
  const SearchSpec& search = job.method.search->spec;
  const bool asks = search.guide == SearchGuide::sensitivity || search.strategy->asks_for_gradient();
  return asks ? std::max(shown, longest_of_search(job)) : shown;
}

/// Returns the bytes that attention takes beyond a kernel's where it is computed by its definition in ATen.
int64_t plain_attention_bytes(const Cell& cell) {
  const ModelSpec& spec = cell.job->model.spec;
  const LlamaConfig& llama = cell.job->model.config;
  const bool residual = cell.job->method.quantization.plan.kv.residual() > 0;
  const bool has_kernel = residual
                              ? ops::names_cpu(spec.device) && spec.dtype == at::kBFloat16 && ops::has_cpu_attention()
                              : spec.dtype != at::kDouble;
  if (has_kernel) return 0;
  return ops::reference::attention_bytes(llama.num_attention_heads, llama.num_key_value_heads, llama.head_dim,
                                         longest(cell), spec.dtype, residual);
}

/// Returns an estimate of the bytes that the largest forward needs in addition to the weights.
int64_t forward_bytes(const Cell& cell) {
  const int64_t element_size = size_of(cell.job->model.spec.dtype);
  const int64_t tokens = longest(cell), cached = cell.job->data.tasks.empty() ? 0 : cell.job->data.windows.length;
  int64_t forward = forward_bytes(cell.job->model.config, tokens, element_size);
  if (const auto& reference = cell.job->model.reference)
    forward = std::max(forward, forward_bytes(reference->llama, tokens, size_of(reference->dtype)));
  forward += gradient_bytes(cell.job->model.config, longest_differentiated(cell), element_size);
  return forward + plain_attention_bytes(cell) + cache_bytes(cell.job->model.config, cached, element_size);
}

/// Returns the quantizer of a site's weight where it is calibrated, or null.
std::shared_ptr<const CalibratedQuantizer> calibrated_at(const QuantRules& rules, const LinearSite& site) {
  return std::dynamic_pointer_cast<const CalibratedQuantizer>(rules.weight_quantizer(site.name));
}

/// Returns how many streams of samples a calibration takes through the layers (quant/calibration_cache.h).
int64_t streams_of(const QuantRules& rules, const LlamaConfig& config) {
  bool exact = false, quantized = false;
  for (const LinearSite& site : linear_sites(config)) {
    quantized |= rules.is_static(site.name);
    const auto quantizer = calibrated_at(rules, site);
    if (quantizer != nullptr) (quantizer->sees_quantized_inputs() ? quantized : exact) = true;
  }
  return (exact ? 1 : 0) + (quantized ? 1 : 0);
}

/// Returns the most that a layer's calibration takes for itself.
int64_t layer_calibration_bytes(const QuantRules& rules, const LlamaConfig& config, int64_t length) {
  int64_t most = 0;
  for (const LinearSite& site : linear_sites(config)) {
    const auto quantizer = calibrated_at(rules, site);
    if (quantizer != nullptr) most = std::max(most, quantizer->calibration_bytes(site, length));
  }
  return most;
}

/// Returns the bytes of a calibration: its samples, each stream with a copy while it is written or the widest input of
/// a layer while it passes, and what the quantizers make of a layer.
int64_t calibration_bytes(const CalibrationText* text, const QuantRules& rules, const ModelSpec& spec,
                          const LlamaConfig& config) {
  if (text == nullptr) return 0;
  const int64_t length = std::ssize(text->samples.front()), tokens = std::ssize(text->samples) * length;
  const int64_t streams = streams_of(rules, config) * config.hidden_size;
  return tokens * (streams + std::max(streams, config.intermediate_size)) * size_of(spec.dtype) +
         layer_calibration_bytes(rules, config, length);
}

int64_t calibration_bytes(const Cell& cell) {
  const Job& job = *cell.job;
  const auto of = [&](const CalibrationText* text, const Quantization& quantization) {
    return calibration_bytes(text, quantization.plan.rules, job.model.spec, job.model.config);
  };
  return std::max(of(cell.calibration.get(), job.method.quantization),
                  of(cell.dev_calibration.get(), job.search_quantization()));
}

/// Returns whether a model of these blocks has no weight as it is read: a rotation or a draw changes them all.
bool changes_all(const Quantization& quantization) {
  const Json none = {{"type", "none"}};
  return quantization.key.value("rotation", none) != none || quantization.plan.rounding.draw > 0;
}

template <class Takes>
int64_t weights_of(const LlamaConfig& config, const Takes& takes) {
  int64_t sum = 0;
  for (const LinearSite& site : linear_sites(config)) {
    if (takes(site)) sum += site.rows * site.columns;
  }
  return sum;
}

/// Returns how many weights of a resident model are there twice, as they are read and as they are changed.
int64_t changed_weights(const Job& job) {
  const Quantization& quantization = job.method.quantization;
  if (job.method.search || changes_all(quantization)) return all_of(job.model.opened.weights);
  const bool is_scaled = !job.method.rescaling->weights_key().is_null();  // queries and keys
  return weights_of(job.model.config, [&](const LinearSite& site) {
    const bool reads_rope = site.name.ends_with(".q_proj") || site.name.ends_with(".k_proj");
    return (is_scaled && reads_rope) || quantization.plan.rules.weight_quantizer(site.name) != nullptr;
  });
}

/// Returns how many weights are there a third time: of a search's candidate, where its scales do not commute with the
/// quantizer, or else of the full-precision model beside the quantized one, where it is not as it was read.
int64_t third_weights(const Job& job) {
  const auto those_of = [&](const Quantization& quantization, const auto& takes) {
    return changes_all(quantization) ? all_of(job.model.opened.weights) : weights_of(job.model.config, takes);
  };
  const Quantization &searched = job.search_quantization(), &measured = job.method.quantization;
  int64_t third = 0;
  if (job.method.search && !commutes_with_scales(searched.plan, job.model.config)) {
    third = those_of(searched, [&rules = searched.plan.rules](const LinearSite& site) {
      return rules.weight_quantizer(site.name) != nullptr;
    });
  }
  if (!job.output.diagnostics.empty() || (job.needs_reference() && !job.model.reference)) {
    const auto folds_scales = [&rules = measured.plan.rules](const LinearSite& site) {
      const auto quantizer = calibrated_at(rules, site);
      return quantizer != nullptr && !quantizer->sees_quantized_inputs();
    };
    third = std::max(third, those_of(measured, folds_scales));
  }
  return third;
}

/// Returns the number of weights of a streamed model that are there at a time.
int64_t streamed_weights(const WeightCounts& weights, const LlamaConfig& config) {
  const int64_t ends = config.vocab_size * config.hidden_size * (config.tie_word_embeddings ? 1 : 2);
  return ends + 2 * (all_of(weights) - ends) / config.num_hidden_layers;
}

/// Returns the bytes of resident weights that stay in their files, from which they are mapped.
int64_t mapped_bytes(const Job& job, const at::Device& device) {
  if (!device.is_cpu()) return 0;
  const auto stored = [](const WeightCounts& weights, at::ScalarType dtype) {
    const auto found = weights.find(dtype);
    return found == weights.end() ? 0 : found->second * size_of(dtype);
  };
  return stored(job.model.opened.weights, job.model.spec.dtype) +
         (job.model.reference ? stored(job.model.opened.reference_weights, job.model.reference->dtype) : 0);
}

double gibibytes(int64_t bytes) { return static_cast<double>(bytes) / 0x1p30; }

}  // namespace

int64_t memory_bytes(const Cell& cell, bool streamed) {
  const Job& job = *cell.job;
  const WeightCounts& own = job.model.opened.weights;
  int64_t weights =
      streamed ? streamed_weights(own, job.model.config) : all_of(own) + changed_weights(job) + third_weights(job);
  weights *= size_of(job.model.spec.dtype);
  if (const auto& reference = job.model.reference) {
    const WeightCounts& others = job.model.opened.reference_weights;
    weights += (streamed ? streamed_weights(others, reference->llama) : all_of(others)) * size_of(reference->dtype);
  }
  return weights + std::max(forward_bytes(cell), calibration_bytes(cell));
}

bool is_streamed(const Cell& cell, const at::Device& device) {
  const Job& job = *cell.job;
  const int64_t available = free_at_first(device);
  if (job.model.spec.weights != LayerWeights::automatic) return job.model.spec.weights == LayerWeights::streamed;
  return job.needs_resident_weights().empty() && memory_bytes(cell, false) > available;
}

void check_memory(const Cell& cell, const at::Device& device, bool streamed) {
  const int64_t forward = forward_bytes(cell), calibration = calibration_bytes(cell);
  const int64_t needed = streamed ? memory_bytes(cell, true) : std::max(forward, calibration);
  const int64_t available = ops::available_bytes(device);
  const bool calibrates = calibration > forward, searches = longest(cell) > cell.longest();
  const std::string what = calibrates ? "the calibration" : fmt::format("a window of {} tokens", longest(cell));
  if (needed > available) {
    fail("{} needs about {:.1f} GiB {} and {} has {:.1f} GiB free; take {} or another device", what, gibibytes(needed),
         streamed ? "with streamed weights (embeddings, head and two layers)" : "beside the weights", device.str(),
         gibibytes(available),
         calibrates ? "fewer calibration.samples"
         : searches ? "smaller rescale.search.lengths"
                    : "a smaller windows.length");
  }
  const int64_t in_all = memory_bytes(cell, streamed) - mapped_bytes(*cell.job, device);
  if (!streamed && in_all > free_at_first(device)) {
    const std::string key = cell.job->needs_resident_weights();
    fail("resident weights and {} need about {:.1f} GiB and {} had {:.1f} GiB free; {}", what, gibibytes(in_all),
         device.str(), gibibytes(free_at_first(device)),
         key.empty() ? "say model.weights: streamed"
                     : fmt::format("streamed ones do not serve {}: take another device or model.dtype", key));
  }
}

}  // namespace qroar
