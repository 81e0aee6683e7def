#include "harness/partial.h"

namespace qroar {
namespace {

constexpr const char* kRemedy = "delete the file and run again";

}  // namespace

PartialCell::PartialCell(const std::filesystem::path& cell, const Json& inputs) : file_(cell / "partial.jsonl") {
  log_.emplace(file_, kRemedy);
  const bool same = !log_->lines().empty() && log_->lines().front().value("inputs", Json()) == inputs;
  if (!same) {
    std::filesystem::remove(file_);
    log_.emplace(file_, kRemedy);
    log_->append({{"inputs", inputs}});
  }
  for (const Json& line : log_->lines()) {
    if (!line.contains("window")) continue;
    if (windows_.emplace(line["window"], line["sums"]).second) seconds_ += line["seconds"].get<double>();
  }
  found_ = windows_.size();
}

const Json* PartialCell::find(std::size_t window) const {
  const auto found = windows_.find(window);
  return found == windows_.end() ? nullptr : &found->second;
}

void PartialCell::add(std::size_t window, const Json& sums) {
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - since_).count();
  since_ = now;
  seconds_ += seconds;
  log_->append({{"window", window}, {"seconds", seconds}, {"sums", sums}});
}

void PartialCell::remove() const { std::filesystem::remove(file_); }

}  // namespace qroar
