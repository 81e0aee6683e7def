#include "search/search.h"

#include <spdlog/spdlog.h>

#include <cmath>
#include <limits>

#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "search/dev_objective.h"
#include "search/folds.h"

namespace qroar {
namespace {

Journal journal_of(const BandSearch& search, const SearchInput& input, const std::string& key) {
  const auto& [spec, layout, control, draw] = search;
  const Json own{key,          layout.variant, layout.edges,      layout.layers,
                 layout.heads, spec.lengths,   spec.short_length, spec.guard};
  return Journal(cache_folder() / "search" / hash_bytes(own.dump()) / "journal.jsonl", input.check);
}

SearchResult result_of(DevObjective& objective) {
  SearchResult result{objective.scales(objective.best().point), objective.history(), objective.summary()};
  if (const std::string note = objective.note(); !note.empty()) {
    spdlog::warn("rescale.search: {}", note);
    result.summary["note"] = note;
  }
  return result;
}

/// Runs the strategy on the input's documents.
SearchResult run_strategy(const BandSearch& search, const SearchInput& input, const FindPressure& find_pressure,
                          const std::string& key) {
  const SearchSpec& spec = search.spec;
  Journal journal = journal_of(search, input, key);
  BandGuide guide;
  if (spec.guide == SearchGuide::pressure) guide = find_pressure(input, journal);
  DevObjective objective(search, input, journal);
  if (spec.guide == SearchGuide::sensitivity) guide.sensitivity = objective.sensitivity();
  std::mt19937_64 random(static_cast<uint64_t>(spec.seed));
  spec.strategy->run(objective, search_space(spec, search.layout, guide), random);
  SearchResult result = result_of(objective);
  result.summary["guide"] = {
      {"pressure", guide.pressure}, {"inflation", guide.inflation}, {"sensitivity", guide.sensitivity}};
  return result;
}

/// Returns the best single scale of all bands: tries all points of a grid over the search's range, as many as the
/// search's `cost` pays for, at least three.
SearchResult one_temperature(const BandSearch& search, const SearchInput& input, const std::string& key, double cost) {
  BandSearch one = search;
  const bool symmetric = search.layout.variant == BandVariant::symmetric;
  one.layout = {symmetric ? BandVariant::symmetric : BandVariant::shared, {0, search.layout.edges.back()}};
  one.spec.budget = 0;
  Journal journal = journal_of(one, input, key);
  DevObjective objective(one, input, journal);
  // The identity has been scored and costs what any candidate does; a quotient of sums may be short of a whole number.
  const auto paid = static_cast<int64_t>(cost / objective.best().cost * (1 + 1e-9));
  one.spec.grid.points = std::max<int64_t>(3, paid % 2 == 0 ? paid - 1 : paid);
  for (const double value : one.spec.grid.values()) objective.score({value});
  return result_of(objective);
}

/// Returns the documents with these indices.
std::vector<Document> chosen(const std::vector<Document>& documents, const std::vector<std::size_t>& indices) {
  std::vector<Document> some;
  for (const std::size_t i : indices) some.push_back(documents[i]);
  return some;
}

SearchInput with_documents(const SearchInput& input, const std::vector<Document>& documents) {
  return {input.full, input.plan, input.quantized, input.angles_of, documents, input.feed, input.check};
}

/// Returns what scales gain on documents that they were not searched on.  The guard, which is part of the search, does
/// not judge there.
double held_out_gain(const BandSearch& search, const SearchInput& input, const std::string& key,
                     const BandScales& scales) {
  BandSearch judge = search;
  judge.spec.guard = std::numeric_limits<double>::max();
  judge.spec.budget = 0;
  Journal journal = journal_of(judge, input, key);
  DevObjective objective(judge, input, journal);
  const double identity = objective.best().score;
  std::vector<double> point;
  for (const double g : scales.g) point.push_back(std::log(g));
  return identity - objective.score(point);
}

Json validated_by_folds(const BandSearch& search, const SearchInput& input, const FindPressure& find_pressure,
                        const std::string& key) {
  BandSearch whole = search;  // a fold's own search has no folds
  whole.spec.folds = 1;
  const auto key_of = [&](const std::vector<std::size_t>& indices) { return Json{key, indices}.dump(); };
  return cross_validated(input.documents, search.spec.folds, [&](const auto& complement, const auto& fold) {
    spdlog::info("search: cross-validation on {} of {} documents", fold.size(), input.documents.size());
    const std::vector<Document> searched = chosen(input.documents, complement), held = chosen(input.documents, fold);
    const SearchResult result = run_strategy(whole, with_documents(input, searched), find_pressure, key_of(complement));
    return FoldGains{result.summary["dev_gain"],
                     held_out_gain(whole, with_documents(input, held), key_of(fold), result.scales), result.scales.g};
  });
}

}  // namespace

BandScales random_of_same_norm(const BandScales& scales, const Llama& model, uint64_t seed) {
  std::mt19937_64 random(seed);
  at::Tensor direction = at::empty({std::ssize(scales.g)}, at::kDouble);
  for (int64_t i = 0; i < direction.numel(); ++i) direction[i] = standard_normal(random);
  const at::Tensor log_g = at::tensor(scales.g, at::kDouble).log();
  for (int64_t layer = 0; scales.layout.layers > 1 && layer < scales.layout.layers; ++layer) {
    if (model.layers[static_cast<std::size_t>(layer)].heads.rope) continue;
    for (const at::Tensor& x : {direction, log_g})
      x.narrow(0, layer * scales.layout.row(), scales.layout.row()).zero_();
  }
  const at::Tensor drawn = (direction * (log_g.norm() / direction.norm())).exp().contiguous();
  return {scales.layout, {drawn.const_data_ptr<double>(), drawn.const_data_ptr<double>() + drawn.numel()}};
}

SearchResult search(const BandSearch& search, const SearchInput& input, const FindPressure& find_pressure,
                    const std::string& key) {
  SearchResult result = run_strategy(search, input, find_pressure, key);
  switch (search.control) {
    case SearchControl::none:
      if (search.spec.folds > 1) {
        result.summary["cross_validation"] = validated_by_folds(search, input, find_pressure, key);
      }
      break;
    case SearchControl::random:
      result.scales =
          random_of_same_norm(result.scales, input.full, static_cast<uint64_t>(search.spec.seed + search.draw));
      break;
    case SearchControl::temperature: result = one_temperature(search, input, key, result.summary["cost"]); break;
  }
  result.summary["g"] = result.scales.g;
  return result;
}

}  // namespace qroar
