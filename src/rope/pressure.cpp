#include "rope/pressure.h"

#include <cmath>

namespace qroar {
namespace {

/// The step h, which balances the truncation error h^2 and the rounding error 1e-16 / h.
constexpr double kStep = 1e-4;

}  // namespace

TableSlope table_slope(const RopeScheme& scheme, const RopeGeometry& geometry, int64_t length) {
  const auto stretched = [&](double log_s) {
    RopeGeometry neighbour = geometry;
    neighbour.stretch *= std::exp(log_s);
    return scheme.table(neighbour, length);
  };
  const RopeTable below = stretched(-kStep), here = stretched(0), above = stretched(kStep);
  const auto slope = [](double b, double h, double a) { return b == h ? (a - h) / kStep : (a - b) / (2 * kStep); };
  TableSlope found;
  for (std::size_t i = 0; i < here.inv_freq.size(); ++i) {
    found.inv_freq.push_back(slope(below.inv_freq[i], here.inv_freq[i], above.inv_freq[i]));
  }
  found.log_attention_factor =
      slope(std::log(below.attention_factor), std::log(here.attention_factor), std::log(above.attention_factor));
  return found;
}

std::vector<double> interpolation_pressure(const RopeScheme& scheme, const RopeGeometry& geometry, int64_t length,
                                           double distance) {
  std::vector<double> pressure = table_slope(scheme, geometry, length).inv_freq;
  for (double& slope : pressure) slope = std::abs(slope) * distance;
  return pressure;
}

std::vector<double> phase_displacement(const RopeScheme& scheme, const RopeGeometry& geometry, int64_t length,
                                       double distance) {
  std::vector<double> displacement = base_frequencies(geometry.rotary_dim, geometry.theta);
  const std::vector<double> inv_freq = scheme.table(geometry, length).inv_freq;
  for (std::size_t i = 0; i < displacement.size(); ++i) {
    displacement[i] = std::abs(displacement[i] - inv_freq[i]) * distance;
  }
  return displacement;
}

}  // namespace qroar
