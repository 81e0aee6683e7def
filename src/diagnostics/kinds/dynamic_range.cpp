// What a longer context does to the ranges that quantizers of queries and keys see, and to their rounding: the same
// tokens in the cell's windows and in short contexts (diagnostics/matched.h), in the evaluated model (docs/method.md
// 3.10, our definition).  A group is what shares a scale in the cell's own quantizer of that place, and one head of one
// token where it has none; of cached_key that of key.  Groups of several tokens count where all of their tokens do.
// Columns: layer, site (query and key: after RoPE and rotations, before rounding; key_before_rope; cached_key: what
// attention reads), documents, count (values in each set), short_max and long_max (mean over groups of max |x|),
// max_ratio, short_step and long_step (mean over groups of the step (max - min) / 15 of a uniform grid of 4 bits),
// step_ratio, long_clipped (number of values), clip_share (share of the values in long context outside of the range
// that their channel has in the window's short contexts: what a range fixed on short texts would clip), short_error and
// long_error (root mean square of what the cell's own quantizer of that place changes; empty where it has none),
// error_ratio.  Each ratio, and the share, has _low and _high: 95 % interval over documents.
// R rows, H heads, d head_dim.
#include <array>
#include <cmath>

#include "diagnostics/diagnostic.h"
#include "diagnostics/tails.h"

namespace qroar {
namespace {

enum Site : std::size_t { kQuery, kKeyBeforeRope, kKey, kCachedKey, kSites };
constexpr const char* kSiteNames[kSites] = {"query", "key_before_rope", "key", "cached_key"};
constexpr KvCache::Place kPlaces[kSites] = {KvCache::Place::query, KvCache::Place::key_before_rope, KvCache::Place::key,
                                            KvCache::Place::key};

/// Called with rows of a layer's queries or keys, [R, H, d], and the same after the place's rounding.
using Visit = std::function<void(std::size_t layer, Site site, const at::Tensor& x_RHd, const at::Tensor& rounded_RHd)>;

/// Returns the model with layers that show what their head transforms get and give.
Llama probed(Llama model, const Visit& visit) {
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    HeadTransforms& heads = model.layers[i].heads;
    const auto watched = [&](const Transform& inner, Site site) {
      return Transform{[=](const at::Tensor& x) {
                         const at::Tensor rounded = inner(x);
                         visit(i, site, x, rounded);
                         if (site == kKey) visit(i, kCachedKey, rounded, rounded);
                         return rounded;
                       },
                       inner.couples_tokens};
    };
    heads.query = watched(heads.query, kQuery);
    heads.key_before_rope = watched(heads.key_before_rope, kKeyBeforeRope);
    heads.key = watched(heads.key, kKey);
  }
  return model;
}

/// Returns the parts of x_RHd that share a scale, as rows of one tensor for each size.
using GroupsOf = std::function<std::vector<at::Tensor>(const at::Tensor& x_RHd)>;

/// The sums of one place over tokens that count.
struct Range {
  double groups = 0, max = 0, step = 0, values = 0, square_error = 0;
  at::Tensor low_Hd, high_Hd;  ///< of every channel

  /// `counted_C`: the rows that count.
  void add(const at::Tensor& x_RHd, const at::Tensor& rounded_RHd, const at::Tensor& counted_C,
           const GroupsOf& groups_of) {
    if (counted_C.size(0) == 0) return;
    const auto dtype = ops::wide_dtype(x_RHd);
    const at::Tensor wide_RHd = x_RHd.to(dtype), wide = wide_RHd.index_select(0, counted_C);
    const at::Tensor rounded = rounded_RHd.index_select(0, counted_C).to(dtype), low = wide.amin(0),
                     high = wide.amax(0);
    values += static_cast<double>(wide.numel());
    square_error += (rounded - wide).square().sum(at::IntArrayRef{}, false, at::kDouble).item<double>();
    low_Hd = low_Hd.defined() ? at::minimum(low_Hd, low) : low;
    high_Hd = high_Hd.defined() ? at::maximum(high_Hd, high) : high;

    const at::Tensor counts_RHd = at::zeros_like(x_RHd, at::kBool).index_fill_(0, counted_C, true);
    const auto parts = groups_of(wide_RHd), counts = groups_of(counts_RHd);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const at::Tensor whole_N = counts[i].all(1), own_NS = parts[i].index({whole_N});
      if (own_NS.size(0) == 0) continue;
      groups += static_cast<double>(own_NS.size(0));
      max += own_NS.abs().amax(1).to(at::kDouble).sum().item<double>();
      step += (own_NS.amax(1) - own_NS.amin(1)).to(at::kDouble).sum().item<double>() / 15;
    }
  }
};

/// The sums of one site over windows.
struct Compared {
  int64_t count = 0, clipped = 0;
  std::array<DocumentMean, 2> max, step, square_error;  ///< in short and in long context
  DocumentMean log_max, log_step, log_error, clip;
};

class DynamicRange : public Diagnostic {
 public:
  explicit DynamicRange(const Config& config)
      : config_(config),
        short_(config.get<int64_t>("short", 512, {2, int64_t{1} << 31})),
        windows_(config.get<int64_t>("windows", 8, {1, 1'000'000})) {}

  void check_cell(const LlamaConfig&, const WindowRule& windows) const override {
    check_short_context(config_, short_, windows.length);
  }

