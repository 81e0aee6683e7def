// The loss by position in the window: the mean NLL of the tokens whose position in what the model sees lies in each of
// `bins` equal parts of the window's length, and that of the last `last` positions.  The curve is
// metrics/nll_by_position.csv: begin, end (positions, end excluded), tokens, nll, low, high (95 %), clusters.
#include <algorithm>

#include "eval/metric.h"

namespace qroar {
namespace {

class NllByPosition : public Metric {
 public:
  explicit NllByPosition(const Config& config)
      : config_(config),
        bins_(config.get<int64_t>("bins", 32, {1, 1 << 16})),
        last_(config.get<int64_t>("last", 1024, {1, int64_t{1} << 31})) {}

  void bind(const WindowRule& windows, const DataSpec&) override {
    if (last_ > windows.length) {
      config_.fail(fmt::format("the last {} tokens are more than the windows' {}; set last: {} or less", last_,
                               windows.length, windows.length));
    }
    length_ = windows.length;
    feed_ = windows.feed;
    // A token that the model does not see has no position of its own: positions are then those of the rows that
    // predict.
    shift_ = windows.feed.beyond ? 0 : 1;
    of_bin_.resize(static_cast<std::size_t>(bins_));
    window_.resize(of_bin_.size());
  }

  void check(const std::vector<Document>&, const std::vector<Window>& windows) const override {
    const int64_t longest = longest_seen(windows, feed_);
    if (longest > length_ - last_) return;
    config_.fail(fmt::format(
        "no token lies in the last {} of {} places: the longest window has {}; set windows.length: {} or less, or "
        "last: {} or more",
        last_, length_, longest, longest, length_ - longest + 1));
  }

  void add(const LogitBlock& block) override {
    for (int64_t row = 0; row < block.nll_R.numel(); ++row) {
      const double nll = block.nll_R.const_data_ptr<double>()[row];
      const int64_t place = block.first + row + shift_;
      window_[static_cast<std::size_t>(std::min(place * bins_ / length_, bins_ - 1))].add(nll);
      if (place >= length_ - last_) window_last_.add(nll);
    }
  }
  Json end_window() override {
    Json sums = Json::array({to_json(std::exchange(window_last_, {}))});
    for (Moments& bin : window_) sums.push_back(to_json(std::exchange(bin, {})));
    return sums;
  }
  void take(const Window& window, const Json& sums) override {
    last_places_.take(window, moments_of(sums[0]));
    for (std::size_t b = 0; b < of_bin_.size(); ++b) of_bin_[b].take(window, moments_of(sums[b + 1]));
  }

  std::vector<MetricValue> values(Aggregate, const std::vector<Document>& documents) const override {
    return {last_places_.value(fmt::format("nll_last_{}", last_), documents)};
  }
  std::optional<Curve> curve(const std::vector<Document>& documents) const override {
    Curve curve{"nll_by_position", {{"begin", "end", "tokens", "nll", "low", "high", "clusters"}, {}}, {}};
    for (int64_t b = 0; b < bins_; ++b) {
      const Places& bin = of_bin_[static_cast<std::size_t>(b)];
      if (bin.nll.count == 0) continue;
      const int64_t begin = (b * length_ + bins_ - 1) / bins_, end = ((b + 1) * length_ + bins_ - 1) / bins_;
      curve.points.push_back(bin.value(fmt::format("{}/{}-{}", curve.name, begin, end), documents));
      const Estimate mean = estimate(curve.points.back().clusters);
      curve.table.rows.push_back({std::to_string(begin), std::to_string(end), std::to_string(bin.nll.count),
                                  csv_number(bin.nll.mean()), csv_number(mean.low()), csv_number(mean.high()),
                                  std::to_string(mean.clusters)});
    }
    return curve;
  }

 private:
  /// The losses of some places of all windows.
  struct Places {
    Moments nll;
    WindowsByCluster by_cluster;

    void take(const Window& window, const Moments& more) {
      nll += more;
      by_cluster.add(window, more.count, more.sum);
    }
    MetricValue value(const std::string& name, const std::vector<Document>& documents) const {
      return {name, nll.mean(), nll.standard_error(), nll.count, by_cluster.all(documents)};
    }
  };

  Config config_;
  int64_t bins_, last_;
  int64_t length_ = 1, shift_ = 1;
  Feed feed_;
  std::vector<Moments> window_;  ///< by bin, of the window that is being scored
  Moments window_last_;
  std::vector<Places> of_bin_;
  Places last_places_;
};

const Register<Metric, NllByPosition> kNllByPosition{
    "nll_by_position", "mean NLL by the place in the window (a curve), and of the last tokens",
    "{type: nll_by_position, bins: 32, last: 1024}"};

}  // namespace
}  // namespace qroar
