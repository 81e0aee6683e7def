#include "rope/pressure.h"

#include <cmath>

namespace qroar {
namespace {

/// The step h, which balances the truncation error h^2 and the rounding error 1e-16 / h.
constexpr double kStep = 1e-4;

}  // namespace

std::vector<double> interpolation_pressure(const RopeScheme& scheme, const RopeGeometry& geometry, int64_t length,
                                           double distance) {
  const auto stretched = [&](double log_s) {
    RopeGeometry neighbour = geometry;
    neighbour.stretch *= std::exp(log_s);
    return scheme.table(neighbour, length).inv_freq;
  };
  const std::vector<double> below = stretched(-kStep), here = stretched(0), above = stretched(kStep);
  std::vector<double> pressure(here.size());
  for (std::size_t i = 0; i < here.size(); ++i) {
    const bool clamped = below[i] == here[i];
    const double slope = clamped ? (above[i] - here[i]) / kStep : (above[i] - below[i]) / (2 * kStep);
    pressure[i] = std::abs(slope) * distance;
  }
  return pressure;
}

std::vector<double> phase_displacement(const RopeScheme& scheme, const RopeGeometry& geometry, int64_t length,
                                       double distance) {
  std::vector<double> displacement = base_frequencies(geometry.head_dim, geometry.theta);
  const std::vector<double> inv_freq = scheme.table(geometry, length).inv_freq;
  for (std::size_t i = 0; i < displacement.size(); ++i) {
    displacement[i] = std::abs(displacement[i] - inv_freq[i]) * distance;
  }
  return displacement;
}

}  // namespace qroar