  DiagnosticWork work() const override { return {windows_, 2}; }

  CsvTable run(const DiagnosticInput& input) const override {
    std::map<std::pair<std::size_t, Site>, Compared> all;
    for (const ClusterWindow& window : matched_windows(config_, input, short_, windows_)) {
      add_window(input, MatchedContexts(window.tokens_T, input.feed, short_, input.angles_of), window.cluster, all);
    }
    CsvTable table{{"layer",           "site",
                    "documents",       "count",
                    "short_max",       "long_max",
                    "max_ratio",       "max_ratio_low",
                    "max_ratio_high",  "short_step",
                    "long_step",       "step_ratio",
                    "step_ratio_low",  "step_ratio_high",
                    "long_clipped",    "clip_share",
                    "clip_share_low",  "clip_share_high",
                    "short_error",     "long_error",
                    "error_ratio",     "error_ratio_low",
                    "error_ratio_high"},
                   {}};
    for (const auto& [place, own] : all) {
      const auto e_to = [](double x) { return std::exp(x); };
      const auto both = [](const std::array<DocumentMean, 2>& means, double power) {
        std::vector<std::string> fields;
        for (const DocumentMean& mean : means)
          fields.push_back(mean.empty() ? "" : csv_number(std::pow(mean.estimate().value, power)));
        return fields;
      };
      const auto ratio = [&](const DocumentMean& logarithm) {
        return logarithm.empty() ? std::vector<std::string>(3) : interval_fields(logarithm.estimate(), e_to);
      };
      const bool rounds = own.square_error[0].estimate().value > 0;
      table.rows.push_back(joined({{std::to_string(place.first), kSiteNames[place.second],
                                    std::to_string(own.clip.estimate().clusters), std::to_string(own.count)},
                                   both(own.max, 1),
                                   ratio(own.log_max),
                                   both(own.step, 1),
                                   ratio(own.log_step),
                                   {std::to_string(own.clipped)},
                                   rate_fields(own.clip.estimate()),
                                   rounds ? both(own.square_error, 0.5) : std::vector<std::string>(2),
                                   rounds ? ratio(own.log_error) : std::vector<std::string>(3)}));
    }
    return table;
  }

 private:
  static void add_window(const DiagnosticInput& input, const MatchedContexts& contexts, int64_t cluster,
                         std::map<std::pair<std::size_t, Site>, Compared>& all) {
    std::map<std::pair<std::size_t, Site>, Range> in_short;
    const auto groups_of = [&](Site site) {
      return [&kv = input.quant.kv, place = kPlaces[site]](const at::Tensor& x) { return kv.groups(place, x); };
    };
    forward(probed(input.model,
                   [&](std::size_t layer, Site site, const at::Tensor& x, const at::Tensor& rounded) {
                     const at::Tensor counted_C = at::arange(1, x.size(0), contexts.counted_rows().options());
                     in_short[{layer, site}].add(x, rounded, counted_C, groups_of(site));  // without position 0
                   }),
            contexts.tokens_T(), contexts.short_attention());
    forward(
        probed(
            input.model,
            [&](std::size_t layer, Site site, const at::Tensor& x, const at::Tensor& rounded) {
              const at::Tensor& counted_C = contexts.counted_rows();
              Range in_long;
              in_long.add(x, rounded, counted_C, groups_of(site));
              compare(in_short.at({layer, site}), in_long, x.index_select(0, counted_C), cluster, all[{layer, site}]);
            }),
        contexts.tokens_T(), contexts.long_attention());
  }

  static void compare(const Range& in_short, const Range& in_long, const at::Tensor& long_RHd, int64_t cluster,
                      Compared& sums) {
    const auto add = [&](std::array<DocumentMean, 2>& means, DocumentMean& log_ratio, double weight, double s, double l,
                         double power) {
      means[0].add(cluster, weight, weight * s);
      means[1].add(cluster, weight, weight * l);
      log_ratio.add(cluster, weight, weight * power * log_tail_ratio(l, s));
    };
    if (in_short.groups > 0 && in_long.groups > 0) {  // a group of tokens may be longer than a short context
      add(sums.max, sums.log_max, in_long.groups, in_short.max / in_short.groups, in_long.max / in_long.groups, 1);
      add(sums.step, sums.log_step, in_long.groups, in_short.step / in_short.groups, in_long.step / in_long.groups, 1);
    }
    add(sums.square_error, sums.log_error, in_long.values, in_short.square_error / in_short.values,
        in_long.square_error / in_long.values, 0.5);
    const at::Tensor wide_RHd = long_RHd.to(in_short.low_Hd.scalar_type());
    const int64_t clipped = (wide_RHd < in_short.low_Hd).logical_or(wide_RHd > in_short.high_Hd).sum().item<int64_t>();
    sums.count += long_RHd.numel();
    sums.clipped += clipped;
    sums.clip.add(cluster, static_cast<double>(long_RHd.numel()), static_cast<double>(clipped));
  }

  Config config_;
  int64_t short_, windows_;
};

const Register<Diagnostic, DynamicRange> kDynamicRange{
    "dynamic_range",
    "range, step, clipping and rounding of queries and keys: the same tokens in long and short context",
    "{type: dynamic_range, short: 16, windows: 8}"};

}  // namespace
}  // namespace qroar
