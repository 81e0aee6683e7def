// Draws that are equal with every standard library, which its distributions are not.
#pragma once
#include <cmath>
#include <numbers>
#include <random>

namespace qroar {

/// A standard normal number by Box and Muller.
inline double standard_normal(std::mt19937_64& random) {
  const auto uniform = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; };
  const double radius = std::sqrt(-2 * std::log(uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

}  // namespace qroar
