// AWQ, activation-aware weight quantization (Lin et al. arXiv 2306.00978; rules of llm-awq's auto_scale.py and
// auto_clip.py, `duo_scaling` of AutoAWQ; docs/method.md 7.1).  For each group of layers that read one tensor, searches
// a scale per input channel under which the channels with large activations are rounded more finely; then, for each
// group of weights, the ratio of its maximum to clip to.  One difference is ours: the scale search uses the first
// `search_samples` samples, because it needs 20 forwards of each sublayer; the channel means use all samples.
#include <limits>
#include <numeric>

#include "base/error.h"
#include "quant/awq_search.h"
#include "quant/calibrated.h"
#include "quant/fold.h"

namespace qroar {
namespace {

constexpr int64_t kClipTokens = 512;  ///< evenly spaced tokens that clipping errors are averaged over

struct AwqKeys {
  bool duo_scaling, apply_clip;
  int64_t search_samples;
};

/// Returns RTN(W * s) / s where the rule quantizes the layer, else W unchanged.
at::Tensor candidate_weight(const Linear& linear, const at::Tensor& scale_I, const Quantizer& rtn, bool taken) {
  if (!taken) return linear.weight_OI;
  const at::Tensor rounded_OI = rtn.fake_quantize(scale_columns(linear.weight_OI, scale_I));
  return scale_columns(rounded_OI, scale_I.reciprocal());
}

/// Returns llm-awq's stride tokens / 512, increased until it is coprime to the samples' length: a stride of 128 would
/// take every fourth token from the beginning of a sample, where models have their attention sinks.
int64_t clip_stride(int64_t tokens, int64_t length) {
  int64_t stride = std::max<int64_t>(1, tokens / kClipTokens);
  while (std::gcd(stride, length) > 1) ++stride;
  return stride;
}

class AwqCalibrator : public LayerCalibrator {
 public:
  AwqCalibrator(const LayerContext& context, const Rtn& rtn, const AwqKeys& keys)
      : context_(context), rtn_(rtn), keys_(keys), stride_(clip_stride(tokens(), context.length)) {
    for (const ScaleGroup& group : scale_groups()) {
      if (takes_any(group)) readers_[(layer().*group.linears.front()).site] = {};
    }
  }

  void begin_sample(int64_t index) override {
    sample_ = index;
    for (auto& [site, reader] : readers_) reader.position = index * context_.length;
  }

  void on_input(std::string_view site, const at::Tensor& x_RI) override {
    const auto found = readers_.find(std::string(site));
    if (found == readers_.end()) return;
    Reader& reader = found->second;
    const at::Tensor sum_I = x_RI.abs().sum(0, /*keepdim=*/false, ops::wide_dtype(x_RI));
    reader.sum_I = reader.sum_I.defined() ? reader.sum_I + sum_I : sum_I;
    if (sample_ < keys_.search_samples) reader.samples[sample_].push_back(x_RI);
    const int64_t first = (stride_ - reader.position % stride_) % stride_;
    if (first < x_RI.size(0)) reader.strided.push_back(x_RI.slice(0, first, x_RI.size(0), stride_).clone());
    reader.position += x_RI.size(0);
  }

  TensorMap found() override {
    DecoderLayer scaled = layer();
    for (const ScaleGroup& group : scale_groups()) {
      if (!can_fold(layer(), group) || !takes_any(group)) continue;
      const at::Tensor scale_I = search_scale(group);
      found_["scale." + group.name] = scale_I;
      fold_scale(scaled, group, scale_I);
    }
    for (const ScaleGroup& group : scale_groups()) {
      for (const auto member : group.linears) {
        const Linear& linear = scaled.*member;
        // Queries and keys are multiplied with each other, so clipping their weights costs more than their own error
        // shows.
        const bool meets = member == &DecoderLayer::q_proj || member == &DecoderLayer::k_proj;
        if (keys_.apply_clip && !meets && context_.takes(linear.site)) {
          const auto scale = found_.find("scale." + group.name);
          at::Tensor x_NI = at::cat(reader(group).strided).to(reader(group).sum_I.scalar_type());
          if (scale != found_.end()) x_NI = x_NI / scale->second;
          found_["clip." + name_in_layer(linear.site)] = awq_clip_parts(linear.weight_OI, x_NI, rtn_);
        }
      }
    }
    readers_.clear();
    return found_;
  }

 private:
  /// What is kept of the inputs of the layers that read one tensor.
  struct Reader {
    at::Tensor sum_I;                                    ///< sum of absolute values over all tokens
    std::map<int64_t, std::vector<at::Tensor>> samples;  ///< blocks of rows of the samples that the search uses
    std::vector<at::Tensor> strided;                     ///< every stride-th of all tokens
    int64_t position = 0;                                ///< of the next token among all tokens
  };

