// Means of a diagnostic with intervals over documents (base/interval.h): the tokens, queries and values of one document
// depend on each other, so a diagnostic keeps its sums by document.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/interval.h"

namespace qroar {

/// The mean sum / weight of one number, or the ratio of two, over documents.
class DocumentMean {
 public:
  /// Adds a part of a document, which may come in several; a weight of 0 adds nothing.
  void add(int64_t document, double weight, double sum);

  bool empty() const { return by_document_.empty(); }
  /// Returns the estimate of new documents of the same kind.  Throws an InternalError where nothing was added.
  Estimate estimate() const;

 private:
  std::map<int64_t, ClusterSums> by_document_;
};

/// Returns the fields value, low and high of an estimate, each after `shown` (such as exp, for a mean of logarithms);
/// low and high are empty below kFewestClusters documents.
std::vector<std::string> interval_fields(const Estimate& found,
                                         const std::function<double(double)>& shown = std::identity());

/// Returns interval_fields() of a number that cannot be negative, so that its interval ends at 0; where all of it is 0
/// there is none, since what was never seen does not tell how rare it is.
std::vector<std::string> rate_fields(const Estimate& found);

/// Joins parts of a table's row.
std::vector<std::string> joined(std::initializer_list<std::vector<std::string>> parts);

}  // namespace qroar
