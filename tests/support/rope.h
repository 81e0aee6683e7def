// Schemes from YAML text and the geometries the tests use.
#pragma once
#include <memory>
#include <string>

#include "config/registry.h"
#include "rope/scheme.h"

namespace qroar {

/// The scheme, with every key of the text read.
inline std::unique_ptr<RopeScheme> make_scheme(const std::string& yaml) {
  const Config config = Config::parse(yaml, "test.yaml");
  auto scheme = Registry<RopeScheme>::instance().build(config);
  check_all_read(config);
  return scheme;
}

inline RopeGeometry llama2_geometry() { return {128, 1e4, 4096, 32768}; }
inline RopeGeometry llama3_geometry() { return {128, 5e5, 8192, 65536}; }

}  // namespace qroar
