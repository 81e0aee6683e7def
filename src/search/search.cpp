#include "search/search.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/files.h"
#include "base/random.h"
#include "search/gradient.h"
#include "search/journal.h"
#include "search/proxy.h"

namespace qroar {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// What a gradient costs in forwards: 6 to 10 were measured in bfloat16, whose forward has an attention kernel that
/// autograd has not, and 3.6 in float32 (experiments/LOG.md).
constexpr double kGradientCost = 8;

/// Windows of the proxy: its Gram matrices change little with more.
constexpr std::size_t kProxyWindows = 2;

struct Candidate {
  std::vector<double> point;  ///< ln g
  std::vector<double> nll;    ///< mean per length; empty when refused
  double short_nll = 0, score = kInfinity, cost = 0;
  std::string verdict;
};

std::vector<double> exponentials(const std::vector<double>& point) {
  std::vector<double> g;
  for (const double x : point) g.push_back(std::exp(x));
  return g;
}

/// One window a document, of `length` tokens; an Error for a document that is shorter.
std::vector<Window> dev_windows(const SearchSpec& spec, const SearchInput& input, int64_t length) {
  std::vector<int64_t> lengths;
  for (const Document& document : input.documents) {
    lengths.push_back(std::ssize(document.tokens));
    if (lengths.back() + (input.bos ? 1 : 0) < length) {
      fail("rescale.search.data: document '{}' has {} tokens and windows of {} are scored; set min_tokens: {} there",
           document.id, lengths.back(), length, std::ranges::max(spec.lengths));
    }
  }
  WindowRule rule;
  rule.length = rule.stride = length;
  rule.truncate = true;
  rule.bos = input.bos;
  return windows_of(lengths, rule);
}

class DevObjective : public Objective {
 public:
  DevObjective(const BandSearch& search, const SearchInput& input, Journal& journal)
      : spec_(search.spec), layout_(search.layout), input_(input), journal_(journal) {
    short_windows_ = dev_windows(spec_, input, std::min(spec_.short_length, std::ranges::min(spec_.lengths)));
    for (const int64_t length : spec_.lengths) windows_.push_back(dev_windows(spec_, input, length));
    identity_ = &candidate(std::vector<double>(static_cast<std::size_t>(layout_.size()), 0));
    identity_->verdict = "identity";
    best_ = 0;
  }

  double score(const std::vector<double>& point) override { return candidate(point).score; }

  std::vector<double> gradient(const std::vector<double>& point) override {
    cost_ += kGradientCost;
    ++gradients_;
    if (const auto known = journal_.find("gradient", point)) return (*known)["gradient"];
    const Llama model = scaled_model(input_, scales(point));
    const BandScales here = scales(point);
    std::vector<double> total(point.size(), 0);
    const double weights = std::accumulate(spec_.weights.begin(), spec_.weights.end(), 0.0);
    for (std::size_t i = 0; i < windows_.size(); ++i) {
      double tokens = 0;
      for (const Window& window : windows_[i]) tokens += static_cast<double>(window.scored);
      for (const Window& window : windows_[i]) {
        const at::Tensor tokens_T =
            window_tokens(input_.documents[static_cast<std::size_t>(window.document)], window, input_.bos, model);
        const ScaleGradient slope = scale_gradient(model, tokens_T, input_.angles_of(tokens_T.size(0)), window.scored);
        const double weight = spec_.weights[i] / weights * static_cast<double>(window.scored) / tokens;
        const std::vector<double> own = by_dimension(slope);
        for (std::size_t k = 0; k < total.size(); ++k) total[k] += weight * own[k];
      }
    }
    journal_.add("gradient", point, {{"gradient", total}});
    return total;
  }

  double proxy(const std::vector<double>& point) override {
    if (!distortion_) {
      std::vector<Window> windows = windows_.back();
      windows.resize(std::min(windows.size(), kProxyWindows));
      distortion_.emplace(input_, windows, layout_.edges);
      cost_ += 2 * static_cast<double>(windows.size()) / static_cast<double>(windows_.back().size());
    }
    return (*distortion_)(scales(point));
  }

  bool exhausted() const override { return spec_.budget > 0 && cost_ >= spec_.budget; }

  BandScales scales(const std::vector<double>& point) const { return {layout_, exponentials(point)}; }
  const Candidate& best() const { return candidates_[best_]; }

