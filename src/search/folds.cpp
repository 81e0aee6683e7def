#include "search/folds.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {

std::vector<std::vector<std::size_t>> folds_of(const std::vector<Document>& documents, int64_t folds) {
  std::vector<std::string> groups;
  std::vector<std::vector<std::size_t>> split(static_cast<std::size_t>(folds));
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const auto known = std::ranges::find(groups, documents[i].cluster());
    const auto group = static_cast<std::size_t>(known - groups.begin());
    if (known == groups.end()) groups.push_back(documents[i].cluster());
    split[group % split.size()].push_back(i);
  }
  if (groups.size() < split.size()) {
    fail("rescale.search.folds: {} folds need as many groups of documents, and the dev texts have {}; take fewer folds",
         folds, groups.size());
  }
  return split;
}

Json cross_validated(
    const std::vector<Document>& documents, int64_t folds,
    const std::function<FoldGains(const std::vector<std::size_t>&, const std::vector<std::size_t>&)>& gains_of) {
  Json of_folds = Json::array();
  double sum = 0;
  for (const std::vector<std::size_t>& fold : folds_of(documents, folds)) {
    std::vector<std::size_t> complement;
    Json ids = Json::array();
    for (std::size_t i = 0; i < documents.size(); ++i) {
      std::ranges::binary_search(fold, i) ? ids.push_back(documents[i].id) : complement.push_back(i);
    }
    const FoldGains gains = gains_of(complement, fold);
    sum += static_cast<double>(fold.size()) * gains.held_out;
    of_folds.push_back(
        {{"documents", ids}, {"searched_gain", gains.searched}, {"held_out_gain", gains.held_out}, {"g", gains.g}});
  }
  return {{"gain", sum / static_cast<double>(documents.size())}, {"folds", of_folds}};
}

}  // namespace qroar
