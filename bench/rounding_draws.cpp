// What rounding draws draw: for each format, the squared weight error of draws 1..N relative to draw 0's, and the
// correlation of a draw's errors with draw 0's that is the furthest from 0 (docs/method.md 5.6 has the table).
// usage: rounding_draws MODEL_FOLDER TEXTS [draws (8) [TYPE...]]     TEXTS: for calibrated formats; TYPE: nf4, awq and
// the like (all).  Markdown to stdout.
#include <fmt/core.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/error.h"
#include "support/rounding_errors.h"

namespace qroar {
namespace {

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2) fail("usage: rounding_draws MODEL_FOLDER TEXTS [draws [TYPE...]]");
  const std::filesystem::path folder = arguments[0];
  const int64_t draws = arguments.size() > 2 ? std::stoll(arguments[2]) : 8;
  const Llama full = Checkpoint(folder).build(at::kFloat, at::kCPU);
  const CalibrationInput input(arguments[1], "samples: 32, length: 512", folder, full);
  fmt::print("| format | squared error / draw 0's | correlation with draw 0 |\n|:---|:---|---:|\n");
  for (const DrawnFormat& format : kDrawnFormats) {
    if (arguments.size() > 3 && std::find(arguments.begin() + 3, arguments.end(), type_of(format)) == arguments.end())
      continue;
    double lowest = HUGE_VAL, highest = 0, furthest = 0;
    for (const DrawnErrors& drawn : drawn_errors(format, draws, full, input)) {
      lowest = std::min(lowest, drawn.squared);
      highest = std::max(highest, drawn.squared);
      furthest = std::max(furthest, std::abs(drawn.correlation));
    }
    fmt::print("| `{}` | {:.4f} to {:.4f} | {:.3f} |\n", format.weight, lowest, highest, furthest);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace qroar

int main(int argc, char** argv) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("rounding_draws"));
  try {
    return qroar::run({argv + 1, argv + argc});
  } catch (const qroar::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
