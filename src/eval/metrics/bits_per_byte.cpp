// Losses that do not depend on the tokenizer, as lm-evaluation-harness defines them: with L the summed NLL of all
// documents, word_perplexity exp(L / words), byte_perplexity exp(L / bytes) and bits_per_byte L / (bytes ln 2).  Words
// and bytes are those of the published text: the file of a detokenized text contains them (data/token_file.h). Standard
// errors assume that documents are independent (ratio estimator).
#include <cmath>
#include <map>
#include <numbers>

#include "base/error.h"
#include "eval/metric.h"

namespace qroar {
namespace {

class BitsPerByte : public Metric {
 public:
  explicit BitsPerByte(const Config& config) : config_(config) {}

  void bind(const WindowRule& windows, const DataSpec& data) override {
    const bool whole =
        windows.score == Score::all && !windows.truncate && (windows.tail == Tail::keep || windows.tail == Tail::fill);
    if (!whole)
      config_.fail(
          "needs windows that score every token of a document once: score: all, tail: keep or fill, truncate: false");
    if (windows.feed.bos == Bos::none || windows.feed.bos == Bos::replace)
      config_.fail("needs windows that score a document's first token, too; set bos: true or start");
    if (data.max_tokens > 0)
      config_.fail("needs whole documents, whose words and bytes are known; leave out data.max_tokens");
  }
  void check(const std::vector<Document>& documents, const std::vector<Window>&) const override {
    for (const Document& document : documents) {
      if (document.bytes > 0 && document.words > 0) continue;
      fail(
          "document '{}': how many words and bytes its text has is not known; make the token file again with "
          "scripts/tokenize_texts.py",
          document.id);
    }
  }
  void add(const LogitBlock& block) override {
    for (int64_t row = 0; row < block.nll_R.numel(); ++row) window_ += block.nll_R.const_data_ptr<double>()[row];
  }
  Json end_window() override { return std::exchange(window_, 0); }
  void take(const Window& window, const Json& sums) override { losses_[window.document] += sums.get<double>(); }

  std::vector<MetricValue> values(Aggregate, const std::vector<Document>& documents) const override {
    std::vector<Part> by_words, by_bytes;
    ByCluster words_by_cluster, bytes_by_cluster, bits_by_cluster;
    for (const auto& [index, loss] : losses_) {
      const Document& document = documents[static_cast<std::size_t>(index)];
      by_words.push_back({loss, static_cast<double>(document.words)});
      by_bytes.push_back({loss, static_cast<double>(document.bytes)});
      const auto add = [&](ByCluster& to, double sum, int64_t size) {
        to.add(document.cluster(), fmt::format("{}\n{}", document.id, size), sum, static_cast<double>(size));
      };
      add(words_by_cluster, loss, document.words);
      add(bytes_by_cluster, loss, document.bytes);
      add(bits_by_cluster, loss / std::numbers::ln2, document.bytes);
    }
    const auto [words, words_error] = ratio(by_words);
    const auto [bytes, bytes_error] = ratio(by_bytes);
    const auto count = static_cast<int64_t>(losses_.size());
    return {
        {"word_perplexity", std::exp(words), std::exp(words) * words_error, count, words_by_cluster.all(), "exp"},
        {"byte_perplexity", std::exp(bytes), std::exp(bytes) * bytes_error, count, bytes_by_cluster.all(), "exp"},
        {"bits_per_byte", bytes / std::numbers::ln2, bytes_error / std::numbers::ln2, count, bits_by_cluster.all()}};
  }

 private:
  struct Part {
    double loss, size;
  };

  /// Returns sum(loss) / sum(size) and its standard error.
  static std::pair<double, double> ratio(const std::vector<Part>& parts) {
    double loss = 0, size = 0, squares = 0;
    for (const Part& part : parts) {
      loss += part.loss;
      size += part.size;
    }
    const double mean = loss / size;
    for (const Part& part : parts) squares += (part.loss - part.size * mean) * (part.loss - part.size * mean);
    const auto n = static_cast<double>(parts.size());
    const double error =
        parts.size() < 2 ? std::numeric_limits<double>::quiet_NaN() : std::sqrt(squares * n / (n - 1)) / size;
    return {mean, error};
  }

  Config config_;
  double window_ = 0;
  std::map<int64_t, double> losses_;  ///< by document index
};

const Register<Metric, BitsPerByte> kBitsPerByte{
    "bits_per_byte", "perplexity per word and per byte, and bits per byte (lm-evaluation-harness)",
    "{type: bits_per_byte}"};

}  // namespace
}  // namespace qroar
