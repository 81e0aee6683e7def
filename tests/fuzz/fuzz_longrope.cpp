// Files of LongRoPE's factors: JSON where the input begins with {, else text.
#include "rope_checks.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const std::string name = input.starts_with('{') ? "factors.json" : "factors.txt";
  scratch().write(name, std::string(input));
  RopeGeometry geometry;
  geometry.rotary_dim = 8;
  geometry.theta = 10000;
  geometry.trained_length = 2048;
  geometry.target_length = 8192;
  const std::string path = (scratch().folder() / name).string();
  const auto scheme = Registry<RopeScheme>::instance().build(
      block_of(fmt::format("{{type: longrope, factor: 4, factors: '{}'}}", path)));
  check_rope(*scheme, geometry);
}

}  // namespace qroar
