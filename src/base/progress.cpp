#include "base/progress.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/utf8.h"

namespace qroar {

std::string format_seconds(double seconds) {
  const long whole = std::lround(std::clamp(seconds, 0.0, 1e15));  // of numbers in files, too
  if (whole >= 3600) return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

Progress::Progress(double total) : total_(total), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { clear(); }

void Progress::advance(double done, const std::string& label) {
  done_ += done;
  if (total_ <= 0) return;
  const auto now = Clock::now();
  const std::chrono::duration<double> quiet = now - last_shown_, elapsed = now - start_;
  if (quiet.count() < (terminal_ ? 0.1 : 10.0)) return;
  last_shown_ = now;
  const double fraction = std::min(done_ / total_, 1.0);
  const std::string line =
      fmt::format("{:3.0f} %  {} left  {}", 100 * fraction,
                  format_seconds(elapsed.count() * (1 - fraction) / std::max(fraction, 1e-9)), visible(label));
  if (terminal_) {
    fmt::print(stderr, "\r\033[K{}", line);  // return to column 1 and erase the old line
    std::fflush(stderr);
    on_line_ = true;
  } else {
    spdlog::info("{}", line);
  }
}

void Progress::clear() {
  if (!on_line_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  on_line_ = false;
}

}  // namespace qroar
