// The true objective of a search: the weighted mean NLL over one window of each dev document, with the guard at short
// length.  It remembers every candidate and writes them to a journal.
#pragma once
#include <chrono>
#include <deque>

#include "base/csv.h"
#include "search/journal.h"
#include "search/proxy.h"
#include "search/spec.h"

namespace qroar {

/// Throws an Error for a dev document that is shorter than the scored windows, and for fewer groups of them than folds.
void check_dev_documents(const SearchSpec& spec, const std::vector<Document>& documents, const Feed& feed);

struct Candidate {
  std::vector<double> point;  ///< ln g
  std::vector<double> nll;    ///< mean per length; empty when refused
  double short_nll = 0;
  double score = std::numeric_limits<double>::infinity();
  double cost = 0;  ///< of the search up to and including this candidate, in forwards over all dev windows
  std::string verdict;
};

class DevObjective : public Objective {
 public:
  /// Scores the identity.  Throws an Error for a dev document that is shorter than a window.
  DevObjective(const BandSearch& search, const SearchInput& input, Journal& journal);

  double score(const std::vector<double>& point) override { return candidate(point).score; }
  std::vector<double> gradient(const std::vector<double>& point) override;
  double proxy(const std::vector<double>& point) override;
  bool exhausted() const override { return spec_.budget > 0 && cost_ >= spec_.budget; }

  BandScales scales(const std::vector<double>& point) const;
  const Candidate& best() const { return candidates_[best_]; }
  /// Returns |d score / d ln g| at scales of 1, for the guide.  Its cost counts, and a strategy that asks for the same
  /// gradient pays nothing for it.  Throws an Error where it is not finite.
  std::vector<double> sensitivity();

  /// Returns one row per candidate, in order.
  CsvTable history();
  /// Returns what the cell's row contains about the search.
  Json summary();
  /// Returns what to say where the guard refused every candidate, so that scales stay 1; else nothing.
  std::string note() const;

 private:
  const Candidate& candidate(const std::vector<double>& point);
  /// Returns the point's losses, from the journal or from forwards.
  Candidate scored(const std::vector<double>& point);
  /// Returns the gradient of each length's mean NLL, from the journal or from forwards; the journal has them apart
  /// since searches with other weights share it.
  std::vector<std::vector<double>> gradients_by_length(const std::vector<double>& point);
  double mean_nll(const Llama& model, const std::vector<Window>& windows) const;
  bool refuses(double short_nll) const;
  double cost_of(const std::vector<Window>& windows) const;
  std::ptrdiff_t refused() const;
  Json proxy_rank_correlation();
  void log_progress();

  const SearchSpec& spec_;
  const BandLayout& layout_;
  const SearchInput& input_;
  Journal& journal_;
  std::vector<Window> short_windows_;
  std::vector<std::vector<Window>> windows_;  ///< by length
  std::deque<Candidate> candidates_;          ///< the first is the identity
  const Candidate beyond_budget_;
  std::size_t best_ = 0;
  double cost_ = 0;
  int64_t gradients_ = 0;
  std::vector<double> slope_at_1_;  ///< empty until the guide asks for it
  std::optional<LogitDistortion> distortion_;
  std::chrono::steady_clock::time_point logged_ = std::chrono::steady_clock::now();
};

}  // namespace qroar