  CsvTable history() {
    CsvTable table{{"candidate", "verdict", "score", "short_nll", "proxy", "cost"}, {}};
    for (const int64_t length : spec_.lengths) table.columns.push_back(fmt::format("nll_{}", length));
    table.columns.emplace_back("g");
    const auto number = [](double x) { return fmt::format("{:.17g}", x); };
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      const Candidate& candidate = candidates_[i];
      table.rows.push_back({std::to_string(i), candidate.verdict, number(candidate.score), number(candidate.short_nll),
                            distortion_ ? number(proxy(candidate.point)) : "", number(candidate.cost)});
      for (std::size_t k = 0; k < spec_.lengths.size(); ++k) {
        table.rows.back().push_back(candidate.nll.empty() ? "" : number(candidate.nll[k]));
      }
      std::string g;
      for (const double x : exponentials(candidate.point)) g += (g.empty() ? "" : " ") + number(x);
      table.rows.back().push_back(g);
    }
    return table;
  }

  Json summary() {
    const auto refused = std::ranges::count(candidates_, "refused", &Candidate::verdict);
    Json summary{{"candidates", candidates_.size()},
                 {"refused", refused},
                 {"gradients", gradients_},
                 {"cost", cost_},
                 {"identity_nll", identity_->score},
                 {"dev_nll", best().score},
                 {"dev_gain", identity_->score - best().score}};
    if (distortion_) summary["proxy_rank_correlation"] = proxy_rank_correlation();
    return summary;
  }

  /// Throws an Error when the guard let nothing but the identity pass.
  void check_guard() const {
    const auto others = static_cast<std::ptrdiff_t>(candidates_.size()) - 1;
    if (others > 0 && std::ranges::count(candidates_, "refused", &Candidate::verdict) == others) {
      fail(
          "rescale.search: the guard refused all {} candidates, each raising the perplexity at {} tokens by more than "
          "{} %; raise "
          "search.guard, or narrow search.grid",
          others, short_windows_.front().end - short_windows_.front().begin, 100 * spec_.guard);
    }
  }

 private:
  /// Mean NLL over windows, nats per token.
  double mean_nll(const Llama& model, const std::vector<Window>& windows) const {
    Moments sum;
    for (const WindowLoss& loss :
         evaluate(model, input_.angles_of, input_.documents, windows, input_.bos, {}, [](const Window&) {})) {
      sum += loss.nll;
    }
    return sum.mean();
  }

  Candidate& candidate(const std::vector<double>& point) {
    const auto seen = std::ranges::find(candidates_, point, &Candidate::point);
    if (seen != candidates_.end()) return *seen;
    if (exhausted()) return beyond_budget_;
    Candidate found{point, {}, 0, kInfinity, 0, "worse"};
    if (const auto known = journal_.find("score", point)) {
      found.short_nll = (*known)["short_nll"];
      found.nll = (*known)["nll"].get<std::vector<double>>();
    } else {
      const Llama model = scaled_model(input_, scales(point));
      found.short_nll = mean_nll(model, short_windows_);
      if (!refuses(found.short_nll)) {
        for (const auto& windows : windows_) found.nll.push_back(mean_nll(model, windows));
      }
      journal_.add("score", point, {{"short_nll", found.short_nll}, {"nll", found.nll}});
    }
    cost_ += cost_of(short_windows_) + (found.nll.empty() ? 0 : 1);
    found.cost = cost_;
    if (found.nll.empty()) {
      found.verdict = "refused";
    } else {
      found.score = std::inner_product(found.nll.begin(), found.nll.end(), spec_.weights.begin(), 0.0) /
                    std::accumulate(spec_.weights.begin(), spec_.weights.end(), 0.0);
      if (!candidates_.empty() && found.score < best().score) {
        found.verdict = "best so far";
        best_ = candidates_.size();
      }
    }
    candidates_.push_back(std::move(found));
    tell();
    return candidates_.back();
  }

  bool refuses(double short_nll) const {
    return identity_ != nullptr && std::expm1(short_nll - identity_->short_nll) > spec_.guard;
  }

  /// Forward operations over windows in parts of those over all windows that are scored.
  double cost_of(const std::vector<Window>& windows) const {
    const auto flops = [&](const std::vector<Window>& of) {
      double sum = 0;
      for (const Window& window : of) sum += forward_flops(input_.full.config, tokens_seen(window, input_.bos));
      return sum;
    };
    double all = 0;
    for (const auto& of : windows_) all += flops(of);
    return flops(windows) / all;
  }

