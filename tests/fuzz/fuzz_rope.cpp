// The block `rope` of an experiment, with the geometry beside it.
#include "rope_checks.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const Config block = block_of(std::string(input));
  RopeGeometry geometry;
  geometry.rotary_dim = 2 * block.get<int64_t>("pairs", 32, {1, 256});
  geometry.theta = block.get<double>("theta", 10000, {1.001, 1e15});
  geometry.trained_length = block.get<int64_t>("trained", 2048, {2, int64_t{1} << 31});
  geometry.target_length = block.get<int64_t>("target", 8192, {2, int64_t{1} << 31});
  const auto scheme = Registry<RopeScheme>::instance().build(block.at("rope"));
  check_all_read(block);
  check_rope(*scheme, geometry);
}

}  // namespace qroar
