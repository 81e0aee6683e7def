// Random draws that are the same with every standard library, unlike those of std:: distributions.
#pragma once
#include <cmath>
#include <numbers>
#include <random>

namespace qroar {

/// Returns a standard normal number by the Box-Muller transform.
inline double standard_normal(std::mt19937_64& random) {
  const auto uniform = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; };
  const double radius = std::sqrt(-2 * std::log(uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

}  // namespace qroar
