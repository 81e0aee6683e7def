// Dimensions: L layers, K heads of keys (1: all alike), P pairs, B bands.
#include "search/dev_objective.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/statistics.h"
#include "eval/gradient.h"
#include "search/folds.h"

namespace qroar {
namespace {

/// Number of windows of the proxy: more windows change its Gram matrices little.
constexpr std::size_t kProxyWindows = 2;

/// Returns one window of `length` tokens per document.
std::vector<Window> dev_windows(const SearchInput& input, int64_t length) {
  std::vector<int64_t> lengths;
  for (const Document& document : input.documents) lengths.push_back(std::ssize(document.tokens));
  WindowRule rule;
  rule.length = rule.stride = length;
  rule.truncate = true;
  rule.feed = input.feed;
  return windows_of(lengths, rule);
}

/// Returns d NLL / d ln g of a layout's numbers from the derivatives of every head's pairs.
std::vector<double> by_dimension(const ScaleGradient& slope, const BandLayout& layout) {
  const auto by_band = [&](const at::Tensor& slope_LKP) {
    std::vector<at::Tensor> bands;
    for (std::size_t b = 0; b + 1 < layout.edges.size(); ++b) {
      bands.push_back(slope_LKP.slice(2, layout.edges[b], layout.edges[b + 1]).sum(2));
    }
    const at::Tensor slope_LKB = at::stack(bands, 2);
    return layout.layers == 1 ? slope_LKB.sum(0, /*keepdim=*/true) : slope_LKB;
  };
  const at::Tensor query_LKB = by_band(slope.query_LKP), key_LKB = by_band(slope.key_LKP);
  const at::Tensor rows = (layout.variant == BandVariant::shared      ? query_LKB + key_LKB
                           : layout.variant == BandVariant::symmetric ? query_LKB - key_LKB
                                                                      : at::cat({query_LKB, key_LKB}, 2))
                              .contiguous();
  return {rows.const_data_ptr<double>(), rows.const_data_ptr<double>() + rows.numel()};
}

std::string number(double x) { return fmt::format("{:.17g}", x); }

}  // namespace

void check_dev_documents(const SearchSpec& spec, const std::vector<Document>& documents, const Feed& feed) {
  const int64_t length = std::ranges::max(spec.lengths);
  for (const Document& document : documents) {
    if (std::ssize(document.tokens) + feed.added() >= length) continue;
    fail("rescale.search.data: document '{}' has {} tokens and windows of {} are scored; set min_tokens: {} there",
         document.id, document.tokens.size(), length, length);
  }
  folds_of(documents, spec.folds);
}

DevObjective::DevObjective(const BandSearch& search, const SearchInput& input, Journal& journal)
    : spec_(search.spec), layout_(search.layout), input_(input), journal_(journal) {
  check_dev_documents(spec_, input.documents, input.feed);
  short_windows_ = dev_windows(input, std::min(spec_.short_length, std::ranges::min(spec_.lengths)));
  for (const int64_t length : spec_.lengths) windows_.push_back(dev_windows(input, length));
  candidate(std::vector<double>(static_cast<std::size_t>(layout_.size()), 0));
  candidates_.front().verdict = "identity";
}

BandScales DevObjective::scales(const std::vector<double>& point) const {
  BandScales scales{layout_, {}};
  for (const double x : point) scales.g.push_back(std::exp(x));
  return scales;
}

double DevObjective::mean_nll(const Llama& model, const std::vector<Window>& windows) const {
  Moments sum;
  for (const WindowLoss& loss :
       evaluate({model, nullptr, input_.angles_of, input_.documents, windows, input_.feed}, {})) {
    sum += loss.nll;
  }
  return sum.mean();
}

bool DevObjective::refuses(double short_nll) const {
  return !candidates_.empty() && std::expm1(short_nll - candidates_.front().short_nll) > spec_.guard;
}

/// Returns the forward operations over `windows` as a fraction of those over all scored windows.
double DevObjective::cost_of(const std::vector<Window>& windows) const {
  const auto flops = [&](const std::vector<Window>& of) {
    double sum = 0;
    for (const Window& window : of) sum += forward_flops(input_.full.config, tokens_seen(window, input_.feed));
    return sum;
  };
  double all = 0;
  for (const auto& of : windows_) all += flops(of);
  return flops(windows) / all;
}

Candidate DevObjective::scored(const std::vector<double>& point) {
  Candidate found;
  found.point = point;
  if (const auto known = journal_.find("score", point)) {
    found.short_nll = (*known)["short_nll"];
    found.nll = (*known)["nll"].get<std::vector<double>>();
    return found;
  }
  const Llama model = scaled_model(input_, scales(point));
  found.short_nll = mean_nll(model, short_windows_);
  if (!refuses(found.short_nll)) {
    for (const auto& windows : windows_) found.nll.push_back(mean_nll(model, windows));
  }
  journal_.add("score", point, {{"short_nll", found.short_nll}, {"nll", found.nll}});
  return found;
}

const Candidate& DevObjective::candidate(const std::vector<double>& point) {
  const auto seen = std::ranges::find(candidates_, point, &Candidate::point);
  if (seen != candidates_.end()) return *seen;
  if (exhausted()) return beyond_budget_;
  Candidate found = scored(point);
  cost_ += cost_of(short_windows_) + (found.nll.empty() ? 0 : 1);
  found.cost = cost_;
  found.verdict = found.nll.empty() ? "refused" : "worse";
  if (!found.nll.empty()) {
    found.score = std::inner_product(found.nll.begin(), found.nll.end(), spec_.weights.begin(), 0.0) /
                  std::accumulate(spec_.weights.begin(), spec_.weights.end(), 0.0);
  }
  if (!candidates_.empty() && found.score < best().score) {
    found.verdict = "best so far";
    best_ = candidates_.size();
  }
  candidates_.push_back(std::move(found));
  log_progress();
  return candidates_.back();
}

std::vector<double> DevObjective::sensitivity() {
  slope_at_1_ = gradient(candidates_.front().point);
  std::vector<double> sizes;
  for (const double slope : slope_at_1_) {
    if (!std::isfinite(slope)) {
      fail("rescale.search: the gradient at scales of 1 is not finite, so that it cannot guide; write guide: pressure");
    }
    sizes.push_back(std::abs(slope));
  }
  return sizes;
}

std::vector<double> DevObjective::gradient(const std::vector<double>& point) {
  if (!slope_at_1_.empty() && point == candidates_.front().point) return slope_at_1_;
  cost_ += kGradientCost;
  ++gradients_;
  const std::vector<std::vector<double>> by_length = gradients_by_length(point);
  std::vector<double> total(point.size(), 0);
  const double weights = std::accumulate(spec_.weights.begin(), spec_.weights.end(), 0.0);
  for (std::size_t i = 0; i < by_length.size(); ++i) {
    for (std::size_t k = 0; k < total.size(); ++k) total[k] += spec_.weights[i] / weights * by_length[i][k];
  }
  return total;
}

std::vector<std::vector<double>> DevObjective::gradients_by_length(const std::vector<double>& point) {
  if (const auto known = journal_.find("gradients", point)) return (*known)["by_length"];
  const Llama model = scaled_model(input_, scales(point));
  std::vector<std::vector<double>> by_length;
  for (const std::vector<Window>& windows : windows_) {
    std::vector<double>& total = by_length.emplace_back(point.size(), 0);
    double tokens = 0;
    for (const Window& window : windows) tokens += static_cast<double>(window.scored);
    for (const Window& window : windows) {
      const Document& document = input_.documents[static_cast<std::size_t>(window.document)];
      const at::Tensor tokens_T = window_tokens(document, window, input_.feed, model);
      const ScaleGradient slope =
          scale_gradient(model, tokens_T, input_.angles_of(tokens_T.size(0)), window.scored, layout_.heads);
      const double weight = static_cast<double>(window.scored) / tokens;
      const std::vector<double> own = by_dimension(slope, layout_);
      for (std::size_t k = 0; k < total.size(); ++k) total[k] += weight * own[k];
    }
  }
  journal_.add("gradients", point, {{"by_length", by_length}});
  return by_length;
}

double DevObjective::proxy(const std::vector<double>& point) {
  if (!distortion_) {
    std::vector<Window> windows = windows_.back();
    windows.resize(std::min(windows.size(), kProxyWindows));
    distortion_.emplace(input_, windows, layout_.edges, journal_);
    cost_ += 2 * cost_of(windows);  // both models
  }
  return (*distortion_)(scales(point));
}

CsvTable DevObjective::history() {
  CsvTable table{{"candidate", "verdict", "score", "short_nll", "proxy", "cost"}, {}};
  for (const int64_t length : spec_.lengths) table.columns.push_back(fmt::format("nll_{}", length));
  table.columns.emplace_back("g");
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    const Candidate& candidate = candidates_[i];
    std::vector<std::string> row{std::to_string(i),
                                 candidate.verdict,
                                 number(candidate.score),
                                 number(candidate.short_nll),
                                 distortion_ ? number(proxy(candidate.point)) : "",
                                 number(candidate.cost)};
    for (std::size_t k = 0; k < spec_.lengths.size(); ++k) {
      row.push_back(candidate.nll.empty() ? "" : number(candidate.nll[k]));
    }
    std::string g;
    for (const double x : scales(candidate.point).g) g += (g.empty() ? "" : " ") + number(x);
    row.push_back(g);
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::ptrdiff_t DevObjective::refused() const { return std::ranges::count(candidates_, "refused", &Candidate::verdict); }

Json DevObjective::summary() {
  const double identity = candidates_.front().score;
  Json summary{{"candidates", candidates_.size()},
               {"refused", refused()},
               {"gradients", gradients_},
               {"cost", cost_},
               {"identity_nll", identity},
               {"dev_nll", best().score},
               {"dev_gain", identity - best().score}};
  if (distortion_) summary["proxy_rank_correlation"] = proxy_rank_correlation();
  return summary;
}

std::string DevObjective::note() const {
  const auto others = std::ssize(candidates_) - 1;
  if (others == 0 || refused() < others) return "";
  return fmt::format(
      "the guard refused all {} candidates, each raising the perplexity at {} tokens by more than {:g} %: scales stay "
      "1; a larger search.guard or a narrower search.grid may find others",
      others, tokens_seen(short_windows_.front(), input_.feed), 100 * spec_.guard);
}

/// Returns rank_correlation() of proxies and scores of the candidates that the guard accepted, or null.
Json DevObjective::proxy_rank_correlation() {
  std::vector<double> proxies, scores;
  for (const Candidate& candidate : candidates_) {
    if (candidate.nll.empty()) continue;
    proxies.push_back(proxy(candidate.point));
    scores.push_back(candidate.score);
  }
  const std::optional<double> found = rank_correlation(proxies, scores);
  return found ? Json(*found) : Json();
}

void DevObjective::log_progress() {
  const auto now = std::chrono::steady_clock::now();
  if (now - logged_ < std::chrono::seconds(10)) return;
  logged_ = now;
  const std::string of = spec_.budget > 0 ? fmt::format(" of {:g}", spec_.budget) : "";
  spdlog::info("search: {} candidates, {:.1f}{} forwards; best dev NLL {:.5f}, with scales of 1 {:.5f}",
               candidates_.size(), cost_, of, best().score, candidates_.front().score);
}

}  // namespace qroar