  /// d NLL / d ln g of the layout's numbers from those of every layer's pairs.
  std::vector<double> by_dimension(const ScaleGradient& slope) const {
    const auto by_band = [&](const at::Tensor& slope_LP) {
      std::vector<at::Tensor> bands;
      for (std::size_t b = 0; b + 1 < layout_.edges.size(); ++b) {
        bands.push_back(slope_LP.slice(1, layout_.edges[b], layout_.edges[b + 1]).sum(1));
      }
      const at::Tensor slope_LB = at::stack(bands, 1);
      return layout_.layers == 1 ? slope_LB.sum(0, /*keepdim=*/true) : slope_LB;
    };
    const at::Tensor query_LB = by_band(slope.query_LP), key_LB = by_band(slope.key_LP);
    const at::Tensor rows = (layout_.variant == BandVariant::shared      ? query_LB + key_LB
                             : layout_.variant == BandVariant::symmetric ? query_LB - key_LB
                                                                         : at::cat({query_LB, key_LB}, 1))
                                .contiguous();
    return {rows.const_data_ptr<double>(), rows.const_data_ptr<double>() + rows.numel()};
  }

  /// Spearman's, over the candidates that the guard let pass; null for fewer than three.
  Json proxy_rank_correlation() {
    std::vector<double> proxies, scores;
    for (const Candidate& candidate : candidates_) {
      if (candidate.nll.empty()) continue;
      proxies.push_back(proxy(candidate.point));
      scores.push_back(candidate.score);
    }
    if (scores.size() < 3) return nullptr;
    const auto ranks = [](const std::vector<double>& x) {
      return at::tensor(x, at::kDouble).argsort().argsort().to(at::kDouble);
    };
    const at::Tensor a = ranks(proxies) - ranks(proxies).mean(), b = ranks(scores) - ranks(scores).mean();
    return (at::dot(a, b) / (a.norm() * b.norm())).item<double>();
  }

  void tell() {
    const auto now = std::chrono::steady_clock::now();
    if (now - told_ < std::chrono::seconds(10)) return;
    told_ = now;
    const std::string of = spec_.budget > 0 ? fmt::format(" of {:g}", spec_.budget) : "";
    spdlog::info("search: {} candidates, {:.1f}{} forwards; best dev NLL {:.5f}, with scales of 1 {:.5f}",
                 candidates_.size(), cost_, of, best().score, identity_->score);
  }

  const SearchSpec& spec_;
  const BandLayout& layout_;
  const SearchInput& input_;
  Journal& journal_;
  std::vector<Window> short_windows_;
  std::vector<std::vector<Window>> windows_;  ///< by length
  std::deque<Candidate> candidates_;
  Candidate* identity_ = nullptr;
  Candidate beyond_budget_;
  std::size_t best_ = 0;
  double cost_ = 0;
  int64_t gradients_ = 0;
  std::optional<LogitDistortion> distortion_;
  std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
};

}  // namespace

BandScales random_of_same_norm(const BandScales& scales, uint64_t seed) {
  std::mt19937_64 random(seed);
  at::Tensor direction = at::empty({std::ssize(scales.g)}, at::kDouble);
  for (int64_t i = 0; i < direction.numel(); ++i) direction[i] = standard_normal(random);
  const at::Tensor log_g = at::tensor(scales.g, at::kDouble).log();
  const at::Tensor drawn = (direction * (log_g.norm() / direction.norm())).exp().contiguous();
  return {scales.layout, {drawn.const_data_ptr<double>(), drawn.const_data_ptr<double>() + drawn.numel()}};
}

SearchResult search(const BandSearch& search, const SearchInput& input, const BandGuide& guide,
                    const std::string& key) {
  const SearchSpec& spec = search.spec;
  const Json own{key,          search.layout.variant, search.layout.edges, search.layout.layers,
                 spec.lengths, spec.short_length,     spec.guard};
  Journal journal(cache_folder() / "search" / hash_bytes(own.dump()) / "journal.jsonl");
  DevObjective objective(search, input, journal);
  std::mt19937_64 random(static_cast<uint64_t>(search.spec.seed));
  const SearchSpace space = search_space(search.spec, search.layout, guide);
  search.spec.strategy->run(objective, space, random);
  objective.check_guard();
  SearchResult result{objective.scales(objective.best().point), objective.history(), objective.summary()};
  result.summary["guide"] = {{"pressure", guide.pressure}, {"inflation", guide.inflation}};
  result.summary["g"] = result.scales.g;
  if (search.randomize) result.scales = random_of_same_norm(result.scales, static_cast<uint64_t>(search.spec.seed));
  return result;
}

}  // namespace qroar
