// Names of the controls that every search is printed with; run/controls.h makes them, report/show_controls.cpp prints
// them.
#pragma once

namespace qroar {

/// In the order of docs/method.md 4.5.  Random scales are drawn several times: "random scales 0", "random scales 1" ...
inline constexpr const char *kFullPrecision = "full precision", *kFullPrecisionScaled = "full precision, same scales",
                            *kUnscaled = "unscaled", *kOneTemperature = "one temperature",
                            *kRandomScales = "random scales";

}  // namespace qroar