  const DecoderLayer& layer() const { return context_.layer; }
  int64_t tokens() const { return context_.samples * context_.length; }
  const Reader& reader(const ScaleGroup& group) const { return readers_.at((layer().*group.linears.front()).site); }
  bool takes_any(const ScaleGroup& group) const {
    return std::ranges::any_of(group.linears, [&](auto member) { return context_.takes((layer().*member).site); });
  }

  /// Returns the output by which candidates are judged: that of the whole sublayer where several layers act together.
  at::Tensor inspected(const DecoderLayer& layer, const ScaleGroup& group, const at::Tensor& x_TI) const {
    if (group.name == "input_layernorm") return self_attention(layer, context_.config, x_TI, context_.angles);
    if (group.name == "post_attention_layernorm") return mlp(layer, x_TI);
    const Linear& linear = layer.*group.linears.front();
    return linear.bias_O.defined() ? at::linear(x_TI, linear.weight_OI, linear.bias_O)
                                   : at::linear(x_TI, linear.weight_OI);
  }

  at::Tensor search_scale(const ScaleGroup& group) const {
    std::vector<at::Tensor> inputs, outputs;
    for (const auto& [index, blocks] : reader(group).samples) {
      inputs.push_back(at::cat(blocks));
      outputs.push_back(inspected(layer(), group, inputs.back()));
    }
    const at::Tensor input_I = reader(group).sum_I / static_cast<double>(tokens());
    at::Tensor weight_I;
    if (keys_.duo_scaling) {
      std::vector<at::Tensor> weights;
      for (const auto member : group.linears) weights.push_back((layer().*member).weight_OI);
      weight_I = awq_weight_means(at::cat(weights), rtn_.group());
    }
    double best_loss = std::numeric_limits<double>::infinity();
    at::Tensor best_I;
    for (int step = 0; step < kAwqGrid; ++step) {
      const at::Tensor scale_I = awq_scale(input_I, weight_I, static_cast<double>(step) / kAwqGrid);
      DecoderLayer candidate = layer();
      for (const auto member : group.linears) {
        Linear& linear = candidate.*member;
        linear.weight_OI = candidate_weight(linear, scale_I, rtn_, context_.takes(linear.site));
      }
      double loss = 0;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const at::Tensor error = inspected(candidate, group, inputs[i]).to(ops::wide_dtype(outputs[i])) - outputs[i];
        loss += error.square().sum(at::kDouble).item<double>();
      }
      if (loss < best_loss) {
        best_loss = loss;
        best_I = scale_I;
      }
    }
    if (!best_I.defined()) {
      fail("awq: no scale of {} in {} gives a finite error; are there NaN or infinite weights or activations?",
           group.name, layer().site);
    }
    return best_I;
  }

  LayerContext context_;
  const Rtn& rtn_;
  AwqKeys keys_;
  int64_t stride_, sample_ = 0;
  std::map<std::string, Reader> readers_;
  TensorMap found_;
};

class Awq : public CalibratedQuantizer {
 public:
  explicit Awq(const Config& config)
      : CalibratedQuantizer(config, {.zero = ops::RtnZero::awq}),
        keys_{config.get<bool>("duo_scaling", false), config.get<bool>("apply_clip", true),
              config.get<int64_t>("search_samples", 8, {1, 1'000'000})} {
    if (rtn_.group() < 0) config.at("group").fail("awq searches within rows; take a size or 0 for one group a row");
  }

  bool sees_quantized_inputs() const override { return false; }

  std::unique_ptr<LayerCalibrator> watch(const LayerContext& context) const override {
    return std::make_unique<AwqCalibrator>(context, rtn_, keys_);
  }

  /// The inputs of the samples that are searched with, and what clipping makes of a weight: it, its error, products.
  int64_t calibration_bytes(const LinearSite& site, int64_t length) const override {
    return 4 * site.columns * (keys_.search_samples * length + 6 * site.rows);
  }

  void apply(DecoderLayer& layer, const TakesSite& takes, const TensorMap& found) const override {
    for (const auto member : kLayerLinears) {
      Linear& linear = layer.*member;
      if (!takes(linear.site)) continue;
      const auto clip = found.find("clip." + name_in_layer(linear.site));
      const at::Tensor part_OG = clip == found.end() ? at::Tensor() : clip->second;
      linear.change([part_OG, rtn = rtn_](const at::Tensor& weight_OI) {
        if (!part_OG.defined()) return rtn.fake_quantize(weight_OI.contiguous());
        return rtn.fake_quantize(awq_clipped(weight_OI, part_OG.to(weight_OI.device())).contiguous());
      });
    }
  }

 private:
  AwqKeys keys_;
};

const Register<Quantizer, Awq> kAwq{
    "awq", "activation-aware scales and clipping, then rtn with zero: awq (arXiv 2306.00978); needs `calibration`",
    "{type: awq, bits: 4, group: 64, duo_scaling: false, apply_clip: true, search_samples: 8}"};

}  // namespace
}  // namespace qroar
