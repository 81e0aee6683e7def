#include "harness/partial.h"

#include "base/error.h"
#include "base/files.h"

namespace qroar {
namespace {

constexpr const char* kName = "partial.jsonl";
constexpr const char* kRemedy = "delete the file and run again";

}  // namespace

PartialCell::PartialCell(const std::filesystem::path& cell, const Json& inputs, bool anew) : file_(cell / kName) {
  if (anew) std::filesystem::remove(file_);
  log_.emplace(file_, kRemedy);
  const bool same = !log_->lines().empty() && log_->lines().front().value("inputs", Json()) == inputs;
  if (!same) {
    std::filesystem::remove(file_);
    log_.emplace(file_, kRemedy);
    log_->append({{"inputs", inputs}});
  }
  for (std::size_t i = 1; i < log_->lines().size(); ++i) {
    Json line = log_->lines()[i];
    const Json hash = std::exchange(line["hash"], nullptr);
    if (hash != hash_bytes(line.dump())) fail("{}:{}: no line of this program's; {}", file_.string(), i + 1, kRemedy);
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
  Json line{{"window", window}, {"seconds", seconds}, {"sums", sums}, {"hash", nullptr}};
  line["hash"] = hash_bytes(line.dump());
  log_->append(line);
}

void PartialCell::remove(const std::filesystem::path& cell) { std::filesystem::remove(cell / kName); }

}  // namespace qroar
