#include "search/search.h"

#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "search/dev_objective.h"

namespace qroar {

BandScales random_of_same_norm(const BandScales& scales, uint64_t seed) {
  std::mt19937_64 random(seed);
  at::Tensor direction = at::empty({std::ssize(scales.g)}, at::kDouble);
  for (int64_t i = 0; i < direction.numel(); ++i) direction[i] = standard_normal(random);
  const at::Tensor log_g = at::tensor(scales.g, at::kDouble).log();
  const at::Tensor drawn = (direction * (log_g.norm() / direction.norm())).exp().contiguous();
  return {scales.layout, {drawn.const_data_ptr<double>(), drawn.const_data_ptr<double>() + drawn.numel()}};
}

SearchResult search(const BandSearch& search, const SearchInput& input,
                    const std::function<BandGuide(Journal&)>& find_guide, const std::string& key) {
  const SearchSpec& spec = search.spec;
  const BandLayout& layout = search.layout;
  const Json own{key, layout.variant, layout.edges, layout.layers, spec.lengths, spec.short_length, spec.guard};
  Journal journal(cache_folder() / "search" / hash_bytes(own.dump()) / "journal.jsonl");
  const BandGuide guide = find_guide(journal);
  DevObjective objective(search, input, journal);
  std::mt19937_64 random(static_cast<uint64_t>(spec.seed));
  spec.strategy->run(objective, search_space(spec, layout, guide), random);
  objective.check_guard();
  SearchResult result{objective.scales(objective.best().point), objective.history(), objective.summary()};
  result.summary["guide"] = {{"pressure", guide.pressure}, {"inflation", guide.inflation}};
  if (search.randomize) result.scales = random_of_same_norm(result.scales, static_cast<uint64_t>(spec.seed));
  result.summary["g"] = result.scales.g;
  return result;
}

}  // namespace qroar
